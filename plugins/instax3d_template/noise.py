"""Made-up detail where the photo tells nothing: strands of hair, grain of skin and cloth."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

SIZE = 1024
"""Side of the tileable textures, pixels."""
_STRANDS = ((0.75, 1.0, 40.0), (0.8, 3.0, 60.0), (0.7, 9.0, 80.0))
"""Amount, width across and length along of the layers of strands, pixels."""
_GRAINS = ((0.6, 1.0), (0.7, 2.5), (0.5, 7.0))
"""Amount and width of the layers of grain."""


@dataclass(frozen=True)
class Noise:
    """Tileable random textures of unit variance."""

    strands: Float[ndarray, "n n"]
    """Rows run along the strands, columns around the head."""
    grain: Float[ndarray, "n n"]


def make_noise(seed: int) -> Noise:
    """Sums of blurred white noise."""
    random = np.random.default_rng(seed)

    def layer(along: float, across: float) -> ndarray:
        white = random.standard_normal((SIZE, SIZE), dtype=np.float32)
        margin = int(4 * max(along, across))
        blurred = cv2.GaussianBlur(np.pad(white, margin, mode="wrap"), (0, 0), sigmaX=across, sigmaY=along)
        tile = blurred[margin:-margin, margin:-margin]
        return np.asarray(tile / tile.std())

    strands = np.sum([amount * layer(along, across) for amount, across, along in _STRANDS], axis=0)
    grain = np.sum([amount * layer(width, width) for amount, width in _GRAINS], axis=0)
    return Noise((strands / strands.std()).astype(np.float32), (grain / grain.std()).astype(np.float32))
