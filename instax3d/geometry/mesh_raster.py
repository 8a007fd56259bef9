"""A z-buffer rasterizer for triangle meshes on the CPU: the visible triangle of each pixel, its depth, and where in it.

Cameras follow `instax3d.types`: OpenCV axes, world-to-camera matrices, pixel centers at +0.5. Both sides of a triangle
are drawn. Triangles that reach behind the camera are left out, not clipped.
"""

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit, prange
from numpy import ndarray

from .numba_threads import start_numba_threads

_NEAR = 1e-4
"""Near plane, in world units."""
_BAND = 16
"""Rows that one task draws; tasks share nothing, so the image does not depend on the number of threads."""


@dataclass(frozen=True, eq=False)
class MeshRaster:
    """The visible surface at each pixel."""

    depth: Float[ndarray, "h w"]
    """Along the camera's z axis, world units; infinite in the background. float32."""
    face: Int[ndarray, "h w"]
    """Index of the triangle, -1 in the background. int32."""
    weights: Float[ndarray, "h w 3"]
    """Perspective-correct barycentric weights of its corners; zero in the background. float32."""

    @property
    def mask(self) -> Bool[ndarray, "h w"]:
        """Where a triangle is visible."""
        return self.face >= 0

    def interpolate(self, attributes: Float[ndarray, "n c"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "visible c"]:
        """Per-vertex ``attributes`` at the visible pixels, in the order of ``image[raster.mask]``. float32."""
        start_numba_threads()
        mask = self.mask
        values: ndarray = _interpolate(
            np.ascontiguousarray(attributes, np.float32),
            np.ascontiguousarray(faces, np.int64),
            self.face[mask],
            self.weights[mask],
        )
        return values


def project(
    vertices: Float[ndarray, "n 3"], viewmat: Float[ndarray, "4 4"], K: Float[ndarray, "3 3"]
) -> Float[ndarray, "n 3"]:
    """Pixel x, pixel y and depth of world points; those behind the camera get pixels far off. float64."""
    start_numba_threads()
    pixels: ndarray = _project(
        np.ascontiguousarray(vertices, np.float64), viewmat.astype(np.float64), K.astype(np.float64)
    )
    return pixels


def rasterize(
    vertices: Float[ndarray, "n 3"],
    faces: Int[ndarray, "f 3"],
    viewmat: Float[ndarray, "4 4"],
    K: Float[ndarray, "3 3"],
    width: int,
    height: int,
    *,
    supersample: int = 1,
) -> MeshRaster:
    """Draw a mesh.

    Args:
        vertices: in the world.
        viewmat: world to camera, OpenCV axes.
        K: intrinsics in pixels of an image of ``width`` x ``height``.
        width, height: of the image, pixels.
        supersample: the result has ``height * supersample`` rows of ``width * supersample`` pixels.
    """
    pixels = project(vertices, viewmat, K)
    pixels[:, :2] *= supersample
    depth, face, weights = _rasterize(
        pixels, np.ascontiguousarray(faces, np.int64), height * supersample, width * supersample
    )
    return MeshRaster(depth, face, weights)


@njit(cache=True, parallel=True)
@no_type_check
def _project(vertices: Any, viewmat: Any, K: Any) -> Any:
    out = np.empty((len(vertices), 3))
    for i in prange(len(vertices)):
        x, y, z = vertices[i]
        u = viewmat[0, 0] * x + viewmat[0, 1] * y + viewmat[0, 2] * z + viewmat[0, 3]
        v = viewmat[1, 0] * x + viewmat[1, 1] * y + viewmat[1, 2] * z + viewmat[1, 3]
        depth = viewmat[2, 0] * x + viewmat[2, 1] * y + viewmat[2, 2] * z + viewmat[2, 3]
        before = max(depth, _NEAR)
        out[i, 0] = (K[0, 0] * u + K[0, 1] * v) / before + K[0, 2]
        out[i, 1] = K[1, 1] * v / before + K[1, 2]
        out[i, 2] = depth
    return out


@njit(cache=True, parallel=True)
@no_type_check
def _rasterize(pixels: Any, faces: Any, height: int, width: int) -> Any:
    depth = np.full((height, width), np.inf, np.float32)
    face = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 3), np.float32)
    first = np.empty(len(faces), np.int64)
    last = np.empty(len(faces), np.int64)
    for t in prange(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        low = min(pixels[a, 1], pixels[b, 1], pixels[c, 1])
        high = max(pixels[a, 1], pixels[b, 1], pixels[c, 1])
        first[t], last[t] = 1, 0
        if min(pixels[a, 2], pixels[b, 2], pixels[c, 2]) > _NEAR and high > 0 and low < height:
            first[t] = max(0, int(np.ceil(low - 0.5)))
            last[t] = min(height - 1, int(np.floor(high - 0.5)))
    for band in prange((height + _BAND - 1) // _BAND):
        top = band * _BAND
        bottom = min(top + _BAND, height) - 1
        for t in range(len(faces)):
            if last[t] < top or first[t] > bottom:
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            x0, y0, x1, y1, x2, y2 = (
                pixels[a, 0], pixels[a, 1], pixels[b, 0], pixels[b, 1], pixels[c, 0], pixels[c, 1],
            )  # fmt: skip
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            left, right = min(x0, x1, x2), max(x0, x1, x2)
            if area == 0.0 or right < 0 or left > width:
                continue
            near0, near1, near2 = 1 / pixels[a, 2], 1 / pixels[b, 2], 1 / pixels[c, 2]
            for y in range(max(top, first[t]), min(bottom, last[t]) + 1):
                py = y + 0.5
                for x in range(max(0, int(np.ceil(left - 0.5))), min(width - 1, int(np.floor(right - 0.5))) + 1):
                    px = x + 0.5
                    w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
                    w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
                    w0 = 1 - w1 - w2
                    # a little beyond the edge, so that rounding leaves no pinholes between neighbors
                    if w0 < -1e-9 or w1 < -1e-9 or w2 < -1e-9:
                        continue
                    z = 1 / (w0 * near0 + w1 * near1 + w2 * near2)
                    if z < depth[y, x]:
                        depth[y, x] = z
                        face[y, x] = t
                        weights[y, x, 0], weights[y, x, 1], weights[y, x, 2] = (
                            w0 * near0 * z,
                            w1 * near1 * z,
                            w2 * near2 * z,
                        )
    return depth, face, weights


@njit(cache=True, parallel=True)
@no_type_check
def _interpolate(attributes: Any, faces: Any, face: Any, weights: Any) -> Any:
    channels = attributes.shape[1]
    out = np.empty((len(face), channels), np.float32)
    for i in prange(len(face)):
        a, b, c = faces[face[i], 0], faces[face[i], 1], faces[face[i], 2]
        for k in range(channels):
            out[i, k] = (
                weights[i, 0] * attributes[a, k] + weights[i, 1] * attributes[b, k] + weights[i, 2] * attributes[c, k]
            )
    return out
