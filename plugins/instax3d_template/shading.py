"""Draws the scene from a camera: deferred shading that samples the photo at full resolution."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from instax3d.mesh_raster import rasterise

from .head import PhotoCamera, sample
from .noise import Noise
from .scene import BUST, HAIR_PART, Scene
from .texture import Appearance
from .volume import smoothstep

_SUPERSAMPLING = 2


class Painter:
    """Draws views of one scene."""

    def __init__(self, scene: Scene, appearance: Appearance, camera: PhotoCamera, noise: Noise) -> None:
        self._scene, self._look, self._camera, self._noise = scene, appearance, camera, noise
        look = appearance
        self._attributes = np.concatenate(
            [
                scene.vertices,
                look.base,
                look.mirror_at,
                np.stack([look.mirror_weight, look.facing, look.compatible], 1),
                (scene.part == HAIR_PART)[:, None],
                (scene.part == BUST)[:, None],
            ],
            axis=1,
        ).astype(np.float32)

    def draw(
        self, viewmat: Float[ndarray, "4 4"], K: Float[ndarray, "3 3"], size: int
    ) -> tuple[Float[ndarray, "s s 3"], Float[ndarray, "s s"]]:
        """Image on white in [0, 1] and its alpha."""
        scene = self._scene
        raster = rasterise(scene.vertices, scene.faces, viewmat, K, size, size, supersample=_SUPERSAMPLING)
        values = raster.interpolate(self._attributes, scene.faces)
        centre = -viewmat[:3, :3].T @ viewmat[:3, 3]
        azimuth = float(np.degrees(np.arctan2(centre[0], centre[2])))
        colours = self._colours(values, abs((azimuth - self._camera.azimuth + 180) % 360 - 180))
        image = np.ones((*raster.mask.shape, 3), np.float32)
        image[raster.mask] = np.clip(colours, 0, 1)
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(raster.mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        return small, alpha

    def _colours(self, values: Float[ndarray, "n 13"], turned: float) -> Float[ndarray, "n 3"]:
        look = self._look
        points, base, mirror_at = values[:, :3], values[:, 3:6], values[:, 6:8]
        mirror_weight, facing, compatible, hair, bust = values[:, 8:].T
        at = self._camera.project(points.astype(np.float64))
        seen = smoothstep(sample(look.depth, at) - at[:, 2], -0.006, -0.003)
        # near its own direction the photo is right even where it grazes the surface
        near = 1 - float(smoothstep(np.array(turned), 8, 35))
        seen *= sample(look.usable, at)
        low = 0.30 - 0.28 * near
        weight = seen * smoothstep(facing, low, low + 0.3 - 0.15 * near) * np.maximum(compatible, near)
        made_up = np.where(
            (hair > 0.5)[:, None],
            self._noise.strands(points)[:, None] * look.hair_spread,
            self._noise.grain(points)[:, None] * np.where(bust > 0.5, look.cloth_grain, look.skin_grain)[:, None],
        )
        mirrored = sample(look.detail, mirror_at)
        detail = mirror_weight[:, None] * mirrored + (1 - mirror_weight[:, None]) * made_up
        photo = sample(look.photo, at)
        mixed: ndarray = weight[:, None] * photo + (1 - weight[:, None]) * (base + detail)
        return mixed.astype(np.float32)
