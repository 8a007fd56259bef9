"""Triangles of a mesh that cross each other, exact up to rounding."""

from typing import no_type_check

import numpy as np
from numba import njit

from .table import Array, Index


def crossing_pairs(vertices: Array, faces: Index) -> Index:
    """Pairs [n, 2] of triangles that cross: an edge of one passes through the inside of the other.

    Triangles that share a vertex count as well, by their edges away from it; those that share an edge cannot cross
    unless they are coplanar, which is not tested.

    Args:
        vertices: [v, 3].
        faces: [f, 3].
    """
    corners = np.asarray(vertices, np.float64)[faces]
    low, high = corners.min(1), corners.max(1)
    axis = int((low.max(0) - low.min(0)).argmax())
    order = np.argsort(low[:, axis], kind="stable")
    pairs: Index = _sweep(corners, np.asarray(faces, np.int64), low, high, order, axis)
    return pairs[np.lexsort(pairs.T[::-1])]


@njit(cache=True)
@no_type_check
def _sweep(corners, faces, low, high, order, axis):
    """Sort and sweep: boxes that overlap along one axis, then in all, then the triangles themselves."""
    found = []
    for place in range(len(order)):
        one = order[place]
        for later in range(place + 1, len(order)):
            two = order[later]
            if low[two, axis] > high[one, axis]:
                break
            apart = False
            for k in range(3):
                if low[two, k] > high[one, k] or low[one, k] > high[two, k]:
                    apart = True
            if not apart and crosses(corners, faces, one, two):
                found.append((min(one, two), max(one, two)))
    pairs = np.empty((len(found), 2), np.int64)
    for row, (one, two) in enumerate(found):
        pairs[row, 0], pairs[row, 1] = one, two
    return pairs


@njit(cache=True)
@no_type_check
def crosses(corners, faces, one, two):
    """Do two triangles cross? ``corners`` [f, 3, 3] and ``faces`` [f, 3] of all, and the numbers of the two."""
    shared = 0
    for k in range(3):
        for m in range(3):
            shared += faces[one, k] == faces[two, m]
    if shared > 1:
        return False
    for first, second in ((one, two), (two, one)):
        for k in range(3):
            a, b = faces[first, k], faces[first, (k + 1) % 3]
            touches = False
            for m in range(3):
                touches |= faces[second, m] == a or faces[second, m] == b
            if not touches and _pierces(corners[first, k], corners[first, (k + 1) % 3], corners[second]):
                return True
    return False


@njit(cache=True)
@no_type_check
def _pierces(begin, end, triangle):
    """Does the segment pass through the triangle? (Möller and Trumbore, 1997)"""
    a, b, c = triangle[0], triangle[1], triangle[2]
    along, ab, ac, start = end - begin, b - a, c - a, begin - a
    p = np.cross(along, ac)
    determinant = (ab * p).sum()
    if determinant == 0.0:
        return False
    u = (start * p).sum() / determinant
    if u < 0 or u > 1:
        return False
    q = np.cross(start, ab)
    v = (along * q).sum() / determinant
    if v < 0 or u + v > 1:
        return False
    t = (ac * q).sum() / determinant
    return t >= 0 and t <= 1
