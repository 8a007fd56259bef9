"""Exact distances to triangle meshes and clouds of points, and the surface that a capture brings."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from plyfile import PlyData
from scipy.spatial import cKDTree

from instax3d.errors import CaptureError
from instax3d.io.obj import read_obj
from instax3d.types import TrueSurface

from .cameras import orbit
from .mesh_raster import project, rasterize

FILES = ("mesh.npz", "mesh.obj", "mesh.ply")
"""Names under which a capture may bring the true surface, beside its transforms."""
_ELEVATIONS = (0.0, 35.0, 70.0)
"""Degrees from which a surface is looked at."""
_PICTURE = 512
"""Pixels of the side of the pictures that tell what is seen."""
_SLACK = 0.01
"""What lies no deeper than this under what is seen counts as seen, in radii: pixels of slanting surfaces differ so."""
_CHUNK = 20_000
"""Points at a time."""
_FIRST, _GROWTH = 4, 4
"""Triangles of a size that are looked at first, and how many times more as long as one of them might be closer."""


class Surface:
    """Triangles, or points where there are no faces, of which the closest place to any point is found exactly."""

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
        # A triangle is never nearer than its center by more than its radius; alike sizes are searched together, so
        # that a few large triangles do not make all others candidates.
        sizes = np.floor(np.log2(np.maximum(radii, 1e-12)))
        self._classes = []
        for size in np.unique(sizes):
            chosen = np.flatnonzero(sizes == size)
            self._classes.append((chosen, cKDTree(centers[chosen]), float(radii[chosen].max())))

    @classmethod
    def of(cls, given: TrueSurface) -> "Surface":
        """Of a capture's surface."""
        return cls(given.vertices.double().numpy(), None if given.faces is None else given.faces.numpy())

    def closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n"], Int[ndarray, "n"]]:
        """The closest places, their distances, and the faces (of a cloud: the points) that hold them."""
        points = np.asarray(points, np.float64)
        if self.faces is None:
            distance, index = self._points.query(points)
            return self.vertices[index], distance, index
        parts = [self._closest(points[start : start + _CHUNK]) for start in range(0, len(points), _CHUNK)]
        if not parts:
            return points, np.zeros(0), np.zeros(0, np.int64)
        place, distance, face = (np.concatenate(part) for part in zip(*parts))
        return place, distance, face

    def _closest(self, points: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        face = self._centers.query(points)[1]
        place, best = _on_triangles(points, self._corners[face])
        for chosen, tree, largest in self._classes:
            rows, done, count = np.arange(len(points)), 0, min(_FIRST, len(chosen))
            while len(rows) and done < count:
                away, near = (part.reshape(len(rows), count) for part in tree.query(points[rows], count))
                # a triangle may be closer only if it is when its farthest corner points straight here
                hopeful = away[:, done] - largest < best[rows]
                rows, away, candidates = rows[hopeful], away[hopeful, done:], chosen[near[hopeful, done:]]
                self._improve(points, rows, away, candidates, place, best, face)
                done, count = count, min(_GROWTH * count, len(chosen))
        return place, best, face

    def _improve(
        self,
        points: ndarray,
        rows: ndarray,
        away: ndarray,
        candidates: ndarray,
        place: ndarray,
        best: ndarray,
        face: ndarray,
    ) -> None:
        """Where one of a point's candidates [rows, k], whose centers are so far away, is closer, take it."""
        of_row, slot = np.nonzero(away - self._radii[candidates] < best[rows][:, None])
        if not len(of_row):
            return
        row, triangle = rows[of_row], candidates[of_row, slot]
        found, distance = _on_triangles(points[row], self._corners[triangle])
        # the closest of each row comes first
        order = np.lexsort((distance, row))
        first = order[np.r_[True, np.diff(row[order]) > 0]]
        first = first[distance[first] < best[row[first]]]
        best[row[first]], place[row[first]], face[row[first]] = distance[first], found[first], triangle[first]

    def seen(self, points: Float[ndarray, "n 3"], axes: Float[ndarray, "3 3"] | None = None) -> Bool[ndarray, "n"]:
        """Which points, that lie on the surface, can be seen from outside: from any of 36 cameras all around and above.

        Not from below, as heads are often open there. Of a cloud of points all are.

        Args:
            points: on the surface.
            axes: columns: the head's left, up and front; None where they are the world's x, y and z.
        """
        found = np.zeros(len(points), bool)
        if self.faces is None:
            return ~found
        turn = np.eye(3) if axes is None else np.asarray(axes, np.float64)
        vertices, points = self.vertices @ turn, np.asarray(points, np.float64) @ turn
        low, high = vertices.min(0), vertices.max(0)
        reach = float(np.linalg.norm(high - low)) / 2
        azimuths = [30.0 * k for k in range(12)] * len(_ELEVATIONS)
        elevations = [each for each in _ELEVATIONS for _ in range(12)]
        cameras = orbit(
            azimuths, elevations, radius=3 * reach, fov_deg=40.0, size=_PICTURE, center=((low + high) / 2).tolist()
        )
        for viewmat, K in zip(cameras.viewmats.numpy(), cameras.Ks.numpy()):
            depth = rasterize(vertices, self.faces, viewmat, K, _PICTURE, _PICTURE).depth
            x, y, away = project(points, viewmat, K).T
            column, row = (part.astype(int).clip(0, _PICTURE - 1) for part in (x, y))
            found |= away < depth[row, column] + _SLACK * reach
        return found

    def samples(self, count: int, seed: int = 0) -> Float[ndarray, "_ 3"]:
        """Points of the surface, evenly by area and the same for the same seed; of a cloud all its points."""
        if self.faces is None:
            return self.vertices
        generator = np.random.default_rng(seed)
        a, b, c = self._corners.transpose(1, 0, 2)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        face = generator.choice(len(area), count, p=area / area.sum())
        return np.asarray((self._corners[face] * generator.dirichlet([1, 1, 1], count)[..., None]).sum(1))


def _on_triangles(points: ndarray, corners: ndarray) -> tuple[ndarray, ndarray]:
    """The closest place to each point [n, 3] on its triangle [n, 3, 3], and its distance."""
    best, place = np.full(len(points), np.inf), np.zeros_like(points)

    def offer(found: ndarray, valid: Any = True) -> None:
        away = found - points
        square = np.where(valid, _dot(away, away), np.inf)
        closer = square < best
        best[closer], place[closer] = square[closer], found[closer]

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
    return place, np.sqrt(best)


def _dot(a: ndarray, b: ndarray) -> ndarray:
    return np.asarray(np.einsum("nc,nc->n", a, b))


def read_surface(folder: Path) -> TrueSurface | None:
    """The true surface that a capture's folder brings, or None: ``mesh.npz`` (arrays ``vertices`` [n, 3] and, of a
    mesh, ``faces`` [f, 3]), ``mesh.obj`` or ``mesh.ply``, in the world of its cameras.

    Raises:
        CaptureError: it cannot be read, or is neither a mesh nor a cloud of points.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        vertices, faces = {".npz": _read_npz, ".obj": _read_obj, ".ply": _read_ply}[path.suffix](path)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices) or not np.isfinite(vertices).all():
            raise ValueError("it needs vertices of three finite numbers each")
        if faces is not None and not len(faces):
            faces = None
        if faces is not None and (
            faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= len(vertices)
        ):
            raise ValueError("its faces need three indices of vertices each")
    except Exception as error:
        # Of a file that is no mesh, the readers raise whatever their parsing meets.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CaptureError(f"{path} is not the surface of a head ({reason}); export it again, or remove it") from error
    return TrueSurface(
        torch.from_numpy(np.ascontiguousarray(vertices, np.float32)),
        None if faces is None else torch.from_numpy(np.ascontiguousarray(faces, np.int64)),
    )


def _read_npz(path: Path) -> tuple[ndarray, ndarray | None]:
    with np.load(path, allow_pickle=False) as stored:
        return stored["vertices"], stored["faces"] if "faces" in stored.files else None


def _read_obj(path: Path) -> tuple[ndarray, ndarray | None]:
    vertices, faces = read_obj(path)
    return vertices.numpy(), faces.numpy()


def _read_ply(path: Path) -> tuple[ndarray, ndarray | None]:
    data = PlyData.read(str(path))
    vertices = np.stack([np.asarray(data["vertex"][axis], np.float64) for axis in "xyz"], 1)
    if "face" not in data:
        return vertices, None
    (indices,) = (p.name for p in data["face"].properties if p.name in ("vertex_indices", "vertex_index"))
    polygons = [np.asarray(polygon, np.int64) for polygon in data["face"][indices]]
    triangles = [[one[0], b, c] for one in polygons for b, c in pairwise(one[1:])]
    return vertices, np.array(triangles, np.int64).reshape(-1, 3)
