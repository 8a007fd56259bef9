"""Downloads that resume where they were interrupted, and never leave a wrong file under the right name."""

import http.client
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from instax3d._version import __version__
from instax3d.errors import AssetError
from instax3d.plugin import Asset, AssetFile

from .ledger import sha256
from .library import readable

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes received and, if known, the total."""

TIMEOUT = 30
"""Seconds without a response."""
_BLOCK = 1 << 18
_FULL_REQUEST, _PARTIAL = 200, 206
_NO_SUCH_RANGE = 416
_REVISION = "X-Repo-Commit"
"""The header in which Hugging Face's hub names the commit of a file; it comes with the redirect."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The result of a download."""

    sha256: str
    revision: str | None
    """Of its repository, if the server reported one."""


class _NoTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """Follows redirects without the token (urllib never forwards unredirected headers), and never to plain HTTP."""

    revision: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"{req.full_url} redirects to {newurl}, which is not encrypted")
        self.revision = headers.get(_REVISION) or self.revision
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(asset: Asset, file: AssetFile, target: Path, on_progress: OnProgress | None = None) -> Downloaded:
    """Fetch one file to ``target``.

    The bytes go to ``.NAME.part`` beside it; if that exists, only the rest is requested. A file that turns out not to
    be the published one is removed.

    Raises:
        AssetError: it cannot be downloaded, or is not the published file; ``target`` stays as it was.
    """
    assert file.url is not None
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_space(file, part, target)
        _fetch(asset, file, part, target, on_progress)
        checksum = sha256(part)
        if file.sha256 is not None and checksum != file.sha256:
            _forget(part)
            raise AssetError(
                f"{file.url} sent another file than the published one (SHA-256 {checksum}, not {file.sha256}); "
                "it was removed. Try again; if that does not help, the file was replaced at its source"
            )
        os.replace(part, target)
        revision = _noted(part).get("revision")
        _notes(part).unlink(missing_ok=True)
    except OSError as error:  # the network's own were turned into AssetError
        raise AssetError(
            f"cannot write {target} ({error.strerror or error}); free some space, or set INSTAX3D_ASSETS to another "
            "folder, then run the command again: the bytes downloaded so far are kept"
        ) from error
    return Downloaded(checksum, revision)


def _check_space(file: AssetFile, part: Path, target: Path) -> None:
    if file.size is None:
        return
    there = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(target.parent).free
    if free < file.size - there:
        raise AssetError(
            f"{target.name} needs {readable(file.size - there)}, but {target.parent} has {readable(free)} free; "
            "set INSTAX3D_ASSETS to a folder on another disk"
        )


def _fetch(asset: Asset, file: AssetFile, part: Path, target: Path, on_progress: OnProgress | None) -> None:
    """Download into ``part``, the rest alone if it holds a part already."""
    there = part.stat().st_size if part.exists() else 0
    validator = _validator(part, file)
    if there and (validator is None or (file.size is not None and there > file.size)):
        there = 0
    if there and there == file.size:
        return
    request = urllib.request.Request(str(file.url), headers={"User-Agent": f"instax3d/{__version__}"})
    if there and validator:
        request.add_header("Range", f"bytes={there}-")
        request.add_header("If-Range", validator)
    follow = _NoTokenElsewhere()
    token = os.environ.get(file.token) if file.token else None
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(follow).open(request, timeout=TIMEOUT) as response:
            if response.status == _PARTIAL and _starts_at(response) != there:
                raise AssetError(f"{file.url} sent another part of the file than was requested; try again")
            if response.status != _PARTIAL:
                there = 0
            length = response.headers.get("Content-Length")
            total = there + int(length) if length and length.isdigit() else file.size
            if file.size is not None and total is not None and total != file.size:
                raise AssetError(
                    f"{file.url} offers {total:,} bytes, but the published file has {file.size:,}; nothing was written"
                )
            _note(part, file, response, response.headers.get(_REVISION) or follow.revision)
            _copy(response, part, there, total, on_progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _NO_SUCH_RANGE and there:
            _forget(part)
            _fetch(asset, file, part, target, on_progress)
            return
        raise AssetError(_refusal(asset, file, target, error)) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise AssetError(
            f"cannot download {file.url} ({reason}); run the command again to resume, or download it "
            f"elsewhere and put it at {target}"
        ) from error


def _copy(
    response: http.client.HTTPResponse, part: Path, there: int, total: int | None, on_progress: OnProgress | None
) -> None:
    with part.open("r+b" if there else "wb") as out:
        out.seek(there)
        out.truncate()
        while block := response.read(_BLOCK):
            out.write(block)
            there += len(block)
            if on_progress:
                on_progress(there, total)
    if total is not None and there < total:
        raise ConnectionError(f"the connection was lost after {there:,} of {total:,} bytes")


def _starts_at(response: http.client.HTTPResponse) -> int | None:
    start = (response.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note(part: Path, file: AssetFile, response: http.client.HTTPResponse, revision: str | None) -> None:
    """Record the version that the rest must be of, and its URL. A weak ETag does not identify a version."""
    tag = response.headers.get("ETag") or ""
    validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    _notes(part).write_text(
        json.dumps({"url": file.url, "validator": validator, "revision": revision}), encoding="utf-8"
    )


def _noted(part: Path) -> dict[str, Any]:
    """What `_note` recorded, if it can be read."""
    try:
        noted = json.loads(_notes(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _validator(part: Path, file: AssetFile) -> str | None:
    noted = _noted(part)
    return str(noted["validator"]) if noted.get("url") == file.url and noted.get("validator") else None


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _refusal(asset: Asset, file: AssetFile, target: Path, error: urllib.error.HTTPError) -> str:
    if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        token = ""
        if file.token:
            state = "is set but was not accepted" if os.environ.get(file.token) else "is not set"
            token = f", make an access token there and set {file.token} to it (it {state})"
        return (
            f"{urlsplit(str(file.url)).netloc} does not give {file.name} to everyone (HTTP {error.code}): accept the "
            f"license at {asset.homepage}{token}; or put your own copy at {target}"
        )
    return (
        f"cannot download {file.url} (HTTP {error.code} {error.reason}); look at {asset.homepage} for where the file "
        f"is now, and put it at {target}"
    )
