"""Exact closest points on triangle meshes and point clouds."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree

from instax3d.types import TrueSurface

from .cameras import orbit
from .mesh_raster import project, rasterize

_AZIMUTHS, _ELEVATIONS = tuple(30.0 * k for k in range(12)), (0.0, 35.0, 70.0)
"""Degrees from which a surface is looked at."""
_SIDE = 512
"""Side of the depth images that tell what is visible, pixels."""
_SLACK = 0.01
"""Radii that a point may lie under what a camera sees: pixels of slanting surfaces differ by as much."""
_CHUNK = 20_000
"""Points at a time."""
_FIRST, _GROWTH = 4, 4
"""Nearest triangles of a size class that are tried first, and the factor by which more are tried while one might be
closer."""


class ProximityQuery:
    """Finds the exact closest points on a triangle mesh, or on a point cloud.

    Args:
        vertices: any units; results have the same.
        faces: None for a point cloud.
    """

    def __init__(self, vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"] | None = None) -> None:
        self.vertices = np.asarray(vertices, np.float64)
        self.faces = None if faces is None else np.asarray(faces, np.int64)
        if self.faces is None:
            self._points = cKDTree(self.vertices)
            return
        self._corners = self.vertices[self.faces]
        centers = self._corners.mean(1)
        self._centers = cKDTree(centers)
        radii = self._radii = np.linalg.norm(self._corners - centers[:, None], axis=2).max(1)
        # A triangle is never nearer than its center by more than its radius. Triangles of similar size are searched
        # together, so that a few large ones do not make all others candidates.
        sizes = np.floor(np.log2(np.maximum(radii, 1e-12)))
        self._size_classes = []
        for size in np.unique(sizes):
            members = np.flatnonzero(sizes == size)
            self._size_classes.append((members, cKDTree(centers[members]), float(radii[members].max())))

    @classmethod
    def of(cls, surface: TrueSurface) -> "ProximityQuery":
        """For a capture's surface."""
        return cls(surface.vertices.double().numpy(), None if surface.faces is None else surface.faces.numpy())

    def closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n"], Int[ndarray, "n"]]:
        """The closest points of the surface, their distances, and the faces (of a cloud: the points) that hold them."""
        points = np.asarray(points, np.float64)
        if self.faces is None:
            distance, index = self._points.query(points)
            return self.vertices[index], distance, index
        parts = [self._closest(points[start : start + _CHUNK]) for start in range(0, len(points), _CHUNK)]
        if not parts:
            return points, np.zeros(0), np.zeros(0, np.int64)
        closest, distance, face = (np.concatenate(part) for part in zip(*parts))
        return closest, distance, face

    def _closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n"], Int[ndarray, "n"]]:
        face = self._centers.query(points)[1]
        closest, best = _on_triangles(points, self._corners[face])
        for members, tree, largest in self._size_classes:
            rows, done, count = np.arange(len(points)), 0, min(_FIRST, len(members))
            while len(rows) and done < count:
                away, nearest = (part.reshape(len(rows), count) for part in tree.query(points[rows], count))
                # a triangle may be closer only if it is when its farthest corner points straight here
                open_ = away[:, done] - largest < best[rows]
                rows, away, candidates = rows[open_], away[open_, done:], members[nearest[open_, done:]]
                self._improve(points, rows, away, candidates, closest, best, face)
                done, count = count, min(_GROWTH * count, len(members))
        return closest, best, face

    def _improve(
        self,
        points: Float[ndarray, "n 3"],
        rows: Int[ndarray, "r"],
        away: Float[ndarray, "r k"],
        candidates: Int[ndarray, "r k"],
        closest: Float[ndarray, "n 3"],
        best: Float[ndarray, "n"],
        face: Int[ndarray, "n"],
    ) -> None:
        """Take a candidate of a row where it is closer; ``away`` are the distances of the candidates' centers.

        Edits ``closest``, ``best`` and ``face`` in place.
        """
        of_row, slot = np.nonzero(away - self._radii[candidates] < best[rows][:, None])
        if not len(of_row):
            return
        row, triangle = rows[of_row], candidates[of_row, slot]
        point, distance = _on_triangles(points[row], self._corners[triangle])
        # the closest of each row comes first
        order = np.lexsort((distance, row))
        first = order[np.r_[True, np.diff(row[order]) > 0]]
        first = first[distance[first] < best[row[first]]]
        best[row[first]], closest[row[first]], face[row[first]] = distance[first], point[first], triangle[first]

    def visible(self, points: Float[ndarray, "n 3"], axes: Float[ndarray, "3 3"] | None = None) -> Bool[ndarray, "n"]:
        """Which points of the surface are visible from outside: from any of 36 cameras all around and above.

        There are no cameras below, as heads are often open there. Of a point cloud, all points are visible.

        Args:
            points: on the surface.
            axes: columns: the head's left, up and front; None where they are the world's x, y and z.
        """
        visible = np.zeros(len(points), bool)
        if self.faces is None:
            return ~visible
        turn = np.eye(3) if axes is None else np.asarray(axes, np.float64)
        vertices, points = self.vertices @ turn, np.asarray(points, np.float64) @ turn
        low, high = vertices.min(0), vertices.max(0)
        radius = float(np.linalg.norm(high - low)) / 2
        azimuths = list(_AZIMUTHS) * len(_ELEVATIONS)
        elevations = [elevation for elevation in _ELEVATIONS for _ in _AZIMUTHS]
        center = ((low + high) / 2).tolist()
        cameras = orbit(azimuths, elevations, radius=3 * radius, fov_deg=40.0, size=_SIDE, center=center)
        for viewmat, K in zip(cameras.viewmats.numpy(), cameras.Ks.numpy()):
            depth = rasterize(vertices, self.faces, viewmat, K, _SIDE, _SIDE).depth
            x, y, away = project(points, viewmat, K).T
            column, row = (part.astype(int).clip(0, _SIDE - 1) for part in (x, y))
            visible |= away < depth[row, column] + _SLACK * radius
        return visible

    def sample(self, count: int, seed: int = 0) -> Float[ndarray, "_ 3"]:
        """``count`` random points of the mesh, uniform by area and the same for the same seed; of a cloud, all."""
        if self.faces is None:
            return self.vertices
        generator = np.random.default_rng(seed)
        a, b, c = self._corners.transpose(1, 0, 2)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        face = generator.choice(len(area), count, p=area / area.sum())
        samples: Float[ndarray, "_ 3"] = (self._corners[face] * generator.dirichlet([1, 1, 1], count)[..., None]).sum(1)
        return samples


def _on_triangles(
    points: Float[ndarray, "n 3"], corners: Float[ndarray, "n 3 3"]
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n"]]:
    """The closest point to each point on its triangle, and its distance."""
    best, closest = np.full(len(points), np.inf), np.zeros_like(points)

    def offer(candidate: Float[ndarray, "n 3"], valid: Bool[ndarray, "n"] | bool = True) -> None:
        away = candidate - points
        square = np.where(valid, _dot(away, away), np.inf)
        closer = square < best
        best[closer], closest[closer] = square[closer], candidate[closer]

    for start in range(3):
        a, edge = corners[:, start], corners[:, (start + 1) % 3] - corners[:, start]
        along = _dot(points - a, edge) / np.maximum(_dot(edge, edge), 1e-300)
        offer(a + along.clip(0, 1)[:, None] * edge)
    a = corners[:, 0]
    ab, ac, ap = corners[:, 1] - a, corners[:, 2] - a, points - a
    bb, bc, cc, pb, pc = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac), _dot(ap, ab), _dot(ap, ac)
    square = bb * cc - bc**2
    safe = np.where(square > 0, square, 1.0)
    v, w = (cc * pb - bc * pc) / safe, (bb * pc - bc * pb) / safe
    offer(a + v[:, None] * ab + w[:, None] * ac, (square > 0) & (v >= 0) & (w >= 0) & (v + w <= 1))
    return closest, np.sqrt(best)


def _dot(a: Float[ndarray, "n 3"], b: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
    product: Float[ndarray, "n"] = np.einsum("nc,nc->n", a, b)
    return product
