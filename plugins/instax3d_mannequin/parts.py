"""What is added to the skin by code: eyelid rims, a mouth bag and eyeballs, each a linear function of the skin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from .cage import boundary_loops
from .figures import Array, Index

RIM_DEPTH = 0.25
"""How far an eyelid's rim turns in towards the eye's centre, of the way."""
BAG_RINGS = ((0.98, 0.007, 1.0), (0.85, 0.018, 1.5), (0.45, 0.030, 1.0))
"""Mouth bag, from the lips inwards: shrinking towards its axis, depth (metres), widening of its height."""
BAG_DEPTH = 0.033
EYE_RINGS = (11, 13, 24, 26, 40, 60, 85, 115, 150)
"""Degrees from the front of an eyeball; the rims of pupil (12) and iris (25) are doubled."""
EYE_SPOKES = 18
DISC = 0.075
"""Radius of each of the three texture discs below the skin's chart (left eye, right eye, mouth)."""
DISC_CENTRES = {"eye_left": (0.1, 0.08), "eye_right": (0.3, 0.08), "mouth": (0.5, 0.08)}

Term = tuple[Index | int, float]
"""A vertex, or one for each new vertex, and its weight."""


@dataclass(frozen=True)
class Parts:
    """The added vertices, numbered after the skin's."""

    faces: Index
    """[f, 3] their triangles."""
    uv: Array
    """[f, 3, 2] texture coordinates of the corners."""
    indices: Mapping[str, Index]
    """Added vertices of ``eye_left_rim``, ``eye_right_rim``, ``mouth_bag``, ``eyeball_left``, ``eyeball_right``."""
    loops: Mapping[str, Index]
    """Outlines of the skin: ``base``, ``mouth``, ``eye_left``, ``eye_right``."""
    linear: sp.csr_matrix
    """[added, skin + 2]: weights on the skin's vertices and the two eye centres."""
    offset: Array
    """[added, 3] what positions get on top."""

    def extend(self, skin: Array, eye_centres: Array) -> Array:
        """All vertices [skin + added, 3] for positions of the skin and the eye centres [2, 3]."""
        return np.vstack([skin, self.linear @ np.vstack([skin, eye_centres]) + self.offset])

    def extend_moves(self, skin: Array, eye_centres: Array) -> Array:
        """The same for displacements."""
        return np.vstack([skin, self.linear @ np.vstack([skin, eye_centres])])


class _Builder:
    """Collects rings of vertices and the triangles between them."""

    def __init__(self, skin_count: int) -> None:
        self.skin_count = skin_count
        self.rows: list[sp.csr_matrix] = []
        self.offsets: list[Array] = []
        self.faces: list[Index] = []
        self.uv: list[Array] = []
        self.count = 0

    def add(self, terms: Sequence[Term], offset: Array) -> Index:
        """New vertices: weighted sums of others (one, or one each) plus offsets [m, 3]. Returns their numbers."""
        rows = len(offset)
        row = np.arange(rows)
        weights = sp.csr_matrix((rows, self.skin_count + 2))
        for source, weight in terms:
            entries = (np.full(rows, weight), (row, np.broadcast_to(source, rows)))
            weights = weights + sp.csr_matrix(entries, shape=weights.shape)
        self.rows.append(weights)
        self.offsets.append(offset)
        self.count += rows
        return self.skin_count + self.count - rows + np.arange(rows)

    def strip(self, outer: Index, inner: Index, disc: str, radii: tuple[float, float]) -> None:
        """Triangles between two rings of equally many vertices."""
        here = np.arange(len(outer))
        there = (here + 1) % len(outer)
        a, b = (outer[there], radii[0], there), (outer, radii[0], here)
        c, d = (inner, radii[1], here), (inner[there], radii[1], there)
        self._triangles((a, b, c), disc)
        self._triangles((a, c, d), disc)

    def fan(self, ring: Index, tip: int, disc: str, radii: tuple[float, float], *, behind: bool = False) -> None:
        """Triangles from a ring to a single vertex on the side that a strip's inner ring is on, or ``behind``."""
        here = np.arange(len(ring))
        there = (here + 1) % len(ring)
        middle = (np.full(len(ring), tip), radii[1], here + 0.5)
        first, second = (ring[there], radii[0], there), (ring, radii[0], here)
        self._triangles((second, first, middle) if behind else (first, second, middle), disc)

    def _triangles(self, corners: Sequence[tuple[Index, float, Index | Array]], disc: str) -> None:
        """One triangle per spoke; a corner is its vertices, radius and place (in spokes) in the texture disc."""
        self.faces.append(np.stack([vertices for vertices, _, _ in corners], 1))
        uv = []
        for vertices, radius, place in corners:
            angle = -2 * np.pi * place / len(vertices)
            uv.append(np.array(DISC_CENTRES[disc]) + DISC * radius * np.stack([np.cos(angle), np.sin(angle)], 1))
        self.uv.append(np.stack(uv, 1))


def make_parts(skin: Array, skin_faces: Index, eye_radius: float) -> Parts:
    """Close the skin's openings and put the eyeballs in.

    Args:
        skin: [n, 3] the neutral skin, metres.
        skin_faces: its triangles.
        eye_radius: metres.
    """
    n = len(skin)
    loops = _named_loops(skin, skin_faces)
    build = _Builder(n)
    indices: dict[str, Index] = {}
    for number, side in enumerate(("eye_left", "eye_right")):
        loop = loops[side]
        terms: list[Term] = [(loop, 1 - RIM_DEPTH), (n + number, RIM_DEPTH)]
        indices[f"{side}_rim"] = build.add(terms, np.zeros((len(loop), 3)))
        build.strip(loop, indices[f"{side}_rim"], side, (1.0, 0.85))
    indices["mouth_bag"] = _mouth_bag(build, skin, loops["mouth"])
    for number, side in enumerate(("left", "right")):
        indices[f"eyeball_{side}"] = _eyeball(build, n + number, eye_radius, f"eye_{side}")
    return Parts(
        np.vstack(build.faces),
        np.vstack(build.uv),
        indices,
        loops,
        sp.vstack(build.rows).tocsr(),
        np.vstack(build.offsets),
    )


def _named_loops(skin: Array, faces: Index) -> dict[str, Index]:
    """The skin's four outlines, told apart by size and place."""
    loops = boundary_loops(faces)
    loops.sort(key=lambda loop: np.ptp(skin[loop, 0]))
    base = loops.pop()
    right, mouth, left = sorted(loops, key=lambda loop: skin[loop, 0].mean())
    return {"base": base, "mouth": mouth, "eye_left": left, "eye_right": right}


def _mouth_bag(build: _Builder, skin: Array, loop: Index) -> Index:
    """Rings that go inwards from the lips and end in a point between the corners of the mouth."""
    m = len(loop)
    right, left = int(loop[skin[loop, 0].argmin()]), int(loop[skin[loop, 0].argmax()])
    height = skin[loop, 1] - skin[[left, right], 1].mean()
    outer, added = loop, []
    for ring, (shrink, depth, widen) in enumerate(BAG_RINGS):
        offset = np.stack([np.zeros(m), height * (widen - 1), np.full(m, -depth)], 1)
        terms: list[Term] = [(loop, shrink), (right, (1 - shrink) / 2), (left, (1 - shrink) / 2)]
        added.append(build.add(terms, offset))
        build.strip(outer, added[-1], "mouth", (1 - ring / 4, 1 - (ring + 1) / 4))
        outer = added[-1]
    tip = build.add([(right, 0.5), (left, 0.5)], np.array([[0.0, 0.0, -BAG_DEPTH]]))
    build.fan(outer, int(tip[0]), "mouth", (1 / 4, 0.0))
    return np.concatenate([*added, tip])


def _eyeball(build: _Builder, centre: int, radius: float, disc: str) -> Index:
    """A sphere with its pole in front; moves with the eye centre, which is column ``centre``."""
    polar = np.radians(EYE_RINGS)
    around = np.arange(EYE_SPOKES) * 2 * np.pi / EYE_SPOKES
    rings = []
    for angle in polar:
        place = [np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.full(EYE_SPOKES, np.cos(angle))]
        rings.append(build.add([(centre, 1.0)], radius * np.stack(place, 1)))
    front = build.add([(centre, 1.0)], np.array([[0.0, 0.0, radius]]))
    back = build.add([(centre, 1.0)], np.array([[0.0, 0.0, -radius]]))
    places = 0.75 * polar / np.pi
    build.fan(rings[0][::-1], int(front[0]), disc, (places[0], 0.0))
    for k in range(len(rings) - 1):
        build.strip(rings[k + 1][::-1], rings[k][::-1], disc, (places[k + 1], places[k]))
    build.fan(rings[-1][::-1], int(back[0]), disc, (places[-1], 0.75), behind=True)
    return np.concatenate([*rings, front, back])
