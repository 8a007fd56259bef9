"""Files in object stores such as ``s3://bucket/study``, by fsspec."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from instax3d.errors import ConfigError, PortraitError

from .files import atomic
from .paths import cache_dir

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def is_url(place: str) -> bool:
    """Whether a place is a URL rather than a path."""
    return "://" in place


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


def fetched(place: str) -> Path:
    """A place as a path of this machine: what a URL names is copied once; a URL's contents must never change.

    Raises:
        ConfigError: it is not there.
    """
    if not is_url(place):
        return Path(place)
    files, path = open_url(place)
    here = cache_dir() / "fetched" / hashlib.sha256(place.encode()).hexdigest()[:20] / path.rpartition("/")[2]
    if here.exists():
        return here
    here.parent.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=here.parent.parent, prefix=".fetch-"))
    try:
        for found in files.find(path):
            inner = found.removeprefix(path).strip("/")
            target = work / here.name / inner if inner else work / here.name
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(found, str(target))
        if not (work / here.name).exists():
            raise ConfigError(f"{place} is not there")
        work.rename(here.parent)
    except OSError as error:
        if not here.exists():  # else another process was faster
            raise ConfigError(f"cannot read {place}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return here
