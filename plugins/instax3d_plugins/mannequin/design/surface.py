"""Points on triangle meshes: the closest ones, and their barycentric weights."""

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree
from trimesh.triangles import closest_point, points_to_barycentric

from ..table import Array, Index

CANDIDATES = 30
"""Faces, by the distance of their centers, among which the closest one is searched."""


class ClosestPointMesh:
    """A mesh that finds its closest points."""

    def __init__(self, vertices: Array, faces: Index) -> None:
        self.faces, self.count = faces, len(vertices)
        self._triangles = vertices[faces]
        self._centers = cKDTree(self._triangles.mean(1))

    def closest(self, points: Array) -> tuple[Array, Array, Index]:
        """The closest points [n, 3], their distances and their faces."""
        candidates = self._centers.query(points, min(CANDIDATES, len(self.faces)))[1]
        best = np.full(len(points), np.inf)
        nearest, face = np.zeros_like(points), np.zeros(len(points), np.int64)
        for candidate in candidates.T:
            on_face = closest_point(self._triangles[candidate], points)
            square = ((on_face - points) ** 2).sum(1)
            closer = square < best
            best[closer], nearest[closer], face[closer] = square[closer], on_face[closer], candidate[closer]
        return nearest, np.sqrt(best), face

    def normals(self, points: Array) -> Array:
        """Unit normals [n, 3] of the faces that carry the closest points."""
        triangles = self._triangles[self.closest(points)[2]]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))

    def barycentric(self, points: Array) -> tuple[Index, Array]:
        """The triangles [n, 3] that carry the closest points, and barycentric weights there."""
        nearest, _, face = self.closest(points)
        return self.faces[face], np.asarray(points_to_barycentric(self._triangles[face], nearest))

    def interpolation(self, points: Array) -> sp.csr_matrix:
        """[n, vertices] matrix that interpolates vertex values at the closest points."""
        corners, weights = self.barycentric(points)
        rows = np.repeat(np.arange(len(points)), 3)
        return sp.csr_matrix((weights.ravel(), (rows, corners.ravel())), shape=(len(points), self.count))


def flat_surface(chart: Array, faces: Index) -> ClosestPointMesh:
    """A chart [n, 2] as a surface; ask it with `lifted` points."""
    return ClosestPointMesh(lifted(chart), faces)


def lifted(points: Array) -> Array:
    """Points of the plane [n, 2] in space."""
    return np.asarray(np.c_[points, np.zeros(len(points))])


def face_areas(vertices: Array, faces: Index) -> Array:
    """[f]."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)


def vertex_normals(vertices: Array, faces: Index) -> Array:
    """[n, 3] unit normals, each the mean of those of the faces around, by area."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    sums = np.zeros_like(vertices)
    np.add.at(sums, faces, np.cross(b - a, c - a)[:, None])
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12))


def uniform_laplacian(edges: Index, count: int) -> sp.csr_matrix:
    """Each vertex minus the mean of its neighbors."""
    ends = (np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]])
    adjacency = sp.csr_matrix((np.ones(2 * len(edges)), ends), shape=(count, count))
    degree = np.asarray(adjacency.sum(1)).ravel()
    return (sp.eye(count) - sp.diags(1 / degree) @ adjacency).tocsr()
