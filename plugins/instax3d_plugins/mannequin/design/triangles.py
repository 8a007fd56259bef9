"""Triangulates the cage's points: Delaunay in the chart, then flipped to fit the surface."""

import numpy as np
from scipy.spatial import Delaunay

from ..regions import inside_polygon
from ..table import Array, Index
from .chart import signed_areas

ROUNDS = 20
MARGIN = 0.05
"""Radians by which two opposite angles must exceed a half turn before their edge is flipped."""


def join(chart: Array, border: Index, hole: Index, points: Array, kept: Index) -> Index:
    """Triangles [f, 3] between a border and a hole, in a fixed order.

    Args:
        chart: [n, 2] the points in the plane.
        border: the outer outline's points in order.
        hole: those of the eye.
        points: [n, 3] the points in space.
        kept: [e, 2] edges that the triangles must have.
    """
    faces = Delaunay(chart).simplices.astype(np.int64)
    areas = signed_areas(chart, faces)
    faces[areas < 0] = faces[areas < 0][:, ::-1]
    middles = chart[faces].mean(1)
    inside = inside_polygon(middles, chart[border]) & ~inside_polygon(middles, chart[hole])
    faces = _in_order(faces[inside & (np.abs(areas) > 1e-9)])
    edges = {frozenset(edge) for edge in kept.tolist()}
    return _in_order(_flipped(_with_edges(faces, chart, edges), chart, points, edges))


def _with_edges(faces: Index, chart: Array, edges: set[frozenset[int]]) -> Index:
    """Flips edges that cross required ones until all of these exist."""
    triangles = faces.tolist()

    def turn(a: int, b: int, c: int) -> float:
        return float(signed_areas(chart, np.array([[a, b, c]]))[0])

    for _ in range(ROUNDS):
        owners = _owners(triangles)
        missing = [edge for edge in edges if edge not in owners]
        if not missing:
            return np.array(triangles)
        touched: set[int] = set()
        for p, q in (sorted(edge) for edge in missing):
            for edge, pair in owners.items():
                if len(pair) != 2 or touched & set(pair) or edge & {p, q}:
                    continue
                c, a, b, d = _diamond(triangles, edge, pair)
                if turn(p, q, a) * turn(p, q, b) >= 0 or turn(a, b, p) * turn(a, b, q) >= 0:
                    continue
                if min(turn(c, a, d), turn(c, d, b)) > 0:
                    triangles[pair[0]], triangles[pair[1]] = [c, a, d], [c, d, b]
                    touched |= set(pair)
    raise AssertionError(f"edges {missing} of lines cannot be inserted")


def _owners(triangles: list[list[int]]) -> dict[frozenset[int], list[int]]:
    """The triangles at each edge."""
    owners: dict[frozenset[int], list[int]] = {}
    for number, triangle in enumerate(triangles):
        for k in range(3):
            owners.setdefault(frozenset((triangle[k], triangle[k - 2])), []).append(number)
    return owners


def _diamond(triangles: list[list[int]], edge: frozenset[int], pair: list[int]) -> tuple[int, int, int, int]:
    """Corners c, a, b, d of two triangles: c, a, b is the first one, and d lies on the other side of a, b."""
    first, second = triangles[pair[0]], triangles[pair[1]]
    k = next(k for k in range(3) if first[k] not in edge)
    return first[k], first[k - 2], first[k - 1], next(corner for corner in second if corner not in edge)


def _flipped(faces: Index, chart: Array, points: Array, kept: set[frozenset[int]]) -> Index:
    """Flips edges until all are Delaunay in space, where that leaves the chart unfolded."""
    triangles = faces.tolist()

    def angle(a: int, b: int, c: int) -> float:
        u, w = points[b] - points[a], points[c] - points[a]
        return float(np.arccos(np.clip(u @ w / (np.linalg.norm(u) * np.linalg.norm(w) + 1e-12), -1, 1)))

    def area(a: int, b: int, c: int) -> float:
        return float(signed_areas(chart, np.array([[a, b, c]]))[0])

    for _ in range(ROUNDS):
        owners = _owners(triangles)
        touched: set[int] = set()
        for edge, pair in owners.items():
            if len(pair) != 2 or touched & set(pair) or edge in kept:
                continue
            c, a, b, d = _diamond(triangles, edge, pair)
            if frozenset((c, d)) in owners or angle(c, a, b) + angle(d, a, b) < np.pi + MARGIN:
                continue
            if min(area(c, a, d), area(c, d, b)) <= 1e-3 * abs(area(c, a, b)):
                continue
            triangles[pair[0]], triangles[pair[1]] = [c, a, d], [c, d, b]
            touched |= set(pair)
        if not touched:
            break
    return np.array(triangles)


def _in_order(faces: Index) -> Index:
    """Each triangle from its smallest corner, the triangles sorted."""
    faces = np.array([np.roll(face, -face.argmin()) for face in faces])
    return faces[np.lexsort(faces.T[::-1])]
