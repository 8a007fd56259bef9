"""Headers of safetensors files: names, shapes and types of their tensors, which are not read. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from instax3d.errors import ModelFileError

from .layout import Shape

_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}


@dataclass(frozen=True)
class Header:
    """Shapes and types of a file's tensors by name."""

    path: Path
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    """safetensors' names: ``F32``, ``F16``, ``BF16``, …"""
    metadata: Mapping[str, str]

    def size(self, prefix: str = "") -> int:
        """Bytes of the tensors whose names begin with ``prefix``."""
        names = (name for name in self.shapes if name.startswith(prefix))
        return sum(prod(self.shapes[name]) * _BYTES.get(self.dtypes[name], 1) for name in names)


def read_header(path: Path) -> Header:
    """The header of a safetensors file.

    Raises:
        ModelFileError: there is no such file, or it is not a complete safetensors file.
    """
    if not path.is_file():
        raise ModelFileError(f"there is no file {path}; give the path of a .safetensors file")
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            dtypes = {name: str(part.get_dtype()) for name, part in slices.items()}
            return Header(path, shapes, dtypes, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} is not a complete safetensors file ({error}); it may be of another format or partly downloaded. "
            "Only .safetensors are read, since other checkpoints can run code when they are opened"
        ) from error
