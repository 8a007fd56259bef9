"""Where moving skin first touches itself, as linear functions of the skin's vertices."""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import scipy.sparse as sp
from numba import njit

from ..crossings import crosses, crossing_pairs
from ..table import Array, Index

TOLERANCE = 1e-3
"""Centimeters that a solved contact may miss."""
STEPS = 32
"""Number of samples of the motion from one state to another."""


@dataclass(frozen=True)
class Contacts:
    """Rows that say how far apart two places of the skin are along a fixed direction."""

    places: sp.csr_matrix
    """[rows, skin] what is subtracted from what."""
    normals: Array
    """[rows, 3] unit directions."""
    least: Array
    """[rows] their minimum distance."""

    @classmethod
    def none(cls, skin: int) -> "Contacts":
        """No rows, for a skin of so many vertices."""
        return cls(sp.csr_matrix((0, skin)), np.zeros((0, 3)), np.zeros(0))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.least)

    def and_also(self, other: "Contacts") -> "Contacts":
        """The rows of both."""
        return Contacts(
            sp.vstack([self.places, other.places]).tocsr(),
            np.vstack([self.normals, other.normals]),
            np.r_[self.least, other.least],
        )

    def closer(self, skin: Array) -> "Contacts":
        """The rows whose places are closer than their minimum distance in a skin [n, 3]."""
        rows = np.flatnonzero(self.apart(skin) < self.least - TOLERANCE)
        return Contacts(self.places[rows], self.normals[rows], self.least[rows])

    def distinct(self) -> "Contacts":
        """The rows without those that stand for the same place and direction as an earlier one, roughly."""
        ends = [np.asarray(self.places.argmax(1)).ravel(), np.asarray(self.places.argmin(1)).ravel()]
        key = np.c_[ends[0], ends[1], np.round(4 * self.normals)]
        first = np.sort(np.unique(key, axis=0, return_index=True)[1])
        return Contacts(self.places[first], self.normals[first], self.least[first])

    def apart(self, skin: Array) -> Array:
        """[rows] how far apart they are."""
        return np.asarray(((self.places @ skin) * self.normals).sum(1))


def self_contacts(before: Array, after: Array, faces: Index, least: float) -> Contacts:
    """The closest places of the pairs of triangles that cross ``after``, when they were last apart.

    Args:
        before: [n, 3] a state in which nothing crosses; pairs that cross there already are left out.
        after: [n, 3] the state that it moves to, each vertex along a straight line.
        faces: [f, 3].
        least: minimum distance of the places.
    """
    pairs = crossing_pairs(after, faces)
    rows, weights, normals = _last_apart(before, after, faces, pairs, STEPS)
    places = sp.csr_matrix(
        (weights.ravel(), (np.repeat(np.arange(len(rows)), 6), rows.ravel())), (len(rows), len(before))
    )
    return Contacts(places, normals, np.full(len(rows), least))


@njit(cache=True)
@no_type_check
def _last_apart(before, after, faces, pairs, steps):
    rows = np.empty((len(pairs), 6), np.int64)
    weights = np.empty((len(pairs), 6))
    normals = np.empty((len(pairs), 3))
    count = 0
    two = np.empty((2, 3, 3))
    for pair in pairs:
        last = -1
        for step in range(steps):
            share = step / steps
            for side in range(2):
                for k in range(3):
                    vertex = faces[pair[side], k]
                    two[side, k] = (1 - share) * before[vertex] + share * after[vertex]
            if crosses(two, faces[pair], 0, 1):
                break
            distance, one_weights, two_weights = _closest(two, faces[pair])
            if distance > 1e-9:
                last = step
                apart = np.zeros(3)
                for k in range(3):
                    rows[count, k], rows[count, 3 + k] = faces[pair[0], k], faces[pair[1], k]
                    weights[count, k], weights[count, 3 + k] = one_weights[k], -two_weights[k]
                    apart += one_weights[k] * two[0, k] - two_weights[k] * two[1, k]
                normals[count] = apart / distance
        if last >= 0:
            count += 1
    return rows[:count], weights[:count], normals[:count]


@njit(cache=True)
@no_type_check
def _closest(two, faces):
    """Distance of two triangles that do not cross, and the closest points' weights; corners they share left out."""
    best = np.inf
    found = np.zeros((2, 3))
    for side in range(2):
        one, other = two[side], two[1 - side]
        for k in range(3):
            if _among(faces[side, k], faces[1 - side]):
                continue
            square, weights = _closest_on_triangle(one[k], other)
            if square < best:
                best = square
                found[:] = 0
                found[side, k] = 1
                found[1 - side] = weights
    for k in range(3):
        for m in range(3):
            next_k, next_m = (k + 1) % 3, (m + 1) % 3
            ends = faces[1, np.array([m, next_m])]
            if _among(faces[0, k], ends) or _among(faces[0, next_k], ends):
                continue
            square, s, t = _closest_on_edges(two[0, k], two[0, next_k], two[1, m], two[1, next_m])
            if square < best:
                best = square
                found[:] = 0
                found[0, k], found[0, next_k] = 1 - s, s
                found[1, m], found[1, next_m] = 1 - t, t
    return np.sqrt(best), found[0], found[1]


@njit(cache=True)
@no_type_check
def _among(vertex, vertices):
    found = False
    for other in vertices:
        found |= vertex == other
    return found


@njit(cache=True)
@no_type_check
def _closest_on_triangle(point, triangle):
    """Square of the distance and weights of the closest point, if that lies inside; else infinity."""
    a, b, c = triangle[0], triangle[1], triangle[2]
    ab, ac, ap = b - a, c - a, point - a
    d00, d01, d11 = (ab * ab).sum(), (ab * ac).sum(), (ac * ac).sum()
    d20, d21 = (ap * ab).sum(), (ap * ac).sum()
    area = d00 * d11 - d01 * d01
    weights = np.zeros(3)
    if area <= 1e-18:
        return np.inf, weights
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    if v < 0 or w < 0 or v + w > 1:
        return np.inf, weights
    weights[0], weights[1], weights[2] = 1 - v - w, v, w
    return ((ap - v * ab - w * ac) ** 2).sum(), weights


@njit(cache=True)
@no_type_check
def _closest_on_edges(a, b, c, d):
    """Square of the distance of two segments and how far along them it is taken."""
    u, v, w = b - a, d - c, a - c
    uu, uv, vv, uw, vw = (u * u).sum(), (u * v).sum(), (v * v).sum(), (u * w).sum(), (v * w).sum()
    area = uu * vv - uv * uv
    s = 0.0 if area < 1e-14 * uu * vv else min(max((uv * vw - vv * uw) / area, 0.0), 1.0)
    t = (uv * s + vw) / vv
    if t < 0 or t > 1:
        t = min(max(t, 0.0), 1.0)
        s = min(max((uv * t - uw) / uu, 0.0), 1.0)
    return ((w + s * u - t * v) ** 2).sum(), s, t
