"""The folder of a benchmark: one result folder a cell, a record for each that failed. What is there is done."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PortraitError
from ..files import write_text
from ..manifest import MANIFEST

_CELLS, _FAILED, _STAGES = "cells", "failed", "stages"


@dataclass(frozen=True, slots=True)
class Store:
    """Paths of a benchmark's results. Several processes may write to it: each result appears in one step."""

    folder: Path

    def create(self) -> None:
        """Make the folder.

        Raises:
            PortraitError: it cannot be made, or holds something else.
        """
        known = {_CELLS, _FAILED, _STAGES}
        try:
            if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / _CELLS).is_dir():
                raise PortraitError(f"{self.folder} exists and holds no benchmark; choose another folder with -o")
            for name in known:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PortraitError(f"cannot write to {self.folder}: {error.strerror or error}") from error

    @property
    def stages(self) -> Path:
        """The stage cache that all cells share."""
        return self.folder / _STAGES

    def cell(self, identity: str) -> Path:
        """The result folder of a cell."""
        return self.folder / _CELLS / identity

    def done(self) -> set[str]:
        """Cells whose result is there."""
        return _names(self.folder / _CELLS)

    def failed(self) -> set[str]:
        """Cells that failed."""
        return {name.removesuffix(".json") for name in _names(self.folder / _FAILED) if name.endswith(".json")}

    def fail(self, identity: str, record: Mapping[str, Any]) -> None:
        """Keep why a cell failed."""
        write_text(self.folder / _FAILED / f"{identity}.json", json.dumps(dict(record), indent=2) + "\n")

    def failure(self, identity: str) -> dict[str, Any]:
        """What `fail` kept."""
        record: dict[str, Any] = json.loads((self.folder / _FAILED / f"{identity}.json").read_text(encoding="utf-8"))
        return record

    def forget_failure(self, identity: str) -> None:
        """Let a failed cell be tried again."""
        (self.folder / _FAILED / f"{identity}.json").unlink(missing_ok=True)

    def manifest(self, identity: str) -> dict[str, Any]:
        """The ``run.json`` of a finished cell."""
        found: dict[str, Any] = json.loads((self.cell(identity) / MANIFEST).read_text(encoding="utf-8"))
        return found


def _names(folder: Path) -> set[str]:
    """Names in a folder, without the temporary ones that begin with a point."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".")}
    except FileNotFoundError:
        return set()
