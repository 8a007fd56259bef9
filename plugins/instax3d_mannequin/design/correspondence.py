"""Which chart point, and so which point of the reference, each vertex of the finished skin stands for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cage import Cage, edges_of
from ..figures import Array
from .half import Half
from .outline_points import Curve
from .points import EYE, CagePoints


@dataclass(frozen=True)
class FineChart:
    """The left half of the finished skin in the chart."""

    places: Array
    """[half, 2]."""
    on_outline: NDArray[np.bool_]
    on_eye: NDArray[np.bool_]


def fine_chart(cage: Cage, points: CagePoints, half: Half, chart: Array) -> FineChart:
    """Subdivide the cage's chart; middles of outline edges stay on their outline, halfway along its length in space."""
    curves = [Curve.along(half.vertices, line, closed=number == EYE) for number, line in enumerate(half.outlines.all())]
    lengths = _lengths(points, curves)
    places = np.full((len(cage.levels[0].mirror), 2), np.nan)
    places[: len(points.chart)] = points.chart
    for level, edges in zip(cage.levels[:-1], cage.edges, strict=True):
        n = len(level.mirror)
        middles = (places[edges[:, 0]] + places[edges[:, 1]]) / 2
        on_border = edges_of(level.faces)[2] == 1
        on_midline = (level.mirror[edges] == edges).all(1)
        for edge in np.flatnonzero(on_border | on_midline):
            a, b = lengths.get(int(edges[edge, 0]), {}), lengths.get(int(edges[edge, 1]), {})
            for number in set(a) & set(b):
                middle = _middle(a[number], b[number], curves[number])
                lengths[n + int(edge)] = {number: middle}
                middles[edge] = curves[number].at(chart, np.array([middle]))[0]
        places = np.vstack([places, middles])
    fine = cage.levels[-1].half.tolist()
    return FineChart(
        places[fine],
        np.array([vertex in lengths for vertex in fine]),
        np.array([EYE in lengths.get(vertex, {}) for vertex in fine]),
    )


def _lengths(points: CagePoints, curves: list[Curve]) -> dict[int, dict[int, float]]:
    """For each point on outlines, how far along them it is; where outlines meet, a point is on both."""
    lengths = {int(i): {int(points.outline[i]): float(points.place[i])} for i in np.flatnonzero(points.outline >= 0)}
    for number in range(3):
        lengths[int(points.on(number)[-1])][number + 1] = 0.0
    lengths[int(points.on(0)[0])][3] = curves[3].total
    return lengths


def _middle(a: float, b: float, curve: Curve) -> float:
    """Halfway between two lengths, the short way round."""
    if curve.closed and abs(a - b) > curve.total / 2:
        return ((a + b + curve.total) / 2) % curve.total
    return (a + b) / 2
