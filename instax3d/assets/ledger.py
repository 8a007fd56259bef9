"""Recorded checksums, so that large files are read once and files without a published sum cannot change unnoticed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from instax3d.errors import AssetError
from instax3d.io.files import write_text

LEDGER = "checksums.json"
"""Its name in the assets folder."""
_LOCK = ".checksums.lock"

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as it was last read."""

    sha256: str
    size: int
    modified: int
    """Nanoseconds."""
    revision: str | None = None
    """Of the repository it was downloaded from, if its server reported one."""


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class Ledger:
    """The checksums of files by path, kept as JSON; processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER

    def sum_of(self, path: Path, *, keep_first: bool) -> str:
        """The file's SHA-256, computed again only if its size or time differ from the record.

        Args:
            path: the file.
            keep_first: a path's first checksum stays recorded, so that a change is seen.

        Raises:
            AssetError: the file cannot be read, or the ledger cannot be read or written.
        """
        path = path.absolute()
        known = self._entries().get(str(path))
        try:
            stat = path.stat()
            if known and (known.size, known.modified) == (stat.st_size, stat.st_mtime_ns):
                return known.sha256
            checksum = sha256(path)
        except OSError as error:
            raise AssetError(f"cannot read {path}: {error.strerror or error}") from error
        if known is None or known.sha256 == checksum or not keep_first:
            self._record(path, checksum, stat, keep_first=keep_first)
        return checksum

    def downloaded(self, path: Path, checksum: str, revision: str | None) -> None:
        """Record what was just downloaded and from which revision, unless another checksum is recorded already.

        Raises:
            AssetError: the ledger cannot be written.
        """
        path = path.absolute()
        self._record(path, checksum, path.stat(), revision, keep_first=True)

    def _record(
        self, path: Path, checksum: str, stat: os.stat_result, revision: str | None = None, *, keep_first: bool
    ) -> None:
        with self._changed() as entries:  # read anew: another process may have been first
            known = entries.get(str(path))
            if known is not None and known.sha256 == checksum:
                revision = revision or known.revision
            elif known is not None and keep_first:
                return
            entries[str(path)] = FileRecord(checksum, stat.st_size, stat.st_mtime_ns, revision)

    def revision_of(self, path: Path) -> str | None:
        """The revision that a file was downloaded from, if known."""
        entry = self._entries().get(str(path.absolute()))
        return entry.revision if entry else None

    def recorded(self, path: Path) -> str | None:
        """The checksum that was recorded first, whatever the file holds now."""
        entry = self._entries().get(str(path.absolute()))
        return entry.sha256 if entry else None

    def forget(self, path: Path) -> None:
        """Accept the file's next contents, whatever they are."""
        if str(path.absolute()) in self._entries():
            with self._changed() as entries:
                entries.pop(str(path.absolute()), None)

    def _entries(self) -> dict[str, FileRecord]:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            return {path: FileRecord(**values) for path, values in stored.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise AssetError(
                f"cannot read {self.path} ({error}); remove it, then `instax3d assets check` writes a new one"
            ) from error

    @contextmanager
    def _changed(self) -> Iterator[dict[str, FileRecord]]:
        """All records, to be changed while no other process does; written at the end."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(_LOCK)):
                entries = self._entries()
                yield entries
                text = json.dumps({path: asdict(entry) for path, entry in sorted(entries.items())}, indent=1)
                write_text(self.path, text + "\n")
        except OSError as error:
            raise AssetError(
                f"cannot write {self.path} ({error.strerror or error}); set INSTAX3D_ASSETS to a writable folder"
            ) from error
