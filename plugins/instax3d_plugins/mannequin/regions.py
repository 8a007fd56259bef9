"""Named parts of the surface: by edge loops of the cage, or by rules on the neutral skin (its axes, in meters)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .cage import Cage
from .table import Array, Index

Mask = NDArray[np.bool_]

CM = 0.01
NECK_TOP = (np.array([-10, -4, 2, 5.5, 9.5, 12]) * CM, np.array([-6, -6, -4, -6.6, -8.2, -8.4]) * CM)
"""(z, y): below this line is neck: nape, behind the jaw's angle, under the jaw, under the chin."""
HAIRLINE = (
    np.array([-10, -4, 0.5, 2.5, 4.5, 7, 9, 12]) * CM,
    np.array([-6, -6, -4, 2, 9, 10.5, 11, 11]) * CM,
)
"""(z, y): above this line is scalp: nape, behind the ear, temple, forehead."""
EAR_REACH = 3.3
"""In standard deviations of the ear's ellipse in the chart."""


def skin_regions(skin: Array, chart: Array, ear: Array) -> Mapping[str, Mask]:
    """Masks [n] over the skin that partition it: face, scalp, ears and neck.

    Args:
        skin: [n, 3] neutral vertices.
        chart: [n, 2] their positions in the left half's chart.
        ear: [5] center and covariance of the ear in the chart.
    """
    height, depth = skin[:, 1], skin[:, 2]
    u = chart - ear[:2]
    spread = np.linalg.inv([[ear[2], ear[3]], [ear[3], ear[4]]])
    ears = np.einsum("ni,ij,nj->n", u, spread, u) < EAR_REACH**2
    neck = (height < np.interp(depth, *NECK_TOP)) & ~ears
    scalp = (height > np.interp(depth, *HAIRLINE)) & ~ears & ~neck
    return {"face": ~(ears | neck | scalp), "scalp": scalp, "ears": ears, "neck": neck}


def inside_ring(ring: Index, half_chart: Array, cage: Cage) -> Mask:
    """Which vertices of the fine skin lie on or inside a ring of edges of the half cage, or its mirror image.

    Each triangle of the cage lies on one side of the ring, and so do those that it is subdivided to: the mask ends on
    an edge loop.
    """
    base, fine = cage.levels[0], cage.levels[-1]
    half_faces = base.faces[: len(base.faces) // 2]
    inside = np.tile(inside_polygon(half_chart[half_faces].mean(1), half_chart[ring]), 2)
    mask = np.zeros(len(fine.mirror), bool)
    mask[fine.faces[inside[np.arange(len(fine.faces)) % len(base.faces)]]] = True
    return mask


def inside_polygon(points: Array, polygon: Array) -> Mask:
    """Which points [n, 2] lie inside the closed polygon [k, 2], by the even-odd rule."""
    a, b = polygon, np.roll(polygon, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    at = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise
    return np.asarray((crosses & (x < at)).sum(1) % 2, bool)
