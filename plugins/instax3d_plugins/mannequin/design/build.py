"""The steps in order, from the reference to the table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..cage import Cage
from ..regions import inside_ring
from ..table import BARYCENTRIC, CHART, METERS, SHAPE, WEIGHT, Array
from .chart import flatten
from .correspondence import fine_chart
from .detail import fitted_detail
from .half import Half, left_half, without_linings
from .joints import HINGE, eyeball, jaw_weights
from .measure import all_expressions, brows_lowered, fit_neutral
from .nostril import close_nostril
from .outline_points import Feature, Sizes
from .points import EYE, spread_points
from .reference import Reference
from .rings import Rings, make_rings
from .shapes import principal_shapes
from .surface import ClosestPointMesh, flat_surface, lifted
from .triangles import join

EYE_DISTANCE = 6.3
"""Centimeters between the eyes' centers, to which everything is scaled: the mean of adults (Dodgson, 2004)."""
SHAPES = 60
OPENING = 0.6
"""Of jawOpen, while the chart is made, so that the lips lie apart in it."""
EDGE_SCALE = 1.6
"""Factor on all edge lengths below; it sets the number of points."""
SEED = 2
"""Of eight starts of the relaxation, the one whose neutral has no self-intersections."""
NECK_JOINT = (0.0, -8.0, -1.5)
"""Centimeters; between the collar bones and the nape."""

Arrays = dict[str, NDArray[np.generic]]


def build(folder: Path) -> Arrays:
    """Measure all arrays of the table on the ICT-FaceKit in a folder."""
    reference = Reference.load(folder)
    half = left_half(reference.skin, without_linings(reference.skin, reference.faces))
    half, rim = close_nostril(half, flatten(half, folds=3, fans_may_fold=False))
    chart = flatten(_mouth_open(half, reference), folds=6, fans_may_fold=True)

    rings = make_rings(half, chart, rim)
    points = spread_points(half, chart, rings, _sizes(half, reference, rings), SEED)
    points = replace(points, chart=points.chart.round(3))
    on_surface = flat_surface(chart, half.faces).interpolation(lifted(points.chart)) @ half.vertices
    faces = join(points.chart, points.border, points.on(EYE), on_surface, points.edges())
    cage = Cage(faces, points.on_midline)

    eye_ring, lips = points.along(EYE + len(rings.eye)), points.along(EYE + len(rings.eye) + len(rings.mouth))
    nostril = points.on(len(points.lines) - 1)
    skin = fit_neutral(cage, fine_chart(cage, points), half, chart)
    eye = eyeball(reference)
    scale = EYE_DISTANCE / (2 * eye.center[0]) / 100 / METERS
    skin = replace(skin, controls=np.round(skin.controls * scale) / scale, count=1 / scale)
    finished = replace(
        skin,
        detail=fitted_detail(
            skin, half, *(inside_ring(ring, points.chart, cage) for ring in (nostril, lips, eye_ring))
        ),
    )
    shape, shape_eye = principal_shapes(finished, reference, half, SHAPES)
    moves = all_expressions(skin, reference, half)
    corners, weights = ClosestPointMesh(finished.vertices, cage.levels[-1].faces).barycentric(
        brows_lowered(reference.landmarks)
    )

    kept = [np.flatnonzero(move.any(1)) for move in moves.values()]
    return {
        "faces": faces.astype(np.int16),
        "chart": _counts(points.chart / CHART, np.int32),
        "midline": np.flatnonzero(points.on_midline).astype(np.int16),
        "lips": lips.astype(np.int16),
        "eye": eye_ring.astype(np.int16),
        "nostril": nostril.astype(np.int16),
        "ear": _counts(_ear(half, chart) / CHART),
        "cage": _counts(skin.controls * scale),
        "detail": _counts(finished.detail * scale),
        "shape": _counts(shape * scale * METERS / SHAPE),
        "shape_eye": _counts(shape_eye * scale * METERS / SHAPE),
        "expr_names": np.array(list(moves)),
        "expr_start": np.cumsum([0, *map(len, kept)]).astype(np.int32),
        "expr_points": np.concatenate(kept).astype(np.int16),
        "expr_moves": _counts(np.vstack([move[k] for move, k in zip(moves.values(), kept, strict=True)]) * scale),
        "eye_center": _counts(eye.center * scale),
        "eye_radius": _counts(eye.radius * scale),
        "joints": _counts(np.array([NECK_JOINT, HINGE]) * scale),
        "jaw_weight": _counts(jaw_weights(skin, reference, half) / WEIGHT),
        "landmarks": np.c_[corners, np.round(weights / BARYCENTRIC)].astype(np.int16),
    }


def _counts(values: Array | float, kind: type[np.signedinteger] = np.int16) -> NDArray[np.generic]:
    return np.asarray(np.round(values)).astype(kind)


def _mouth_open(half: Half, reference: Reference) -> Half:
    moves = reference.expression("jawOpen")[half.ids]
    moves[np.abs(half.vertices[:, 0]) < 1e-3, 0] = 0
    return replace(half, vertices=half.vertices + OPENING * moves)


def _sizes(half: Half, reference: Reference, rings: Rings) -> Sizes:
    """Fine at eyes, lips and nostrils, middling at nose, ears and the landmarks of the face."""
    skin, landmarks = half.vertices, reference.landmarks

    def left(begin: int, end: int) -> Array:
        chosen = landmarks[begin:end]
        return chosen[chosen[:, 0] > -0.01]

    near_ear = (skin[:, 0] > 7.35) & (np.abs(skin[:, 2] - 0.5) < 3.2) & (skin[:, 1] > -2.5) & (skin[:, 1] < 6)
    features = (
        Feature(skin[half.outlines.eye], 0.56, 0.5),
        Feature(skin[half.outlines.mouth], 0.55, 0.5),
        Feature(left(48, 60), 0.62, 0.5),
        Feature(left(27, 31), 0.95, 0.4),
        Feature(left(31, 36), 0.58, 0.4),
        Feature(rings.nostril.space.mean(0, keepdims=True), 0.52, 0.35),
        Feature(rings.eye[-1].space, 0.5, 0.4),
        Feature(rings.mouth[-1].space, 0.5, 0.45),
        Feature(landmarks[54:55], 0.42, 0.45),
        Feature(landmarks[42:43], 0.42, 0.45),
        Feature(landmarks[45:46], 0.45, 0.45),
        Feature(left(0, 27), 1.6, 0.35),
        Feature(skin[near_ear], 0.8, 0.55),
    )
    return Sizes(features, EDGE_SCALE)


def _ear(half: Half, chart: Array) -> Array:
    """[5] center and covariance of the outer ear in the chart: u, v, uu, uv, vv."""
    x, y, z = half.vertices.T
    outer = chart[(x > 7.9) & (y > -2.3) & (y < 5) & (np.abs(z - 0.4) < 3)]
    covariance = np.cov(outer.T)
    return np.asarray(np.r_[outer.mean(0), covariance[0, 0], covariance[0, 1], covariance[1, 1]])
