"""Joins the cage's points to triangles: Delaunay's in the chart, then flipped to suit the surface."""

import numpy as np
from scipy.spatial import Delaunay

from ..figures import Array, Index
from ..regions import inside_polygon
from .chart import signed_areas

ROUNDS = 20
MARGIN = 0.05
"""Radians by which two opposite angles must exceed a half turn before their edge is flipped."""


def join(chart: Array, border: Index, hole: Index, points: Array) -> Index:
    """Triangles [f, 3] between a border and a hole, in a fixed order.

    Args:
        chart: [n, 2] the points in the plane.
        border: the outer outline's points in order.
        hole: those of the eye.
        points: [n, 3] the points in space.
    """
    faces = Delaunay(chart).simplices.astype(np.int64)
    areas = signed_areas(chart, faces)
    faces[areas < 0] = faces[areas < 0][:, ::-1]
    middles = chart[faces].mean(1)
    inside = inside_polygon(middles, chart[border]) & ~inside_polygon(middles, chart[hole])
    return _in_order(_flipped(_in_order(faces[inside & (np.abs(areas) > 1e-9)]), chart, points))


def _flipped(faces: Index, chart: Array, points: Array) -> Index:
    """Flips edges until all are Delaunay in space, where that leaves the chart unfolded."""
    triangles = faces.tolist()

    def angle(a: int, b: int, c: int) -> float:
        u, w = points[b] - points[a], points[c] - points[a]
        return float(np.arccos(np.clip(u @ w / (np.linalg.norm(u) * np.linalg.norm(w) + 1e-12), -1, 1)))

    def area(a: int, b: int, c: int) -> float:
        return float(signed_areas(chart, np.array([[a, b, c]]))[0])

    for _ in range(ROUNDS):
        owners: dict[frozenset[int], list[int]] = {}
        for number, triangle in enumerate(triangles):
            for k in range(3):
                owners.setdefault(frozenset((triangle[k], triangle[k - 2])), []).append(number)
        touched: set[int] = set()
        for edge, pair in owners.items():
            if len(pair) != 2 or touched & set(pair):
                continue
            first, second = triangles[pair[0]], triangles[pair[1]]
            k = next(k for k in range(3) if first[k] not in edge)
            c, a, b = first[k], first[k - 2], first[k - 1]
            d = next(corner for corner in second if corner not in edge)
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
