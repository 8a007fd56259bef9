"""Named parts of the surface, by simple rules on the neutral skin (its axes, in metres) and in its flat chart."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .figures import Array

Mask = NDArray[np.bool_]

CM = 0.01
NECK_TOP = (np.array([-10, -4, 2, 5.5, 9.5, 12]) * CM, np.array([-6, -6, -4, -6.6, -8.2, -8.4]) * CM)
"""(z, y): below this line is neck: nape, behind the jaw's angle, under the jaw, under the chin."""
HAIRLINE = (
    np.array([-10, -4, 0.5, 2.5, 4.5, 7, 9, 12]) * CM,
    np.array([-6, -6, -4, 2, 9, 10.5, 11, 11]) * CM,
)
"""(z, y): above this line is scalp: nape, behind the ear, temple, forehead."""
UPPER_LIP = (np.array([0, 0.7, 1.6, 2.55]) * CM, np.array([-2.45, -2.38, -2.75, -3.45]) * CM)
"""(|x|, y): the red of the lips lies below this line ..."""
LOWER_LIP = (np.array([0, 1.0, 1.8, 2.55]) * CM, np.array([-4.4, -4.3, -4.05, -3.55]) * CM)
"""... and above this one."""
LIPS_IN_FRONT_OF = 9.5 * CM
EYE_REACH = 0.9 * CM
"""The region ``eyes`` reaches this far from the edge of the lids."""
EAR_REACH = 3.3
"""In standard deviations of the ear's ellipse in the chart."""


def skin_regions(skin: Array, chart: Array, lids: Array, ear: Array, nostril: Array) -> Mapping[str, Mask]:
    """Masks [n] over the skin: face, scalp, ears and neck, which part it; eyes, lips and nostrils within the face.

    Args:
        skin: [n, 3] neutral vertices.
        chart: [n, 2] their place in the left half's chart.
        lids: [k, 3] vertices on the edges of the lids.
        ear: [5] centre and covariance of the ear in the chart.
        nostril: [k, 2] the nostril's outline in the chart.
    """
    beside, height, depth = np.abs(skin[:, 0]), skin[:, 1], skin[:, 2]
    u = chart - ear[:2]
    spread = np.linalg.inv([[ear[2], ear[3]], [ear[3], ear[4]]])
    ears = np.einsum("ni,ij,nj->n", u, spread, u) < EAR_REACH**2
    neck = (height < np.interp(depth, *NECK_TOP)) & ~ears
    scalp = (height > np.interp(depth, *HAIRLINE)) & ~ears & ~neck
    lips = (
        (height < np.interp(beside, *UPPER_LIP))
        & (height > np.interp(beside, *LOWER_LIP))
        & (beside < UPPER_LIP[0][-1])
        & (depth > LIPS_IN_FRONT_OF)
    )
    to_lids = np.linalg.norm(skin[:, None] - lids[None], axis=2).min(1)
    return {
        "face": ~(ears | neck | scalp),
        "scalp": scalp,
        "ears": ears,
        "neck": neck,
        "eyes": to_lids < EYE_REACH,
        "lips": lips,
        "nostrils": inside_polygon(chart, nostril),
    }


def inside_polygon(points: Array, polygon: Array) -> Mask:
    """Which points [n, 2] lie inside the closed polygon [k, 2], by the even-odd rule."""
    a, b = polygon, np.roll(polygon, -1, axis=0)
    x, y = points[:, :1], points[:, 1:]
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    rise = np.where(b[:, 1] == a[:, 1], 1.0, b[:, 1] - a[:, 1])
    at = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise
    return np.asarray((crosses & (x < at)).sum(1) % 2, bool)
