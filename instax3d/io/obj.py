"""Triangle meshes as Wavefront OBJ."""

from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.errors import PortraitError

from .files import write_text


def write_obj(path: Path, vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]) -> None:
    """Write an OBJ file in one step; vertex and face order are kept.

    Raises:
        OSError: the file cannot be written.
    """
    # Nine digits give every float32 back.
    points = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices.detach().cpu().tolist()]
    triangles = [f"f {a} {b} {c}" for a, b, c in (faces + 1).cpu().tolist()]
    write_text(path, "\n".join(["# instax3d", *points, *triangles]) + "\n")


def read_obj(path: Path) -> tuple[Float[Tensor, "vertices 3"], Int[Tensor, "faces 3"]]:
    """Vertices and triangles of an OBJ file; polygons are cut into fans, texture and normal indices are ignored.

    Raises:
        PortraitError: there is no such file, or a line of it is not OBJ.
    """
    vertices: list[list[float]] = []
    faces: list[list[int]] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PortraitError(f"cannot read {path}: {error.strerror or error}; make the portrait again") from error
    for number, line in enumerate(text.splitlines(), 1):
        kind, *fields = line.split() or [""]
        try:
            if kind == "v":
                x, y, z = map(float, fields[:3])
                vertices.append([x, y, z])
            elif kind == "f":
                corners = [_index(field, len(vertices)) for field in fields]
                if len(corners) < 3:
                    raise ValueError("a face needs three corners")
                faces.extend([corners[0], b, c] for b, c in pairwise(corners[1:]))
        except ValueError as error:
            problem = f"{path}, line {number}: {line.strip()[:60]!r} is not OBJ ({error})"
            raise PortraitError(f"{problem}; export it again") from error
    points = torch.tensor(vertices, dtype=torch.float32).reshape(-1, 3)
    triangles = torch.tensor(faces, dtype=torch.int64).reshape(-1, 3)
    if not points.isfinite().all():
        raise PortraitError(f"{path} has vertices that are not finite; export it again")
    return points, triangles


def _index(corner: str, count: int) -> int:
    """The zero-based vertex of ``7``, ``7/1``, ``7//2`` or, counted from the last one so far, ``-1``."""
    number = int(corner.split("/", 1)[0])
    index = number - 1 if number > 0 else count + number
    if number == 0 or not 0 <= index < count:
        raise ValueError(f"there is no vertex {number}")
    return index
