"""Draws the scene from a camera: deferred shading that samples the photo at full resolution."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from dataclasses import dataclass
from typing import Any, no_type_check

import cv2
import numpy as np
from jaxtyping import Float
from numba import njit, prange
from numpy import ndarray

from instax3d.mesh_raster import rasterise

from .head import PhotoCamera
from .noise import SIZE, Noise
from .provenance import GUESSED, MIRRORED, SEEN, complete
from .scene import HAIR_PART, Scene
from .texture import Appearance
from .volume import smoothstep

_SUPERSAMPLING = 2
_CROWN_BELOW_TOP = 0.09
"""The strands' lines of longitude meet on an axis through this point of the head, metres."""


@dataclass(frozen=True)
class Drawing:
    """One view."""

    image: Float[ndarray, "s s 3"]
    """In [0, 1] on white."""
    alpha: Float[ndarray, "s s"]
    provenance: Float[ndarray, "s s 3"]
    """Shares of what was seen, mirrored and guessed."""


class Painter:
    """Draws views of one scene."""

    def __init__(self, scene: Scene, appearance: Appearance, camera: PhotoCamera, noise: Noise) -> None:
        self._scene, self._camera = scene, camera
        look = appearance
        spread = np.where((scene.part == HAIR_PART)[:, None], look.hair_spread, 0.0)
        columns = [
            scene.vertices,
            look.base,
            look.mirror_at,
            look.mirror_weight[:, None],
            look.facing[:, None],
            look.compatible[:, None],
            spread,
            look.grain[:, None],
        ]
        self._attributes = np.concatenate(columns, axis=1).astype(np.float32)
        self._textures = (look.photo, look.detail, look.depth, look.usable, noise.strands, noise.grain)
        self._crown = np.array([0.0, scene.top - _CROWN_BELOW_TOP, -0.01])

    def draw(self, viewmat: Float[ndarray, "4 4"], K: Float[ndarray, "3 3"], size: int) -> Drawing:
        """The scene from a camera."""
        scene = self._scene
        raster = rasterise(scene.vertices, scene.faces, viewmat, K, size, size, supersample=_SUPERSAMPLING)
        values = raster.interpolate(self._attributes, scene.faces)
        centre = -viewmat[:3, :3].T @ viewmat[:3, 3]
        azimuth = float(np.degrees(np.arctan2(centre[0], centre[2])))
        turned = abs((azimuth - self._camera.azimuth + 180) % 360 - 180)
        # near its own direction the photo is right even where it grazes the surface
        near = 1 - float(smoothstep(np.array(turned), 8, 35))
        to_photo = self._camera.K @ self._camera.viewmat[:3]
        mask = raster.mask
        image = np.ones((*mask.shape, 3), np.float32)
        shares = np.zeros_like(image)
        image[mask], shares[mask] = _colours(values, to_photo, near, self._crown, *self._textures)
        small, alpha, shares = (
            cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
            for part in (image, mask.astype(np.float32), shares)
        )
        return Drawing(small, alpha, complete(shares, alpha))


@njit(inline="always")
@no_type_check
def _corners(x: float, y: float, size: int) -> Any:
    """Upper left pixel and fractions for bilinear sampling, edges continued."""
    x, y = min(max(x - 0.5, 0.0), size - 1.001), min(max(y - 0.5, 0.0), size - 1.001)
    return int(x), int(y), x - int(x), y - int(y)


@njit(inline="always")
@no_type_check
def _bilinear(image: Any, column: int, row: int, u: float, v: float) -> Any:
    upper = image[row, column] * (1 - u) + image[row, column + 1] * u
    lower = image[row + 1, column] * (1 - u) + image[row + 1, column + 1] * u
    return upper * (1 - v) + lower * v


@njit(inline="always")
@no_type_check
def _step(x: float, low: float, high: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(cache=True, parallel=True)
@no_type_check
def _colours(
    values: Any,
    to_photo: Any,
    near: float,
    crown: Any,
    photo: Any,
    detail: Any,
    depth: Any,
    usable: Any,
    strands: Any,
    grain: Any,
) -> Any:
    """Colour and provenance of each pixel from its interpolated attributes.

    ``near`` is 1 in the photo's own direction.
    """
    size = len(photo)
    low = 0.30 - 0.28 * near
    high = low + 0.3 - 0.15 * near
    out, shares = np.empty((len(values), 3), np.float32), np.empty((len(values), 3), np.float32)
    for i in prange(len(values)):
        x, y, z = values[i, 0], values[i, 1], values[i, 2]
        away = to_photo[2, 0] * x + to_photo[2, 1] * y + to_photo[2, 2] * z + to_photo[2, 3]
        px = (to_photo[0, 0] * x + to_photo[0, 1] * y + to_photo[0, 2] * z + to_photo[0, 3]) / away
        py = (to_photo[1, 0] * x + to_photo[1, 1] * y + to_photo[1, 2] * z + to_photo[1, 3]) / away
        column, row, u, v = _corners(px, py, size)
        mirrored_column, mirrored_row, mirrored_u, mirrored_v = _corners(values[i, 6], values[i, 7], size)
        mirror_weight, facing, compatible = values[i, 8], values[i, 9], values[i, 10]
        weight = _step(_bilinear(depth, column, row, u, v) - away, -0.006, -0.003)
        weight *= _bilinear(usable, column, row, u, v) * _step(facing, low, high) * max(compatible, near)

        # strands run down from the crown, straight down below it; axis (0, 0.88, -0.47) leans backwards
        sideways, up, ahead = x - crown[0], y - crown[1], z - crown[2]
        along = 0.47 * up + 0.88 * ahead
        polar = np.arctan2(np.hypot(sideways, along), 0.88 * up - 0.47 * ahead) * 10 + 60 * max(-up, 0.0)
        strand = strands[int(polar * 24) % SIZE, int(np.arctan2(sideways, along) / (2 * np.pi) * SIZE) % SIZE]
        spot = grain[int(y * 1400) % SIZE, int(np.arctan2(x, z) * 126) % SIZE] * values[i, 14]
        for k in range(3):
            made_up = strand * values[i, 11 + k] + spot
            mirrored = _bilinear(detail[:, :, k], mirrored_column, mirrored_row, mirrored_u, mirrored_v)
            guess = values[i, 3 + k] + mirror_weight * mirrored + (1 - mirror_weight) * made_up
            colour = weight * _bilinear(photo[:, :, k], column, row, u, v) + (1 - weight) * guess
            out[i, k] = min(max(colour, 0.0), 1.0)
        shares[i, SEEN] = weight
        shares[i, MIRRORED] = (1 - weight) * mirror_weight
        shares[i, GUESSED] = (1 - weight) * (1 - mirror_weight)
    return out, shares
