"""Which chart point, and so which point of the reference, each vertex of the finished skin stands for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..cage import Cage
from ..table import Array
from .outline_points import Curve
from .points import EYE, CagePoints


@dataclass(frozen=True)
class FineChart:
    """The left half of the finished skin in the chart."""

    places: Array
    """[half, 2]."""
    on_outline: NDArray[np.bool_]
    on_eye: NDArray[np.bool_]


def fine_chart(cage: Cage, points: CagePoints) -> FineChart:
    """Subdivide the cage's chart; middles of edges along a line stay on it, halfway along its length in space."""
    lengths = _lengths(points)
    lines = [frozenset(edge) for edge in points.edges().tolist()]
    places = np.full((len(cage.levels[0].mirror), 2), np.nan)
    places[: len(points.chart)] = points.chart
    along = set(lines)
    for level, edges in zip(cage.levels[:-1], cage.edges, strict=True):
        n = len(level.mirror)
        middles = (places[edges[:, 0]] + places[edges[:, 1]]) / 2
        halves = set()
        for number, (a, b) in enumerate(edges.tolist()):
            if frozenset((a, b)) not in along:
                continue
            for line in set(lengths[a]) & set(lengths[b]):
                middle = _middle(lengths[a][line], lengths[b][line], points.lines[line])
                lengths[n + number] = {line: middle}
                middles[number] = points.lines[line].at(np.array([middle]))[0]
                halves |= {frozenset((a, n + number)), frozenset((n + number, b))}
        along = halves
        places = np.vstack([places, middles])
    fine = cage.levels[-1].half.tolist()
    return FineChart(
        places[fine],
        np.array([vertex in lengths for vertex in fine]),
        np.array([EYE in lengths.get(vertex, {}) for vertex in fine]),
    )


def _lengths(points: CagePoints) -> dict[int, dict[int, float]]:
    """For each point on lines, how far along them it is; where lines meet, a point is on both."""
    lengths = {int(i): {int(points.outline[i]): float(points.place[i])} for i in np.flatnonzero(points.outline >= 0)}
    for number in range(3):
        lengths[int(points.on(number)[-1])][number + 1] = 0.0
    lengths[int(points.on(0)[0])][3] = points.lines[3].total
    for number, (begin, end) in points.ends.items():
        lengths[begin][number] = 0.0
        lengths[end][number] = points.lines[number].total
    return lengths


def _middle(a: float, b: float, curve: Curve) -> float:
    """Halfway between two lengths, the short way round."""
    if curve.closed and abs(a - b) > curve.total / 2:
        return ((a + b + curve.total) / 2) % curve.total
    return (a + b) / 2
