"""Spreads the cage's points over the half head: evenly along the outlines, relaxed inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..regions import inside_polygon
from ..table import Array, Index
from .half import Half
from .outline_points import Curve, Sizes
from .rings import Rings
from .surface import face_areas, flat_surface, lifted

INSIDE = -1
"""Line number of a point on none."""
EYE, MOUTH = 4, 1
"""Line numbers: ridge, mouth, front, base and eye are the half's outlines; the rings follow."""
LEAST_STEPS = (2, 5, 2, 5, 8)
"""Of each outline; of mouth and eye for each of their two lips and lids."""
NOSTRIL_POINTS = 8
SAMPLES = 120_000
ROUNDS = 60
PER_HEXAGON = 0.866
"""Area of a point's cell in squares of the edge length."""
NORMALS = 0.45
"""Centimeters that a unit of normal adds to distances: both sides of ear and lips stay separate."""


@dataclass(frozen=True)
class CagePoints:
    """The points of the half cage; those on lines come first, line by line."""

    chart: Array
    """[n, 2]."""
    outline: Index
    """[n] number of the line, or -1."""
    place: Array
    """[n] length along that line, cm."""
    lines: Sequence[Curve]
    """The outlines and the rings."""
    ends: Mapping[int, tuple[int, int]]
    """The points of ridge and front at which an open ring begins and ends, by its number."""

    @property
    def border(self) -> Index:
        """All points of the half's outer outline, in order."""
        return np.concatenate([self.on(number) for number in range(4)])

    def on(self, number: int) -> Index:
        """The points of a line, without the ends that belong to another one."""
        return np.flatnonzero(self.outline == number)

    def along(self, number: int) -> Index:
        """All points of a ring in order, ends included."""
        points = self.on(number)
        if number in self.ends:
            first, last = self.ends[number]
            return np.concatenate([[first], points, [last]])
        return points

    def edges(self) -> Index:
        """[e, 2] pairs of points that follow each other on outlines and rings."""
        border, eye = self.border, self.on(EYE)
        pairs = [np.c_[border, np.roll(border, -1)], np.c_[eye, np.roll(eye, -1)]]
        for number in range(EYE + 1, len(self.lines)):
            line = self.along(number)
            pairs.append(np.c_[line[:-1], line[1:]])
            if self.lines[number].closed:
                pairs.append([[line[-1], line[0]]])
        return np.vstack(pairs)

    @property
    def on_midline(self) -> NDArray[np.bool_]:
        """Which points lie on the plane of symmetry: ridge, front, and the middle of the lower lip between them."""
        mask = np.asarray((self.outline == 0) | (self.outline == 2))
        mask[self.on(MOUTH)[-1]] = True
        return mask


def spread_points(half: Half, chart: Array, rings: Rings, sizes: Sizes, seed: int) -> CagePoints:
    """Points of the half cage, in the half's chart.

    Args:
        half: with a shallow nostril.
        chart: [n, 2] of its vertices.
        rings: around eye, mouth and nostril.
        sizes: target edge lengths.
        seed: of the relaxation's start.
    """
    outlines = [
        Curve.along(chart, half.vertices, line, closed=number == EYE) for number, line in enumerate(half.outlines.all())
    ]
    lines = [*outlines, *rings.eye, *rings.mouth, rings.nostril]
    first_mouth_ring, nostril = EYE + 1 + len(rings.eye), len(lines) - 1
    ridge, mouth, front, base, eye = outlines
    # ridge and front have a point where each ring of the mouth ends; beyond the last ring they are free
    upper = np.sort([ridge.nearest(ring.chart[:1])[0] for ring in rings.mouth])
    lower = np.sort([front.nearest(ring.chart[-1:])[0] for ring in rings.mouth])
    places = {
        0: np.r_[ridge.spaced(sizes, LEAST_STEPS[0], end=upper[0])[:-1], upper, ridge.total],
        1: _to_corner_and_on(mouth, sizes, LEAST_STEPS[1])[1:],
        2: np.r_[lower, front.spaced(sizes, LEAST_STEPS[2], begin=lower[-1])[1:]],
        3: base.spaced(sizes, LEAST_STEPS[3])[1:-1],
        4: _to_corner_and_on(eye, sizes, LEAST_STEPS[4])[:-1],
    }
    for number, ring in enumerate(rings.eye, EYE + 1):
        places[number] = np.interp(places[EYE], np.linspace(0, eye.total, len(ring.lengths)), ring.lengths)
    columns = np.interp(places[MOUTH][:-1], mouth.lengths, np.arange(len(mouth.lengths)))
    for number, ring in enumerate(rings.mouth, first_mouth_ring):
        places[number] = np.interp(columns, np.arange(len(ring.lengths)), ring.lengths)
    places[nostril] = np.linspace(0, rings.nostril.total, NOSTRIL_POINTS + 1)[:-1]

    outline = np.concatenate([np.full(len(place), number) for number, place in places.items()])
    placed = np.vstack([lines[number].at(place) for number, place in places.items()])
    middle = rings.nostril.chart.mean(0, keepdims=True)
    fixed = np.vstack([placed, middle])
    inner = _relaxed(half, chart, fixed, [rings.eye[-1], _closed(rings.mouth[-1]), rings.nostril], sizes, seed)
    on_none = len(fixed) + len(inner) - len(outline)
    ends = {}
    for k in range(len(rings.mouth)):
        on_ridge, on_front = np.flatnonzero(outline == 0), np.flatnonzero(outline == 2)
        ends[first_mouth_ring + k] = (int(on_ridge[-2 - k]), int(on_front[k]))
    return CagePoints(
        np.vstack([fixed, inner]),
        np.r_[outline, [INSIDE] * on_none].astype(np.int64),
        np.r_[np.concatenate(list(places.values())), np.zeros(on_none)],
        lines,
        ends,
    )


def _to_corner_and_on(curve: Curve, sizes: Sizes, least: int) -> Array:
    """Lengths along a curve with a point at its outermost place."""
    corner = float(curve.lengths[curve.space[:, 0].argmax()])
    return np.concatenate([curve.spaced(sizes, least, end=corner)[:-1], curve.spaced(sizes, least, begin=corner)])


def _closed(ring: Curve) -> Curve:
    return Curve(ring.chart, ring.space, closed=True)


def _relaxed(half: Half, chart: Array, fixed: Array, kept_free: Sequence[Curve], sizes: Sizes, seed: int) -> Array:
    """Chart points between the fixed ones, outside the given curves: centroids of graded Voronoi cells (Lloyd)."""
    vertices, faces = half.vertices, half.faces
    rng = np.random.default_rng(seed)
    areas, size_of_face = face_areas(vertices, faces), sizes.at(vertices[faces].mean(1))
    middles = chart[faces].mean(1)
    outside = ~np.logical_or.reduce([inside_polygon(middles, curve.chart) for curve in kept_free])
    share = areas * size_of_face**-2.0 * outside
    face = rng.choice(len(faces), SAMPLES, p=share / share.sum())
    weights = rng.dirichlet([1, 1, 1], SAMPLES)
    where = (vertices[faces[face]] * weights[..., None]).sum(1)
    density = sizes.at(where) ** -4.0 * size_of_face[face] ** 2
    features = np.c_[vertices, NORMALS * _vertex_normals(vertices, faces)]
    sample = (features[faces[face]] * weights[..., None]).sum(1)
    anchors = flat_surface(chart, faces).interpolation(lifted(fixed)) @ features
    beside = ~np.logical_or.reduce(
        [inside_polygon(fixed, 0.999 * c.chart + 0.001 * c.chart.mean(0)) for c in kept_free]
    )
    count = round(share.sum() / PER_HEXAGON - 0.6 * beside.sum())
    nearest_sample = cKDTree(sample)
    chosen = rng.choice(SAMPLES, count, replace=False)
    for _ in range(ROUNDS):
        owner = cKDTree(np.vstack([anchors, sample[chosen]])).query(sample)[1] - len(anchors)
        owned = owner >= 0
        mass = np.bincount(owner[owned], density[owned], count)
        centroid = sample[chosen]
        for axis in range(sample.shape[1]):
            moment = np.bincount(owner[owned], density[owned] * sample[owned, axis], count)
            centroid[mass > 0, axis] = moment[mass > 0] / mass[mass > 0]
        chosen = nearest_sample.query(centroid)[1]
    return np.asarray((chart[faces[face]] * weights[..., None]).sum(1)[chosen])


def _vertex_normals(vertices: Array, faces: Index) -> Array:
    """Unit means of the unit normals of the faces around each vertex."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    sums = np.zeros_like(vertices)
    np.add.at(sums, faces, normals[:, None])
    return np.asarray(sums / np.linalg.norm(sums, axis=1)[:, None])
