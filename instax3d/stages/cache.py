"""The stage cache: a stage's result, found again by a hash of all it depends on (`instax3d.stages.fingerprint`)."""

from pathlib import Path

from instax3d.errors import PortraitError
from instax3d.io.artifacts import UNREADABLE, Artifact, read_artifact, write_artifact
from instax3d.io.paths import CACHE_VARIABLE, cache_dir

_LIMIT = 4 * 2**30
"""Bytes that the cache may hold; what was used longest ago goes first."""


class StageCache:
    """A folder of stored results, safe to share between processes; each file appears in one step."""

    def __init__(self, folder: Path | None = None, *, limit: int = _LIMIT) -> None:
        self.folder, self.limit = folder or cache_dir(), limit

    def path(self, stage: str, key: str, suffix: str = ".npz") -> Path:
        return self.folder / f"{stage}-{key}{suffix}"

    def load(self, stage: str, key: str) -> Artifact | None:
        """What is stored, or None. A file that cannot be read counts as absent and is removed."""
        path = self.path(stage, key)
        try:
            found = read_artifact(path)
            path.touch()
        except FileNotFoundError:
            return None
        except UNREADABLE:
            path.unlink(missing_ok=True)
            return None
        return found

    def store(self, stage: str, key: str, artifact: Artifact) -> None:
        """Keep a result.

        Raises:
            PortraitError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_artifact(self.path(stage, key), artifact)
            self._forget_oldest()
        except OSError as error:
            raise PortraitError(
                f"cannot write to the stage cache {self.folder} ({error.strerror or error}); "
                f"set {CACHE_VARIABLE} to another folder, or use --no-cache"
            ) from error

    def files(self) -> list[Path]:
        """All stored files, the one used longest ago first."""
        found = []
        for path in self.folder.glob("*-*.*"):
            try:
                found.append((path.stat().st_mtime, path))
            except FileNotFoundError:  # another process was faster
                continue
        return [path for _, path in sorted(found)]

    def size(self) -> int:
        """Bytes in use."""
        return sum(path.stat().st_size for path in self.files())

    def clear(self) -> None:
        """Forget everything."""
        for path in self.files():
            path.unlink(missing_ok=True)

    def _forget_oldest(self) -> None:
        files = self.files()
        sizes = [path.stat().st_size for path in files]
        excess = sum(sizes) - self.limit
        for path, size in zip(files[:-1], sizes):  # never what was just stored
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size
