"""Where a benchmark's results are kept: one result folder a cell, and a record for each cell that failed."""

import abc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instax3d.errors import PortraitError
from instax3d.io.files import atomic
from instax3d.portrait.layout import MANIFEST, SHEET
from instax3d.portrait.manifest import parse_manifest

_CELLS, _FAILED, _STAGES = "cells", "failed", "stages"


class Store(abc.ABC):
    """Results that several processes and machines may write: each result is there as a whole or not at all."""

    finished: str
    """The folder that lists finished cells by name."""

    @abc.abstractmethod
    def uri(self, name: str = "") -> str:
        """Address of something in the store for a worker anywhere: an absolute path, or a URL."""

    @abc.abstractmethod
    def create(self) -> None:
        """Make it.

        Raises:
            PortraitError: it cannot be made, or holds something else.
        """

    @abc.abstractmethod
    def names(self, folder: str) -> set[str]:
        """Names in a folder, without temporary files; none where the folder is absent."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes:
        """A file's contents.

        Raises:
            FileNotFoundError: it is not there.
        """

    @abc.abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step.

        Raises:
            PortraitError: it cannot be written.
        """

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abc.abstractmethod
    def source(self, path: Path, digest: str) -> str:
        """A photo, capture or config file of this machine as a worker anywhere can read it.

        Args:
            digest: of its contents.
        """

    def cell(self, identity: str) -> str:
        """The result folder of a cell."""
        return self.uri(f"{_CELLS}/{identity}")

    def done_marker(self, identity: str) -> str | None:
        """URL that a worker has to write when a cell is complete; None where results appear in one step."""
        return None

    def damaged(self, identity: str, problem: str) -> PortraitError:
        """The error for a finished cell whose manifest cannot be used."""
        return PortraitError(
            f"the result of a cell cannot be used: {self.uri(f'{_CELLS}/{identity}/{MANIFEST}')}: {problem}; "
            f"remove {self.uri(f'{self.finished}/{identity}')} and run the same command again"
        )

    @property
    def stages(self) -> str:
        """The stage cache that all cells share."""
        return self.uri(_STAGES)

    def done(self) -> set[str]:
        """Cells whose result is there."""
        return self.names(self.finished)

    def failed(self) -> set[str]:
        """Cells that failed."""
        return {name.removesuffix(".json") for name in self.names(_FAILED) if name.endswith(".json")}

    def fail(self, identity: str, record: Mapping[str, Any]) -> None:
        """Keep why a cell failed."""
        self.write(_failure(identity), (json.dumps(dict(record), indent=2) + "\n").encode())

    def failure(self, identity: str) -> dict[str, Any]:
        """What `fail` kept.

        Raises:
            PortraitError: it is damaged.
        """
        name = _failure(identity)
        try:
            record: Any = json.loads(self.read(name))
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise PortraitError(f"{self.uri(name)} is damaged; remove it and run the same command again")
        return record

    def forget_failure(self, identity: str) -> None:
        """Remove the record, so that the cell is computed again."""
        self.remove(_failure(identity))

    def manifest(self, identity: str) -> dict[str, Any]:
        """The ``run.json`` of a finished cell.

        Raises:
            PortraitError: it is absent or damaged.
        """
        name = f"{_CELLS}/{identity}/{MANIFEST}"
        try:
            return parse_manifest(self.read(name), self.uri(name))
        except (FileNotFoundError, PortraitError) as error:
            reason = "it is not there" if isinstance(error, FileNotFoundError) else str(error)
            raise self.damaged(identity, reason) from error

    def sheet(self, identity: str) -> bytes | None:
        """The PNG of a finished cell's turntable."""
        try:
            return self.read(f"{_CELLS}/{identity}/{SHEET}")
        except FileNotFoundError:
            return None


def _failure(identity: str) -> str:
    return f"{_FAILED}/{identity}.json"


class FolderStore(Store):
    """A folder; on a cluster, one that all machines share."""

    finished = _CELLS

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def uri(self, name: str = "") -> str:
        return str((self.folder / name).absolute())

    def create(self) -> None:
        try:
            if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / _CELLS).is_dir():
                raise PortraitError(f"{self.folder} exists and is not a benchmark; choose another folder with -o")
            for name in (_CELLS, _FAILED, _STAGES):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from error

    def names(self, folder: str) -> set[str]:
        try:
            with os.scandir(self.folder / folder) as entries:
                return {entry.name for entry in entries if not entry.name.startswith(".")}
        except FileNotFoundError:
            return set()

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        try:
            with atomic(self.folder / name) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise self._refusal(error) from error

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def source(self, path: Path, digest: str) -> str:
        return str(path.absolute())

    def _refusal(self, error: OSError) -> PortraitError:
        return PortraitError(f"cannot write to {self.folder}: {error.strerror or error}")
