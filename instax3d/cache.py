"""The stage cache: what a stage made, found again by a hash of all that went into it (`instax3d.fingerprint`)."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import json
import zipfile
from pathlib import Path

import numpy as np
import torch

from .artefacts import Artefact
from .errors import PortraitError
from .files import atomic
from .places import CACHE_VARIABLE, cache_folder

_LIMIT = 4 * 2**30
"""Bytes that the cache may hold; what was used longest ago goes first."""
_VALUES = "values"


class StageCache:
    """A folder of stored results, safe to share between processes; each file appears in one step."""

    def __init__(self, folder: Path | None = None, *, limit: int = _LIMIT) -> None:
        self.folder, self.limit = folder or cache_folder(), limit

    def path(self, stage: str, key: str, suffix: str = ".npz") -> Path:
        return self.folder / f"{stage}-{key}{suffix}"

    def load(self, stage: str, key: str) -> Artefact | None:
        """What is stored, or None. A file that cannot be read counts as absent and is removed."""
        path = self.path(stage, key)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                values = json.loads(str(stored[_VALUES]))
                tensors = {name: torch.from_numpy(stored[name]) for name in stored.files if name != _VALUES}
            path.touch()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)
            return None
        return tensors, values

    def store(self, stage: str, key: str, artefact: Artefact) -> None:
        """Keep a result; images are compressed, other numbers would not shrink.

        Raises:
            PortraitError: the folder cannot be written.
        """
        tensors, values = artefact
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        save = np.savez_compressed if any(array.dtype == np.uint8 for array in arrays.values()) else np.savez
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic(self.path(stage, key)) as temporary:
                save(temporary, **{_VALUES: np.array(json.dumps(values))}, **arrays)  # type: ignore[arg-type]
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
