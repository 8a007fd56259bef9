"""A benchmark's results in an object store."""

from pathlib import Path

from instax3d.config import preset_names, read_yaml
from instax3d.errors import ConfigError, PortraitError
from instax3d.io.remote import open_url, upload

from .store import Store

_FINISHED, _SOURCES, _COPIED = "finished", "sources", "copied"
_IDENTIFIER = "benchmark.txt"
"""A file that every benchmark has, and nothing else at the same URL."""


class ObjectStore(Store):
    """An object store, where a folder of files cannot appear in one step: a marker is written after them.

    Photos and captures are copied into it, since the machines that work on them may share nothing else.
    """

    finished = _FINISHED

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._root = open_url(self.url)

    def uri(self, name: str = "") -> str:
        return f"{self.url}/{name}" if name else self.url

    def create(self) -> None:
        try:
            if not self._files.exists(f"{self._root}/{_IDENTIFIER}"):
                if self._files.exists(self._root) and self._files.ls(self._root, detail=False):
                    raise PortraitError(f"{self.url} exists and is not a benchmark; choose another URL with -o")
                self.write(_IDENTIFIER, b"Results of instax3d benchmark.\n")
        except OSError as error:
            raise PortraitError(f"cannot write to {self.url}: {error}") from error

    def done_marker(self, identity: str) -> str | None:
        return self.uri(f"{_FINISHED}/{identity}")

    def names(self, folder: str) -> set[str]:
        try:
            return {path.rpartition("/")[2] for path in self._files.ls(f"{self._root}/{folder}", detail=False)}
        except FileNotFoundError:
            return set()

    def read(self, name: str) -> bytes:
        data: bytes = self._files.cat_file(f"{self._root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, data)
        except OSError as error:
            raise PortraitError(f"cannot write to {self.url}: {error}") from error

    def remove(self, name: str) -> None:
        try:
            self._files.rm_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return

    def source(self, path: Path, digest: str) -> str:
        if path.suffix in (".yaml", ".yml") and read_yaml(path).get("extends") not in (None, *preset_names()):
            raise ConfigError(
                f"{path} extends another file, which machines that read {self.url} lack; make it one file"
            )
        # of a capture's file all that lies beside it, its frames
        whole = path.resolve().parent if path.suffix == ".json" else path.resolve()
        name = f"{_SOURCES}/{digest}/{whole.name}"
        if digest not in self.names(_COPIED):
            upload(whole, self.uri(name))
            self.write(f"{_COPIED}/{digest}", b"")
        return self.uri(f"{name}/{path.name}" if path.suffix == ".json" else name)
