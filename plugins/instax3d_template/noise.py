"""Made-up detail where the photo tells nothing: strands of hair, grain of skin and cloth."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage

from .scene import Scene

_SIZE = 1024
_STRANDS = ((0.75, 1.0, 40.0), (0.8, 3.0, 60.0), (0.7, 9.0, 80.0))
"""Amount, width across and length along of the layers of strands, texture pixels."""
_GRAINS = ((0.6, 1.0), (0.7, 2.5), (0.5, 7.0))
"""Amount and width of the layers of grain."""


class Noise:
    """Tileable random textures of unit variance and where on the head they are looked up."""

    def __init__(self, seed: int, scene: Scene) -> None:
        random = np.random.default_rng(seed)

        def layer(sigma: tuple[float, float]) -> Float[ndarray, "n n"]:
            field = ndimage.gaussian_filter(
                random.standard_normal((_SIZE, _SIZE), dtype=np.float32), sigma, mode="wrap"
            )
            return np.asarray(field / field.std())

        strands = sum(amount * layer((along, across)) for amount, across, along in _STRANDS)
        grain = sum(amount * layer((width, width)) for amount, width in _GRAINS)
        self._strands = (strands / np.std(strands)).astype(np.float32)
        self._grain = (grain / np.std(grain)).astype(np.float32)
        self._crown = np.array([0.0, scene.top - 0.09, -0.01])

    def strands(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Streaks that run down from a crown at the back of the head's top, and straight down below."""
        axis = np.array([0, 0.88, -0.47])
        across = np.cross(axis, [1.0, 0, 0])
        q = points - self._crown
        sideways, along, up = q[:, 0], q @ across, q @ axis
        around = np.arctan2(sideways, along) / (2 * np.pi) * _SIZE
        down = np.arctan2(np.hypot(sideways, along), up) * 10 + 60 * np.maximum(-q[:, 1], 0)
        return self._strands[(down * 24).astype(int) % _SIZE, around.astype(int) % _SIZE]

    def grain(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Fine irregular spots."""
        row, column = points[:, 1] * 1400, np.arctan2(points[:, 0], points[:, 2]) * 126
        return self._grain[row.astype(int) % _SIZE, column.astype(int) % _SIZE]
