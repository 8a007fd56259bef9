"""Implicit surfaces on a regular grid: fields in meters, positive inside, meshed by marching cubes."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from instax3d.geometry.mesh import vertex_normals


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """A box of cubic cells in the world."""

    low: Float[ndarray, "3"]
    """Lower corner, meters."""
    step: float
    """Side of the cells, meters."""
    shape: tuple[int, int, int]

    @classmethod
    def over(cls, low: Float[ndarray, "3"], high: Float[ndarray, "3"], step: float) -> "VoxelGrid":
        """The grid that fills a box."""
        x, y, z = (int(np.ceil(extent / step)) + 1 for extent in high - low)
        return cls(low, step, (x, y, z))

    @property
    def points(self) -> Float[ndarray, "n 3"]:
        """World positions of all nodes, in C order."""
        index = np.indices(self.shape).reshape(3, -1).T
        positions: ndarray = self.low + index * self.step
        return positions

    def coarser(self, factor: int) -> "VoxelGrid":
        """A grid over the same box with larger cells."""
        x, y, z = ((n - 2) // factor + 2 for n in self.shape)
        return VoxelGrid(self.low, self.step * factor, (x, y, z))

    def resample(self, values: Float[ndarray, "x y z"], onto: "VoxelGrid") -> Float[ndarray, "_ _ _"]:
        """Trilinear values of a field of this grid at the nodes of one with the same lower corner."""
        factor = onto.step / self.step
        out = values
        for axis, count in enumerate(onto.shape):
            at = np.minimum(np.arange(count) * factor, values.shape[axis] - 1)
            below = np.minimum(at.astype(int), max(values.shape[axis] - 2, 0))
            part = (at - below).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
            out = (
                np.take(out, below, axis) * (1 - part)
                + np.take(out, np.minimum(below + 1, values.shape[axis] - 1), axis) * part
            )
        return out.astype(np.float32)

    def surface(
        self, field: Float[ndarray, "x y z"], smoothing: float
    ) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"]]:
        """The zero level of a field, smoothed over ``smoothing`` cells, closed at the box; faces wind outwards.

        Empty arrays where the field is nowhere positive.
        """
        blurred = ndimage.gaussian_filter(np.clip(field, -6 * self.step, 6 * self.step), smoothing)
        closed = np.pad(blurred, 1, constant_values=-self.step)
        if closed.max() <= 0:
            return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
        vertices, faces, _, _ = marching_cubes(closed, 0.0)
        vertices = (vertices - 1) * self.step + self.low
        faces = faces.astype(np.int64)
        corners = vertices[faces]
        if np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
            faces = np.ascontiguousarray(faces[:, ::-1])
        return vertices, faces


def without_specks(
    vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"], share: float = 0.03
) -> tuple[Float[ndarray, "m 3"], Int[ndarray, "g 3"]]:
    """The mesh without connected pieces that have less than a share of its vertices."""
    links = sp.coo_matrix((np.ones(len(faces) * 2), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())))
    _, piece = connected_components(sp.csr_matrix(links, shape=(len(vertices),) * 2), directed=False)
    return kept_vertices(vertices, faces, np.bincount(piece)[piece] >= share * len(vertices))


def kept_vertices(
    vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"], kept: Bool[ndarray, "n"]
) -> tuple[Float[ndarray, "m 3"], Int[ndarray, "g 3"]]:
    """The mesh of the kept vertices and the triangles between them."""
    number = np.cumsum(kept) - 1
    return vertices[kept], number[faces[kept[faces].all(1)]]


def relax(
    vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"], rounds: int
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
    """Taubin smoothing against the steps of the grid; vertices and their normals."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = np.maximum(np.bincount(edges[:, 0], minlength=len(vertices)), 1)[:, None]
    for factor in (0.5, -0.53) * rounds:
        sums = np.stack([np.bincount(edges[:, 0], vertices[edges[:, 1], k], len(vertices)) for k in range(3)], 1)
        vertices = vertices + factor * (sums / count - vertices)
    return vertices, vertex_normals(vertices, faces)
