"""Files in object stores such as ``s3://bucket/study``, by fsspec."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from instax3d.errors import ConfigError, PortraitError

from .files import atomic, stays_inside
from .paths import cache_dir

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def is_url(uri: str) -> bool:
    """Whether it is a URL rather than a path."""
    return "://" in uri


def open_url(url: str) -> tuple["AbstractFileSystem", str]:
    """The file system of a URL, and the path in it.

    Raises:
        ConfigError: the protocol is unknown, or its package is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        # Other machines write there as well, so nothing may be remembered of a listing.
        files, path = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cannot write to {url}: {' '.join(str(error).split())}") from error
    return files, path


def upload(source: Path, url: str) -> None:
    """Copy a file, or a folder's contents, to a URL.

    Raises:
        PortraitError: it cannot be written.
    """
    files, path = open_url(url)
    try:
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if file.is_file():
                target = f"{path}/{file.relative_to(source).as_posix()}" if source.is_dir() else path
                files.makedirs(target.rpartition("/")[0], exist_ok=True)
                files.put_file(str(file), target)
    except OSError as error:
        raise PortraitError(f"cannot write to {url}: {error}") from error


def download(url: str, target: Path) -> bool:
    """Copy a file of a URL to this machine in one step; whether it was there.

    Raises:
        PortraitError: it cannot be read or written.
    """
    files, path = open_url(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as temporary:
            files.get_file(path, str(temporary))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PortraitError(f"cannot copy {url} to {target}: {error}") from error
    return True


def fetch(uri: str) -> Path:
    """A path on this machine: what a URL names is copied once; its contents must never change.

    Raises:
        ConfigError: it is not there, or one of its names leads out of the folder it is copied to.
    """
    if not is_url(uri):
        return Path(uri)
    files, path = open_url(uri)
    name = path.rstrip("/").rpartition("/")[2]
    local = cache_dir() / "fetched" / hashlib.sha256(uri.encode()).hexdigest()[:20] / _safe_name(name, uri)
    if local.exists():
        return local
    local.parent.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=local.parent.parent, prefix=".fetch-"))
    try:
        for file in files.find(path):
            inner = file.removeprefix(path).strip("/")
            target = work / local.name / _safe_name(inner, uri) if inner else work / local.name
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(file, str(target))
        if not (work / local.name).exists():
            raise ConfigError(f"there is nothing at {uri}; check the address")
        work.rename(local.parent)
    except OSError as error:
        if not local.exists():  # else another process was faster
            raise ConfigError(f"cannot read {uri}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return local


def _safe_name(name: str, uri: str) -> str:
    """A name from an object store, whose keys may be any text.

    Raises:
        ConfigError: it leads out of the folder it is joined to.
    """
    if not stays_inside(name):
        raise ConfigError(f"{uri} has a file named {name!r}, which leads out of its folder; rename it there")
    return name
