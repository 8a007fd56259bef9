"""The true surface of a head that a capture brings: a mesh or a point cloud beside its cameras."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from plyfile import PlyData

from instax3d.errors import CaptureError
from instax3d.io.obj import read_obj
from instax3d.types import TrueSurface

SURFACE_FILES = ("mesh.npz", "mesh.obj", "mesh.ply")
"""Names under which a capture may bring the true surface, beside its transforms; the first that exists is read."""

_Arrays = tuple[ndarray, ndarray | None]
"""Vertices and faces as a file has them, not yet checked."""


def read_true_surface(folder: Path) -> TrueSurface | None:
    """Read the true surface in a capture's folder, in the world of its cameras; None where there is none.

    It is ``mesh.npz`` (arrays ``vertices`` [n, 3] and, for a mesh, ``faces`` [f, 3]), ``mesh.obj`` or ``mesh.ply``.

    Raises:
        CaptureError: the file cannot be read, or holds neither a mesh nor a point cloud.
    """
    path = next((folder / name for name in SURFACE_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        vertices, faces = {".npz": _read_npz, ".obj": _read_obj, ".ply": _read_ply}[path.suffix](path)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices) or not np.isfinite(vertices).all():
            raise ValueError("its vertices must be three finite numbers each")
        if faces is not None and not len(faces):
            faces = None
        if faces is not None and (
            faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= len(vertices)
        ):
            raise ValueError("its faces must be three vertex indices each")
    except Exception as error:
        # For a file that is not a mesh, the readers raise whatever their parsing meets.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CaptureError(f"{path} is not the surface of a head ({reason}); export it again, or remove it") from error
    return TrueSurface(
        torch.from_numpy(np.ascontiguousarray(vertices, np.float32)),
        None if faces is None else torch.from_numpy(np.ascontiguousarray(faces, np.int64)),
    )


def _read_npz(path: Path) -> _Arrays:
    with np.load(path, allow_pickle=False) as stored:
        return stored["vertices"], stored["faces"] if "faces" in stored.files else None


def _read_obj(path: Path) -> _Arrays:
    vertices, faces = read_obj(path)
    return vertices.numpy(), faces.numpy()


def _read_ply(path: Path) -> _Arrays:
    data = PlyData.read(str(path))
    vertices = np.stack([np.asarray(data["vertex"][axis], np.float64) for axis in "xyz"], 1)
    if "face" not in data:
        return vertices, None
    (indices,) = (p.name for p in data["face"].properties if p.name in ("vertex_indices", "vertex_index"))
    polygons = [np.asarray(polygon, np.int64) for polygon in data["face"][indices]]
    triangles = [[polygon[0], b, c] for polygon in polygons for b, c in pairwise(polygon[1:])]
    return vertices, np.array(triangles, np.int64).reshape(-1, 3)
