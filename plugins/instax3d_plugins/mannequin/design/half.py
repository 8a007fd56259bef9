"""The left half of the reference, and its outlines."""

from dataclasses import dataclass

import numpy as np

from ..cage import boundary_loops
from ..table import Array, Index

ON_MIDLINE = 1e-3
"""Centimeters from the plane of symmetry."""
LID_LINING, LIP_LINING = 2, 6
"""Rows of quads between the reference's openings and where the mannequin's skin begins."""
BASE_BELOW = -10.0
"""Height below which an outline is the bust's, cm."""


@dataclass(frozen=True)
class Outlines:
    """The half's outlines as vertex numbers in the direction of its faces; each of the first four begins where the one
    before ends."""

    ridge: Index
    """The midline from the nape over crown, forehead and nose to the upper lip."""
    mouth: Index
    """The edge of the lips' skin, from the upper to the lower one."""
    front: Index
    """The midline from the lower lip over chin and throat to the base."""
    base: Index
    """Where the bust ends, from front to back."""
    eye: Index
    """The edge of the lids from the inner corner of the eye, closed."""

    def all(self) -> tuple[Index, Index, Index, Index, Index]:
        """In the order in which outline numbers count."""
        return self.ridge, self.mouth, self.front, self.base, self.eye


@dataclass(frozen=True)
class Half:
    """The left half as a mesh of its own."""

    ids: Index
    """Its vertices' numbers in the whole."""
    vertices: Array
    faces: Index
    outlines: Outlines


def without_linings(vertices: Array, faces: Index) -> Index:
    """The triangles of a head without the margins of the lids and the inner side of the lips.

    So the skin ends at the front edge of the lids, and a little behind the line on which closed lips touch.
    """
    for loop in boundary_loops(faces):
        x, y = vertices[loop, :2].mean(0)
        if y < BASE_BELOW:
            continue
        for _ in range(LIP_LINING if abs(x) < 0.1 else LID_LINING):
            lining = np.isin(faces, loop).any(1)
            ring = np.unique(faces[lining])
            faces, loop = faces[~lining], np.setdiff1d(ring, loop)
    return faces


def left_half(vertices: Array, faces: Index) -> Half:
    """Cut a symmetric head with open eyes and mouth along its middle."""
    inside = vertices[:, 0] > -ON_MIDLINE
    faces = faces[inside[faces].all(1)]
    ids, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    eye, outer = sorted(boundary_loops(faces), key=len)
    eye = np.roll(eye, -int(vertices[ids][eye, 0].argmin()))
    middle = np.abs(vertices[ids][outer, 0]) < ON_MIDLINE
    starts = np.flatnonzero(middle & ~np.roll(middle, 1))
    crown = vertices[ids][outer, 1].argmax()
    start = int(starts[((crown - starts) % len(outer)).argmin()])
    outer, middle = np.roll(outer, -start), np.roll(middle, -start)
    # the loop goes midline, mouth or base, midline, base or mouth; the pieces share their ends
    _, b, c, d = np.sort(
        np.r_[np.flatnonzero(middle & ~np.roll(middle, 1)), np.flatnonzero(middle & ~np.roll(middle, -1))]
    )
    outer = np.r_[outer, outer[:1]]
    outlines = Outlines(outer[: b + 1], outer[b : c + 1], outer[c : d + 1], outer[d:], eye)
    return Half(ids, vertices[ids], faces, outlines)
