"""The packaged table of numbers: what was measured on a reference head, for the left half of a control cage.

`instax3d_plugins.mannequin.design` makes the table. It holds whole numbers only; one count is 0.01 mm for lengths
and 0.001 mm for shape components.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

METERS = 1e-5
"""Meters per count of a length."""
SHAPE = 1e-6
"""Meters per count of a shape component's displacement: finer, as the errors of all components add up."""
WEIGHT = 1e-3
"""Value of one count of a skinning weight."""
BARYCENTRIC = 1e-4
"""Value of one count of a barycentric coordinate."""
CHART = 1e-3
"""Chart units per count; a chart unit is about a centimeter on the skin."""

Array = NDArray[np.floating[Any]]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class MannequinTable:
    """The table as arrays in counts, named as in the file."""

    faces: Index
    """[n, 3] triangles of the half cage."""
    chart: Index
    """[points, 2] places of the half cage's points in the flat chart."""
    midline: Index
    """Points of the half cage on the plane of symmetry."""
    lips: Index
    """Points of the half cage along the border of the lips' red, from the upper to the lower midline."""
    eye: Index
    """Points of the half cage around the left eye and its lids, in order."""
    nostril: Index
    """Points of the half cage around the left nostril, in order."""
    ear: Index
    """[5] the left ear in the chart: center u, v and covariance uu, uv, vv."""
    cage: Index
    """[m, 3] neutral control points of the half cage subdivided once."""
    detail: Index
    """[k, 3] what the left half of the finished neutral skin is moved beyond these."""
    shape: Index
    """[components, points, 3] displacements of the half cage for one standard deviation."""
    shape_eye: Index
    """[components, 3] displacements of the left eye's center."""
    expr_names: NDArray[Any]
    """ARKit names (text); of a pair only the left one. ``a+b`` is what a and b do together, on top of each alone."""
    expr_start: Index
    """Where each expression begins in the two arrays below; one more than there are names."""
    expr_points: Index
    """Moved control points of the cage subdivided once: of its left half for symmetric expressions, else of all."""
    expr_moves: Index
    """[rows, 3] their displacements."""
    eye_center: Index
    """[3] of the left eye."""
    eye_radius: Index
    """Scalar."""
    joints: Index
    """[2, 3] neck and jaw."""
    jaw_weight: Index
    """[m] how far each control point of the half cage, subdivided once, follows the jaw."""
    landmarks: Index
    """[68, 6] three vertices of the skin and their barycentric weights."""

    @classmethod
    def load(cls, path: Path) -> "MannequinTable":
        """Read a table that `instax3d_plugins.mannequin.design` wrote."""
        with np.load(path, allow_pickle=False) as table:
            return cls(**{k: v if v.dtype.kind == "U" else v.astype(np.int64) for k, v in table.items()})

    @classmethod
    def packaged(cls) -> "MannequinTable":
        """The table that comes with the plugin."""
        with as_file(files(__package__) / "table.npz") as path:
            return cls.load(path)

    @cached_property
    def on_midline(self) -> NDArray[np.bool_]:
        """Which points of the half cage lie on the plane of symmetry."""
        mask = np.zeros(len(self.chart), bool)
        mask[self.midline] = True
        return mask
