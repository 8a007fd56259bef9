"""Downloads that go on where they were broken off, and never leave a wrong file under a right name."""

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

Told = Callable[[int, int | None], None]
"""Hears of the bytes that are there, and of those there will be where that is known."""

TIMEOUT = 30
"""Seconds without an answer."""
_BLOCK = 1 << 18
_FULL_REQUEST, _PARTIAL = 200, 206
_NO_SUCH_RANGE = 416
_REVISION = "X-Repo-Commit"
"""The header in which Hugging Face's hub names the commit that a file is of; it comes with the redirection."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What a download brought."""

    sha256: str
    revision: str | None
    """Of the repository it is from, where its server told."""


class _NoTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """Follows redirections without the token (urllib never passes on unredirected headers), and never to plain text."""

    revision: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"{req.full_url} sends on to {newurl}, which is not encrypted")
        self.revision = headers.get(_REVISION) or self.revision
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(asset: Asset, file: AssetFile, target: Path, told: Told | None = None) -> Downloaded:
    """Fetch one file to ``target``.

    The bytes go to ``.NAME.part`` beside it; if one is there, the rest alone is asked for. What turns out not to be
    the published file is removed.

    Raises:
        AssetError: it cannot be had, or is not what was published; ``target`` is as it was before.
    """
    assert file.url is not None
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _room(file, part, target)
        _fetch(asset, file, part, target, told)
        found = sha256(part)
        if file.sha256 is not None and found != file.sha256:
            _forget(part)
            raise AssetError(
                f"{file.url} gave another file than was published (SHA-256 {found}, not {file.sha256}); "
                "it was removed. Try again; if it stays so, the file has been replaced at its source"
            )
        os.replace(part, target)
        revision = _noted(part).get("revision")
        _notes(part).unlink(missing_ok=True)
    except OSError as error:  # the network's own were turned into AssetError
        raise AssetError(
            f"cannot write {target} ({error.strerror or error}); free some room, or set INSTAX3D_ASSETS to another "
            "folder, then run the command again: what was downloaded is kept"
        ) from error
    return Downloaded(found, revision)


def _room(file: AssetFile, part: Path, target: Path) -> None:
    if file.size is None:
        return
    there = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(target.parent).free
    if free < file.size - there:
        raise AssetError(
            f"{target.name} needs {readable(file.size - there)}, but {target.parent} has {readable(free)} free; "
            "set INSTAX3D_ASSETS to a folder on another disk"
        )


def _fetch(asset: Asset, file: AssetFile, part: Path, target: Path, told: Told | None) -> None:
    """Fill ``part``."""
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
        with urllib.request.build_opener(follow).open(request, timeout=TIMEOUT) as answer:
            if answer.status == _PARTIAL and _starts_at(answer) != there:
                raise AssetError(f"{file.url} answered with another part of the file than was asked for; try again")
            if answer.status != _PARTIAL:
                there = 0
            length = answer.headers.get("Content-Length")
            total = there + int(length) if length and length.isdigit() else file.size
            if file.size is not None and total is not None and total != file.size:
                raise AssetError(
                    f"{file.url} offers {total:,} bytes, but the published file has {file.size:,}; nothing was written"
                )
            _note(part, file, answer, answer.headers.get(_REVISION) or follow.revision)
            _copy(answer, part, there, total, told)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _NO_SUCH_RANGE and there:
            _forget(part)
            _fetch(asset, file, part, target, told)
            return
        raise AssetError(_refusal(asset, file, target, error)) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise AssetError(
            f"cannot download {file.url} ({reason}); run the command again to go on, or download it "
            f"elsewhere and put it at {target}"
        ) from error


def _copy(answer: http.client.HTTPResponse, part: Path, there: int, total: int | None, told: Told | None) -> None:
    with part.open("r+b" if there else "wb") as out:
        out.seek(there)
        out.truncate()
        while block := answer.read(_BLOCK):
            out.write(block)
            there += len(block)
            if told:
                told(there, total)
    if total is not None and there < total:
        raise ConnectionError(f"the connection broke after {there:,} of {total:,} bytes")


def _starts_at(answer: http.client.HTTPResponse) -> int | None:
    start = (answer.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note(part: Path, file: AssetFile, answer: http.client.HTTPResponse, revision: str | None) -> None:
    """What the rest must be of: the same version at the same address. A weak ETag is none for this purpose."""
    tag = answer.headers.get("ETag") or ""
    validator = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified")
    _notes(part).write_text(
        json.dumps({"url": file.url, "validator": validator, "revision": revision}), encoding="utf-8"
    )


def _noted(part: Path) -> dict[str, Any]:
    """What `_note` kept, if it can be read."""
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
