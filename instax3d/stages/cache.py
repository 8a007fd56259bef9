"""The stage cache: stages' results, stored under a hash of all they depend on (`instax3d.stages.fingerprint`)."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from instax3d.errors import PortraitError
from instax3d.io.artifacts import UNREADABLE, Artifact, read_artifact, write_artifact
from instax3d.io.paths import CACHE_VARIABLE, cache_dir

CHECKPOINT = ".ckpt"
"""Suffix of the state of an unfinished construction."""
_RESULT = ".npz"
_LIMIT = 4 * 2**30
"""Bytes that the cache may hold; what was used longest ago is removed first."""


class StageCache:
    """A folder of stored results, safe to share between processes; each file appears in one step."""

    def __init__(self, folder: Path | None = None, *, limit: int = _LIMIT) -> None:
        self.folder, self.limit = folder or cache_dir(), limit

    def path(self, stage: str, key: str, suffix: str = _RESULT) -> Path:
        return self.folder / f"{stage}-{key}{suffix}"

    def load(self, stage: str, key: str) -> Artifact | None:
        """The stored result, or None. A file that cannot be read counts as absent and is removed."""
        path = self.path(stage, key)
        try:
            artifact = read_artifact(path)
        except FileNotFoundError:
            return None
        except UNREADABLE:
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # removed by another process, or not ours to change: it was read all the same
            os.utime(path)
        return artifact

    def store(self, stage: str, key: str, artifact: Artifact) -> None:
        """Keep a result.

        Raises:
            PortraitError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_artifact(self.path(stage, key), artifact)
            self._evict_oldest()
        except OSError as error:
            raise PortraitError(
                f"cannot write to the stage cache {self.folder} ({error.strerror or error}); "
                f"set {CACHE_VARIABLE} to another folder, or use --no-cache"
            ) from error

    def files(self) -> list[Path]:
        """All stored files, the one used longest ago first; never those that are being written."""
        return [file.path for file in self._stored()]

    def size(self) -> int:
        """Bytes in use."""
        return sum(file.size for file in self._stored())

    def clear(self) -> None:
        """Remove all stored files."""
        for file in self._stored():
            file.path.unlink(missing_ok=True)

    def _stored(self) -> list["_StoredFile"]:
        """What is there at one moment: other processes may add and remove files at any time."""
        files = []
        for path in self.folder.glob("*-*.*"):
            if path.name.startswith(".") or path.suffix not in (_RESULT, CHECKPOINT):
                continue  # a temporary name of `atomic`, or nothing of this cache
            with suppress(FileNotFoundError):
                status = path.stat()
                files.append(_StoredFile(status.st_mtime, path, status.st_size))
        return sorted(files)

    def _evict_oldest(self) -> None:
        files = self._stored()
        excess = sum(file.size for file in files) - self.limit
        for file in files[:-1]:  # never what was just stored
            if excess <= 0:
                return
            file.path.unlink(missing_ok=True)
            excess -= file.size


class _StoredFile(NamedTuple):
    """In the order of last use."""

    used: float
    """Seconds since the epoch."""
    path: Path
    size: int
    """Bytes."""
