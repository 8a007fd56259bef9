"""Lays the half head flat: a conformal map, evened out until it is nearly rigid, and untangled."""

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl

from ..table import Array, Index
from .half import Half

HEIGHT = 42.0
"""Chart units from the front's lower end to the crown, which fixes the conformal map's scale."""
COTANGENTS = (0.05, 5.0)
"""Bounds of the rigid rounds' weights; negative ones would fold the chart."""
LEAST_STEP = 0.02


def signed_areas(chart: Array, faces: Index) -> Array:
    """Twice the signed area of each triangle; negative where the chart is folded."""
    a, b, c = chart[faces[:, 0]], chart[faces[:, 1]], chart[faces[:, 2]]
    return np.asarray((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))


class Flattening:
    """The half with its holes at eye and mouth filled by fans, and each of its triangles laid in the plane."""

    def __init__(self, half: Half) -> None:
        outlines = half.outlines
        n = len(half.vertices)
        eye, mouth = outlines.eye, outlines.mouth
        middles = np.stack([half.vertices[eye].mean(0), half.vertices[mouth].mean(0)])
        vertices = np.vstack([half.vertices, middles])
        fan_of_eye = np.c_[np.roll(eye, -1), eye, np.full(len(eye), n)]
        fan_of_mouth = np.c_[np.roll(mouth, -1), mouth, np.full(len(mouth), n + 1)]
        fan_of_mouth[-1, :2] = mouth[0], mouth[-1]
        self.real_faces, self.eye_fan = len(half.faces), len(eye)
        self.faces = np.vstack([half.faces, fan_of_eye, fan_of_mouth])
        self.count = len(vertices)
        top = int(half.vertices[outlines.ridge, 1].argmax())
        self.straight = np.r_[outlines.ridge[top:], outlines.front]
        """The midline from the crown to the base, which becomes the line u = 0."""
        self.lowest, self.crown = int(outlines.front[-1]), int(outlines.ridge[top])
        self.edge = np.unique(np.r_[outlines.ridge, outlines.front, outlines.base, mouth[[0, -1]]])
        self.flat = _in_plane(vertices, self.faces)
        opposite = np.roll(self.flat, -2, 1) - np.roll(self.flat, -1, 1)
        self.opposite = opposite
        """[f, 3, 2] the side opposite to each corner."""
        self.areas = np.abs(opposite[:, 0, 0] * opposite[:, 1, 1] - opposite[:, 0, 1] * opposite[:, 1, 0])

    def conformal(self) -> Array:
        """Least-squares conformal map (Lévy et al., 2002) with the straight midline at u = 0; the rest is free."""
        m, n = len(self.faces), self.count
        scaled = self.opposite / np.sqrt(self.areas)[:, None, None]
        where = (np.repeat(np.arange(m), 3), self.faces.ravel())
        real, imaginary = (sp.csr_matrix((scaled[..., k].ravel(), where), shape=(m, n)) for k in range(2))
        system = sp.vstack([sp.hstack([real, -imaginary]), sp.hstack([imaginary, real])]).tocsr()
        fixed = np.r_[self.straight, n + self.lowest, n + self.crown]
        values = np.r_[np.zeros(len(self.straight)), 0.0, HEIGHT]
        free = np.setdiff1d(np.arange(2 * n), fixed)
        normal = (system.T @ system).tocsr()
        solution = np.zeros(2 * n)
        solution[fixed] = values
        solution[free] = spl.spsolve(normal[free][:, free].tocsc(), -(normal[free][:, fixed] @ values))
        return solution.reshape(2, n).T

    def rigid_rounds(self, chart: Array, *, rounds: int, folds: int, fans_may_fold: bool) -> Array:
        """As-rigid-as-possible rounds (Liu et al., 2008), each shortened until at most ``folds`` triangles fold."""
        opposite, faces = self.opposite, self.faces
        dots = (np.roll(opposite, -1, 1) * np.roll(opposite, -2, 1)).sum(2)
        cotangents = np.clip(-dots / self.areas[:, None], *COTANGENTS)
        laplacian = _laplacian(faces, cotangents, self.count)
        free = [np.setdiff1d(np.arange(self.count), self.straight), np.setdiff1d(np.arange(self.count), self.lowest)]
        solvers = [spl.splu(laplacian[axis][:, axis].tocsc()) for axis in free]
        for _ in range(rounds):
            rotations = self._rotations(chart, cotangents)
            right = np.zeros((self.count, 2))
            for corner in range(3):
                a, b = (corner + 1) % 3, (corner + 2) % 3
                sides = self.flat[:, a] - self.flat[:, b]
                pull = cotangents[:, corner, None] * np.einsum("nij,nj->ni", rotations, sides)
                np.add.at(right, faces[:, a], pull)
                np.add.at(right, faces[:, b], -pull)
            target = np.zeros((self.count, 2))
            for axis in range(2):
                target[free[axis], axis] = solvers[axis].solve(right[free[axis], axis])
            unfolded = signed_areas(chart, faces) > 0
            if fans_may_fold:
                unfolded[self.real_faces + self.eye_fan :] = False
            step = 1.0
            while step > LEAST_STEP:
                folded = signed_areas(chart + step * (target - chart), faces)[unfolded] <= 0
                if folded.sum() <= folds:
                    break
                step *= 0.7
            else:
                break
            chart = chart + step * (target - chart)
        return chart

    def untangled(self, chart: Array, rounds: int = 14) -> Array:
        """Evens out the surroundings of folded triangles, wider in each round, until none is left."""
        chart = chart.copy()
        neighbors = (_laplacian(self.faces, np.ones((len(self.faces), 3)), self.count) != 0).astype(float)
        laplacian = (sp.diags(np.asarray(neighbors.sum(1)).ravel()) - neighbors).tocsr()
        movable = np.ones(self.count, bool)
        movable[self.edge] = False
        for number in range(rounds):
            bad = signed_areas(chart, self.faces) <= 1e-3 * self.areas
            if not bad.any():
                break
            region = np.zeros(self.count, bool)
            region[self.faces[bad]] = True
            for _ in range(1 + number // 2):
                region = (neighbors @ region) > 0
            free, fixed = np.flatnonzero(region & movable), np.flatnonzero(~(region & movable))
            right = -(laplacian[free][:, fixed] @ chart[fixed])
            chart[free] = spl.spsolve(laplacian[free][:, free].tocsc(), right).reshape(-1, 2)
        return chart

    def _rotations(self, chart: Array, cotangents: Array) -> Array:
        """[f, 2, 2] the rotation closest to each triangle's map from the plane to the chart."""
        corners = chart[self.faces]
        covariance = np.zeros((len(self.faces), 2, 2))
        for corner in range(3):
            a, b = (corner + 1) % 3, (corner + 2) % 3
            here, there = corners[:, a] - corners[:, b], self.flat[:, a] - self.flat[:, b]
            covariance += cotangents[:, corner, None, None] * here[:, :, None] * there[:, None, :]
        u, _, vt = np.linalg.svd(covariance)
        u[:, :, 1] *= np.linalg.det(u @ vt)[:, None]
        return np.asarray(u @ vt)


def flatten(half: Half, *, folds: int, fans_may_fold: bool) -> Array:
    """[n, 2] the chart of a half's vertices.

    Args:
        half: with its midline at x = 0.
        folds: how many triangles a round may fold; they are untangled at the end.
        fans_may_fold: leave the triangles that fill eye and mouth out of that count.
    """
    sheet = Flattening(half)
    chart = sheet.rigid_rounds(sheet.conformal(), rounds=40, folds=folds, fans_may_fold=fans_may_fold)
    return sheet.untangled(chart)[: len(half.vertices)]


def _in_plane(vertices: Array, faces: Index) -> Array:
    """[f, 3, 2] each triangle laid in the plane, its first side along x."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    length = np.linalg.norm(b - a, axis=1)
    x = (b - a) / length[:, None]
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    flat = np.zeros((len(faces), 3, 2))
    flat[:, 1, 0] = length
    flat[:, 2, 0] = ((c - a) * x).sum(1)
    flat[:, 2, 1] = ((c - a) * np.cross(normal, x)).sum(1)
    return flat


def _laplacian(faces: Index, weights: Array, count: int) -> sp.csr_matrix:
    """Graph Laplacian whose edge weights are sums of the opposite corners' weights [f, 3]."""
    i, j = np.roll(faces, -1, 1).T.ravel(), np.roll(faces, -2, 1).T.ravel()
    w = weights.T.ravel()
    adjacency = sp.csr_matrix((np.r_[w, w], (np.r_[i, j], np.r_[j, i])), shape=(count, count))
    return (sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()
