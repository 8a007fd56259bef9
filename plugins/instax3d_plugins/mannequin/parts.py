"""Parts added to the skin by code, each linear in the skin: eyelid rims, mouth, teeth, eyeballs, bust's end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from .cage import boundary_loops
from .table import Array, Index

RIM_DEPTH = 0.25
"""How far an eyelid's rim turns in towards the eye's center, of the way."""
BAG_RINGS = ((0.99, 0.006, 1.0), (0.95, 0.016, 1.5), (0.82, 0.030, 2.0), (0.5, 0.042, 1.5))
"""Mouth bag, from the lips inwards: shrinking towards its axis, depth (meters), widening of its height."""
BAG_DEPTH = 0.048
TEETH_BEHIND = 0.006
"""The front teeth stand this far behind the lips' edges, meters."""
TEETH_HALF_WIDTH, TEETH_ARCH = 0.025, 0.032
"""Of the arch that the rows stand on, and how far it reaches back, meters."""
TEETH_SECTIONS = 17
TEETH_EDGES = {"upper": (-0.0045, 0.0075), "lower": (-0.003, -0.012)}
"""Heights of a row's biting edge and of its root above the middle of the lips' edges, meters."""
TEETH_OVERBITE = 0.002
TEETH_PROFILE = ((-0.5, 0.0), (0.5, 0.0), (1.0, 0.4), (1.0, 1.0), (-1.0, 1.0), (-1.0, 0.4))
"""Cross-section: across (in TEETH_THICKNESS, positive in front) and up from biting edge to root."""
TEETH_THICKNESS = 0.002
BUST_RINGS = ((0.3, 1.0), (0.75, 0.99), (0.95, 0.96), (1.0, 0.92))
"""The bust's lower end: share of the way down to its bottom, and of its width."""
BUST_BELOW = 0.015
"""Meters from the skin's lowest point to the bottom."""
EYE_RINGS = (11, 13, 24, 26, 40, 60, 85, 115, 150)
"""Degrees from the front of an eyeball; the rims of pupil (12) and iris (25) are doubled."""
EYE_SPOKES = 18
DISC = 0.075
"""Radius of each of the texture discs below the skin's chart."""
DISC_CENTERS = {
    name: (0.08 + 0.165 * number, 0.08)
    for number, name in enumerate(("eye_left", "eye_right", "mouth", "teeth_upper", "teeth_lower", "bust"))
}

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
    """Added vertices of ``eye_left_rim``, ``eye_right_rim``, ``mouth_bag``, ``teeth_upper``, ``teeth_lower``,
    ``eyeball_left``, ``eyeball_right`` and ``bust``."""
    loops: Mapping[str, Index]
    """Outlines of the skin: ``base``, ``mouth``, ``eye_left``, ``eye_right``."""
    linear: sp.csr_matrix
    """[added, skin + 2]: weights on the skin's vertices and the two eye centers."""
    offset: Array
    """[added, 3] added to positions."""

    def extend(self, skin: Array, eye_centers: Array) -> Array:
        """All vertices [skin + added, 3] for positions of the skin and the eye centers [2, 3]."""
        return np.vstack([skin, self.linear @ np.vstack([skin, eye_centers]) + self.offset])

    def extend_moves(self, skin: Array, eye_centers: Array) -> Array:
        """The same for displacements."""
        return np.vstack([skin, self.linear @ np.vstack([skin, eye_centers])])


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
            uv.append(np.array(DISC_CENTERS[disc]) + DISC * radius * np.stack([np.cos(angle), np.sin(angle)], 1))
        self.uv.append(np.stack(uv, 1))


def make_parts(skin: Array, skin_faces: Index, eye_radius: float) -> Parts:
    """Close the skin's openings and put the eyeballs in.

    Args:
        skin: [n, 3] the neutral skin, meters.
        skin_faces: its triangles.
        eye_radius: meters.
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
    for row in TEETH_EDGES:
        indices[f"teeth_{row}"] = _teeth(build, skin, loops["mouth"], row)
    for number, side in enumerate(("left", "right")):
        indices[f"eyeball_{side}"] = _eyeball(build, n + number, eye_radius, f"eye_{side}")
    indices["bust"] = _bust(build, skin, loops["base"])
    return Parts(
        np.vstack(build.faces),
        np.vstack(build.uv),
        indices,
        loops,
        sp.vstack(build.rows).tocsr(),
        np.vstack(build.offsets),
    )


def _named_loops(skin: Array, faces: Index) -> dict[str, Index]:
    """The skin's four outlines, distinguished by size and position."""
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
    outer, added, step = loop, [], 1 / (len(BAG_RINGS) + 1)
    for ring, (shrink, depth, widen) in enumerate(BAG_RINGS):
        offset = np.stack([np.zeros(m), height * (widen - 1), np.full(m, -depth)], 1)
        terms: list[Term] = [(loop, shrink), (right, (1 - shrink) / 2), (left, (1 - shrink) / 2)]
        added.append(build.add(terms, offset))
        build.strip(outer, added[-1], "mouth", (1 - ring * step, 1 - (ring + 1) * step))
        outer = added[-1]
    tip = build.add([(right, 0.5), (left, 0.5)], np.array([[0.0, 0.0, -BAG_DEPTH]]))
    build.fan(outer, int(tip[0]), "mouth", (step, 0.0))
    return np.concatenate([*added, tip])


def _teeth(build: _Builder, skin: Array, loop: Index, row: str) -> Index:
    """One row as a closed tube along an arch behind the lips; goes along with the corners of the mouth."""
    right, left = int(loop[skin[loop, 0].argmin()]), int(loop[skin[loop, 0].argmax()])
    corners = skin[[left, right]].mean(0)
    middle = skin[loop][np.abs(skin[loop, 0]) < 1e-6]
    front, height = middle[:, 2].min() - TEETH_BEHIND, middle[:, 1].mean()
    edge, root = TEETH_EDGES[row]
    if row == "lower":
        front -= TEETH_OVERBITE
    place = np.linspace(-1, 1, TEETH_SECTIONS)
    arch = np.stack([TEETH_HALF_WIDTH * np.sin(place * np.pi / 2), TEETH_ARCH * (np.cos(place * np.pi / 2) - 1)], 1)
    outwards = np.stack([np.sin(place * np.pi / 2), np.cos(place * np.pi / 2)], 1)
    profile = TEETH_PROFILE if row == "upper" else TEETH_PROFILE[::-1]

    def at(spot: Array, normal: Array, across: float, up: float) -> Array:
        x, z = spot + TEETH_THICKNESS * across * normal
        point: Array = np.array([x, height + edge + up * (root - edge), front + z]) - corners * [0, 1, 1]
        return point

    def add(points: Sequence[Array]) -> Index:
        return build.add([(right, 0.5), (left, 0.5)], np.stack(points))

    disc = f"teeth_{row}"
    rings = [add([at(a, o, *corner) for corner in profile]) for a, o in zip(arch, outwards, strict=True)]
    ends = [add([at(arch[k], outwards[k], 0.0, 0.5)]) for k in (0, -1)]
    radii = np.linspace(0.9, 0.1, TEETH_SECTIONS)
    build.fan(rings[0], int(ends[0][0]), disc, (radii[0], 1.0), behind=True)
    for k in range(TEETH_SECTIONS - 1):
        build.strip(rings[k], rings[k + 1], disc, (radii[k], radii[k + 1]))
    build.fan(rings[-1], int(ends[1][0]), disc, (radii[-1], 0.0))
    return np.concatenate([*rings, *ends])


def _bust(build: _Builder, skin: Array, loop: Index) -> Index:
    """Walls from the skin's lower outline down to a flat bottom."""
    low = skin[loop, 1].min() - BUST_BELOW
    middle = np.array([0.0, 0.0, (skin[loop, 2].min() + skin[loop, 2].max()) / 2])
    outer, added = loop, []
    for number, (down, width) in enumerate(BUST_RINGS):
        offset = (width - 1) * (skin[loop] - middle)
        offset[:, 1] = down * (low - skin[loop, 1])
        added.append(build.add([(loop, 1.0)], offset))
        radii = 1 - np.array([number, number + 1]) / (len(BUST_RINGS) + 1)
        build.strip(outer, added[-1], "bust", (radii[0], radii[1]))
        outer = added[-1]
    front, back = int(loop[skin[loop, 2].argmax()]), int(loop[skin[loop, 2].argmin()])
    ends = skin[[front, back]].mean(0)
    tip = build.add([(front, 0.5), (back, 0.5)], np.array([[0.0, low - ends[1], 0.0]]))
    build.fan(outer, int(tip[0]), "bust", (radii[1], 0.0))
    return np.concatenate([*added, tip])


def _eyeball(build: _Builder, center: int, radius: float, disc: str) -> Index:
    """A sphere with its pole in front; moves with the eye center, which is column ``center``."""
    polar = np.radians(EYE_RINGS)
    around = np.arange(EYE_SPOKES) * 2 * np.pi / EYE_SPOKES
    rings = []
    for angle in polar:
        place = [np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.full(EYE_SPOKES, np.cos(angle))]
        rings.append(build.add([(center, 1.0)], radius * np.stack(place, 1)))
    front = build.add([(center, 1.0)], np.array([[0.0, 0.0, radius]]))
    back = build.add([(center, 1.0)], np.array([[0.0, 0.0, -radius]]))
    places = 0.75 * polar / np.pi
    build.fan(rings[0][::-1], int(front[0]), disc, (places[0], 0.0))
    for k in range(len(rings) - 1):
        build.strip(rings[k + 1][::-1], rings[k][::-1], disc, (places[k + 1], places[k]))
    build.fan(rings[-1][::-1], int(back[0]), disc, (places[-1], 0.75), behind=True)
    return np.concatenate([*rings, front, back])
