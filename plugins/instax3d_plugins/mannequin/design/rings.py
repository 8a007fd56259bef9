"""Curves around eye, mouth and nostril along which the cage has points, so that its edges follow lids and lips."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..cage import boundary_loops
from ..table import Array, Index
from .half import Half
from .outline_points import Curve
from .surface import ClosestPointMesh

EYE_STEP = 0.04
EYE_SAMPLES = 160
EYE_REACHES = (0.26, 0.62)
"""Centimeters of the eye's rings from the edge of the lids; the last one bounds the region of the eye."""
MOUTH_RINGS = 9
"""Edge loops of the reference between the mouth's outline and the skin above the lips."""
MIDDLE = 0.42
"""Where the ring on the lips lies, of the way from the outline to their border."""
RIM_REGAINS = 1.08
"""What the nostril's rim loses in size when it is evened out."""
BORDER = ((0, 4, 10, 19, 28, 37), (9, 9, 8, 7, 6, 6))
"""Column of the edge loops from the upper to the lower midline, and the loop that the lips' red ends on there."""


@dataclass(frozen=True)
class Rings:
    """Each list goes outwards from the outline, which is left out."""

    eye: list[Curve]
    mouth: list[Curve]
    """From the upper to the lower midline; column by column beside the outline."""
    nostril: Curve


def make_rings(half: Half, chart: Array, rim: Index) -> Rings:
    """The rings of a half with a shallow nostril, whose ``rim`` is given in order."""
    eye = Curve.along(chart, half.vertices, half.outlines.eye, closed=True)
    return Rings(
        _offsets(eye, half, chart),
        _mouth_rings(half, chart),
        _evened(Curve.along(chart, half.vertices, rim, closed=True), half, chart),
    )


def _evened(rim: Curve, half: Half, chart: Array) -> Curve:
    """The nostril's rim without its notches."""
    surface = ClosestPointMesh(half.vertices, half.faces)
    even = gaussian_filter1d(rim.in_space(np.linspace(0, rim.total, 60, endpoint=False)), 3.5, axis=0, mode="wrap")
    even = surface.closest(even.mean(0) + RIM_REGAINS * (even - even.mean(0)))[0]
    return Curve(surface.interpolation(even) @ chart, even, closed=True)


def _offsets(eye: Curve, half: Half, chart: Array) -> list[Curve]:
    """Curves that a point on the eye's outline runs along as it walks away over the surface."""
    surface = ClosestPointMesh(half.vertices, half.faces)
    walkers = eye.in_space(np.linspace(0, eye.total, EYE_SAMPLES, endpoint=False))
    inwards = walkers.mean(0) - walkers
    curves: list[Array] = []
    for step in range(round(EYE_REACHES[-1] / EYE_STEP)):
        if step * EYE_STEP >= EYE_REACHES[len(curves)]:
            curves.append(walkers)
        along = np.roll(walkers, -1, 0) - np.roll(walkers, 1, 0)
        normals = surface.normals(walkers)
        outwards = np.cross(along, normals)
        outwards *= -np.sign((outwards * inwards).sum(1, keepdims=True))
        outwards = gaussian_filter1d(outwards / np.linalg.norm(outwards, axis=1, keepdims=True), 6, axis=0, mode="wrap")
        outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
        moved = gaussian_filter1d(walkers + EYE_STEP * outwards, 0.7, axis=0, mode="wrap")
        walkers = surface.closest(moved)[0]
    curves.append(walkers)
    return [Curve(surface.interpolation(curve) @ chart, curve, closed=True) for curve in curves]


def _mouth_rings(half: Half, chart: Array) -> list[Curve]:
    loops = [half.outlines.mouth]
    faces, inner = half.faces, np.zeros(len(half.vertices), bool)
    for _ in range(MOUTH_RINGS):
        inner[loops[-1]] = True
        beside = np.unique(faces[inner[faces].any(1)])
        faces = faces[~inner[faces].any(1)]
        outer = max(boundary_loops(faces), key=len)
        on_ring = np.isin(outer, beside)
        start = int(np.flatnonzero(on_ring & ~np.roll(on_ring, 1))[0])
        loops.append(np.roll(outer, -start)[: on_ring.sum()])
    columns = np.arange(len(loops[0]))
    border = np.interp(columns, *BORDER)
    places = np.stack([half.vertices[loop] for loop in loops]), np.stack([chart[loop] for loop in loops])

    def ring(number: Array) -> Curve:
        below = np.minimum(number.astype(int), MOUTH_RINGS - 1)
        share = (number - below)[:, None]
        space, flat = (grid[below, columns] * (1 - share) + grid[below + 1, columns] * share for grid in places)
        return Curve(flat, space, closed=False)

    return [ring(MIDDLE * border), ring(border)]
