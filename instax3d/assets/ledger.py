"""Checksums written down, so that large files are read once and files without a published sum cannot change unseen."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from instax3d.errors import AssetError
from instax3d.io.files import write_text

LEDGER = "checksums.json"
"""Its name in the folder of assets."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as it was when it was last read."""

    sha256: str
    size: int
    modified: int
    """Nanoseconds."""
    revision: str | None = None
    """Of the repository it was downloaded from, where that told."""


def sha256(path: Path, told: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of a file; ``told`` hears of the bytes read."""
    digest, read = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            read += len(block)
            if told:
                told(read)
    return digest.hexdigest()


class Ledger:
    """The sums of files by path, kept as JSON."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER

    def sum_of(self, path: Path, *, keep_first: bool) -> str:
        """The file's SHA-256, computed anew only if its size or time differ from what is written down.

        Args:
            path: the file.
            keep_first: a path's first sum stays written down, so that a change is seen.

        Raises:
            AssetError: the file cannot be read, or the ledger cannot.
        """
        path = path.absolute()
        known = self._entries().get(str(path))
        try:
            stat = path.stat()
            if known and (known.size, known.modified) == (stat.st_size, stat.st_mtime_ns):
                return known.sha256
            found = sha256(path)
        except OSError as error:
            raise AssetError(f"cannot read {path}: {error.strerror or error}") from error
        if known is None or known.sha256 == found or not keep_first:
            same = known is not None and known.sha256 == found
            revision = known.revision if known is not None and same else None
            self._write(path, FileRecord(found, stat.st_size, stat.st_mtime_ns, revision))
        return found

    def downloaded(self, path: Path, found: str, revision: str | None) -> None:
        """Write down what was just downloaded and from which revision, unless another sum stands there already.

        Raises:
            AssetError: the ledger cannot be written.
        """
        path = path.absolute()
        known, stat = self._entries().get(str(path)), path.stat()
        if known is None or known.sha256 == found:
            self._write(path, FileRecord(found, stat.st_size, stat.st_mtime_ns, revision))

    def revision_of(self, path: Path) -> str | None:
        """The revision that a file was downloaded from, where it is known."""
        entry = self._entries().get(str(path.absolute()))
        return entry.revision if entry else None

    def recorded(self, path: Path) -> str | None:
        """The sum that was written down first, whatever the file holds now."""
        entry = self._entries().get(str(path.absolute()))
        return entry.sha256 if entry else None

    def forget(self, path: Path) -> None:
        """Believe the file's next contents, whatever they are."""
        entries = self._entries()
        if entries.pop(str(path.absolute()), None):
            self._save(entries)

    def _entries(self) -> dict[str, FileRecord]:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            return {path: FileRecord(**values) for path, values in stored.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise AssetError(
                f"cannot read {self.path} ({error}); remove it, then `instax3d assets check` writes it anew"
            ) from error

    def _write(self, path: Path, entry: FileRecord) -> None:
        self._save({**self._entries(), str(path): entry})

    def _save(self, entries: dict[str, FileRecord]) -> None:
        text = json.dumps({path: asdict(entry) for path, entry in sorted(entries.items())}, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, text + "\n")
        except OSError as error:
            raise AssetError(
                f"cannot write {self.path} ({error.strerror or error}); set INSTAX3D_ASSETS to a folder that can be "
                "written"
            ) from error
