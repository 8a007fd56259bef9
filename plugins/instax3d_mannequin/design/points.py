"""Spreads the cage's points over the half head: evenly along the outlines, relaxed inside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..figures import Array, Index
from .half import Half
from .outline_points import Curve, Sizes
from .surface import face_areas, flat_surface, lifted

INSIDE = -1
"""Outline number of a point on none."""
EYE, MOUTH = 4, 1
"""Outline numbers: ridge, mouth, front, base, eye."""
LEAST_STEPS = (2, 8, 2, 5, 14)
"""Of each outline."""
NOSTRIL_POINTS = 7
SAMPLES = 120_000
ROUNDS = 60
PER_HEXAGON = 0.866
"""Area of a point's cell in squares of the edge length."""
NORMALS = 0.45
"""Centimetres that a unit of normal counts for when points are told apart: both sides of ear and lips stay separate."""


@dataclass(frozen=True)
class CagePoints:
    """The points of the half cage; those on outlines come first, outline by outline."""

    chart: Array
    """[n, 2]."""
    outline: Index
    """[n] outline number, or -1."""
    place: Array
    """[n] length along that outline, cm."""
    nostril: Index
    """Points around the nostril, in order."""

    @property
    def border(self) -> Index:
        """All points of the half's outer outline, in order."""
        return np.concatenate([self.on(number) for number in range(4)])

    def on(self, number: int) -> Index:
        """The points of an outline, without the end that belongs to the one before."""
        return np.flatnonzero(self.outline == number)

    @property
    def on_midline(self) -> NDArray[np.bool_]:
        """Which points lie on the plane of symmetry: ridge, front, and the middle of the lower lip between them."""
        mask = np.asarray((self.outline == 0) | (self.outline == 2))
        mask[self.on(MOUTH)[-1]] = True
        return mask


def spread_points(half: Half, chart: Array, rim: Index, sizes: Sizes, seed: int) -> CagePoints:
    """Points of the half cage, in the half's chart.

    Args:
        half: with a shallow nostril.
        chart: [n, 2] of its vertices.
        rim: of the nostril.
        sizes: wanted edge lengths.
        seed: of the relaxation's start.
    """
    placed, outline, places = [], [], []
    for number, line in enumerate(half.outlines.all()):
        curve = Curve.along(half.vertices, line, closed=number == EYE)
        place = curve.spaced(half.vertices, sizes, LEAST_STEPS[number])
        if 0 < number < EYE:
            place = place[1:]  # the shared end belongs to the outline before
        if number == EYE - 1:
            place = place[:-1]  # and the base's other end to the ridge
        placed.append(curve.at(chart, place))
        outline += [number] * len(place)
        places += list(place)
    round_nostril = Curve.along(half.vertices, rim, closed=True)
    around = np.linspace(0, round_nostril.total, NOSTRIL_POINTS + 1)[:-1]
    ring = round_nostril.at(chart, around)
    fixed = np.vstack([*placed, ring, ring.mean(0, keepdims=True)])
    inner = _relaxed(half, chart, fixed, sizes, seed)
    on_none = len(fixed) + len(inner) - len(outline)
    return CagePoints(
        np.vstack([fixed, inner]),
        np.r_[outline, [INSIDE] * on_none].astype(np.int64),
        np.r_[places, np.zeros(on_none)],
        len(outline) + np.arange(NOSTRIL_POINTS),
    )


def _relaxed(half: Half, chart: Array, fixed: Array, sizes: Sizes, seed: int) -> Array:
    """Chart points between the fixed ones: centroids of graded Voronoi cells on the surface (Lloyd's method)."""
    vertices, faces = half.vertices, half.faces
    rng = np.random.default_rng(seed)
    areas, size_of_face = face_areas(vertices, faces), sizes.at(vertices[faces].mean(1))
    share = areas * size_of_face**-2.0
    face = rng.choice(len(faces), SAMPLES, p=share / share.sum())
    weights = rng.dirichlet([1, 1, 1], SAMPLES)
    where = (vertices[faces[face]] * weights[..., None]).sum(1)
    density = sizes.at(where) ** -4.0 * size_of_face[face] ** 2
    features = np.c_[vertices, NORMALS * _vertex_normals(vertices, faces)]
    sample = (features[faces[face]] * weights[..., None]).sum(1)
    anchors = flat_surface(chart, faces).interpolation(lifted(fixed)) @ features
    count = round(share.sum() / PER_HEXAGON - 0.6 * len(fixed))
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
