"""A symmetric control cage and its Loop subdivision (Loop, 1987), as sparse matrices."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .table import Array, Index


def edges_of(faces: Index) -> tuple[Index, Index, Index]:
    """Unique edges [e, 2], the edge of each side of a face [f, 3] and the number of faces at each edge [e].

    Side k of a face joins its corners k and k + 1.
    """
    sides = np.sort(np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, inverse, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    return edges, inverse.reshape(3, -1).T, count


def boundary_loops(faces: Index) -> list[Index]:
    """Boundary loops, each from its smallest vertex in the direction of its faces, in the order of these vertices."""
    directed = np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    have = {(a, b) for a, b in directed}
    following = {a: b for a, b in directed if (b, a) not in have}
    loops = []
    while following:
        start = min(following)
        loop, at = [start], following.pop(start)
        while at != start:
            loop.append(at)
            at = following.pop(at)
        loops.append(np.array(loop))
    return loops


def subdivide(faces: Index, points: int) -> tuple[sp.csr_matrix, Index, Index]:
    """One Loop step.

    Returns the matrix from the ``points`` old to the new vertices (the old ones first, then one per edge), the new
    faces and the edges. Boundary edges are creases (cubic B-splines), so that eyelids and lips keep smooth outlines.
    """
    edges, side, count = edges_of(faces)
    m, inner = len(edges), count == 2
    rows, columns, values = [], [], []

    def put(row: Index, column: Index, value: Array | float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(np.broadcast_to(value, row.shape))

    # new vertex of an edge: 3/8 of its ends and 1/8 of the opposite corners, or its middle on a boundary
    for end in range(2):
        put(points + np.arange(m), edges[:, end], np.where(inner, 3 / 8, 1 / 2))
    for corner in range(3):
        opposite = side[:, (corner + 1) % 3]
        two = inner[opposite]
        put(points + opposite[two], faces[two, corner], 1 / 8)
    # old vertex: Loop's weights by valence, or 1/8 3/4 1/8 along a boundary
    boundary = np.zeros(points, bool)
    boundary[edges[~inner]] = True
    valence = np.maximum(np.bincount(edges.ravel(), minlength=points), 1)
    beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / valence) / 4) ** 2) / valence
    everyone = np.arange(points)
    put(everyone, everyone, np.where(boundary, 3 / 4, 1 - valence * beta))
    for a, b in ((edges[:, 0], edges[:, 1]), (edges[:, 1], edges[:, 0])):
        smooth = ~boundary[a]
        put(a[smooth], b[smooth], beta[a[smooth]])
        put(a[~inner], b[~inner], 1 / 8)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    a, b, c = (points + side).T
    p, q, r = faces.T
    fine = np.vstack([np.c_[p, a, c], np.c_[q, b, a], np.c_[r, c, b], np.c_[a, b, c]])
    return sp.csr_matrix(entries, shape=(points + m, points)), fine, edges


@dataclass(frozen=True)
class Level:
    """One subdivision level of the whole, symmetric cage."""

    faces: Index
    mirror: Index
    """The partner of each vertex; itself on the midline."""
    half: Index
    """The vertices of the left half, midline included."""

    def whole(self, half_values: Array) -> Array:
        """Positions or symmetric displacements [half, 3] spread to all vertices."""
        values = np.zeros((len(self.mirror), 3))
        values[self.mirror[self.half]] = half_values * [-1, 1, 1]
        values[self.half] = half_values
        values[self.mirror == np.arange(len(self.mirror)), 0] = 0
        return values

    def whole_scalar(self, half_values: Array) -> Array:
        """Numbers [half] that are alike on both sides, spread to all vertices."""
        values = np.zeros(len(self.mirror))
        values[self.mirror[self.half]] = half_values
        values[self.half] = half_values
        return values


class Cage:
    """The cage at levels 0, 1 and 2 and the matrices between them."""

    def __init__(self, half_faces: Index, on_midline: NDArray[np.bool_], steps: int = 2) -> None:
        n = len(on_midline)
        partner = np.arange(n)
        partner[~on_midline] = n + np.arange((~on_midline).sum())
        mirror = np.r_[partner, np.flatnonzero(~on_midline)]
        faces = np.vstack([half_faces, partner[half_faces][:, ::-1]])
        self.levels = [Level(faces, mirror, np.arange(n))]
        self.steps: list[sp.csr_matrix] = []
        self.edges: list[Index] = []
        for _ in range(steps):
            level = self.levels[-1]
            n = len(level.mirror)
            step, faces, edges = subdivide(level.faces, n)
            left = np.zeros(n, bool)
            left[level.half] = True
            self.steps.append(step)
            self.edges.append(edges)
            self.levels.append(
                Level(
                    faces,
                    np.r_[level.mirror, n + _mirrored_edges(edges, level.mirror)],
                    np.r_[level.half, n + np.flatnonzero(left[edges].all(1))],
                )
            )

    def refine(self, values: Array, level: int) -> Array:
        """Control values of ``level`` (whole cage) subdivided to the finest level."""
        for step in self.steps[level:]:
            values = step @ values
        return values


def _mirrored_edges(edges: Index, mirror: Index) -> Index:
    """The number of each edge's mirror image."""
    key = edges @ np.array([len(mirror), 1])  # ``edges`` are in lexicographic order, so keys ascend
    return np.asarray(np.searchsorted(key, np.sort(mirror[edges], axis=1) @ np.array([len(mirror), 1])))
