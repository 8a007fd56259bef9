"""Made-up detail where the photo tells nothing: strands of hair, grain of skin, cloth like the cloth that is seen."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import fft

SIZE = 1024
"""Side of the tileable textures, pixels (a power of 2)."""
STRAND_BANDS = (0.0011, 0.0030, 0.0075)
"""Widths of the layers of strands, from single strands to locks, meters."""
_STRAND_LENGTHS = (22.0, 30.0, 45.0)
"""Pixels of the texture along the layers of strands."""
PIXEL = 0.0005
"""Size of the strands' pixels across, meters."""
_WAVE = 9.0
"""Pixels by which strands swing sideways."""
_GRAINS = ((0.6, 1.0), (0.7, 2.5), (0.5, 7.0))
"""Amount and width of the layers of grain."""


@dataclass(frozen=True)
class Noise:
    """Tileable random textures of unit variance."""

    strands: Float[ndarray, "n n 3"]
    """Rows run along the strands, columns around the head; a channel for each of `STRAND_BANDS`."""
    grain: Float[ndarray, "n n"]
    white: Float[ndarray, "n n"]
    """No structure at all."""

    def like(self, patch: Float[ndarray, "a b 3"]) -> Float[ndarray, "n n 3"]:
        """A tileable texture with the patch's spectrum and colors, its mean taken off.

        Asymptotic discrete spot noise: the patch convolved with white noise (Galerne, Gousseau and Morel, "Random
        Phase Textures", IEEE TIP 2011).
        """
        rows, columns = patch.shape[:2]
        window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])[..., None]
        spot = (patch - (patch * window).sum((0, 1)) / window.sum()) * window
        framed = np.zeros((SIZE, SIZE, 3), np.float32)
        framed[:rows, :columns] = spot / np.sqrt((window**2).sum())
        phases = fft.rfft2(self.white)[..., None]
        return np.asarray(fft.irfft2(fft.rfft2(framed, axes=(0, 1)) * phases, axes=(0, 1)), np.float32)


def make_noise(seed: int) -> Noise:
    """Sums of blurred white noise."""
    random = np.random.default_rng(seed)
    rows, columns = fft.fftfreq(SIZE)[:, None], fft.rfftfreq(SIZE)

    def layer(along: float, across: float) -> ndarray:
        white = random.standard_normal((SIZE, SIZE), dtype=np.float32)
        blur = np.exp(-2 * (np.pi * along * rows) ** 2) * np.exp(-2 * (np.pi * across * columns) ** 2)
        tile = fft.irfft2(fft.rfft2(white) * blur.astype(np.float32))
        tile -= tile.mean()
        return np.asarray(tile / tile.std())

    widths = [width / PIXEL / 2 for width in STRAND_BANDS]
    layers = [layer(along, across) for along, across in zip(_STRAND_LENGTHS, widths, strict=True)]
    # locks: rounded, with dark gaps between them
    layers[2] = np.sqrt(np.abs(layers[2]) + 0.05)
    layers[1] = layers[1] + 0.6 * np.sqrt(np.abs(layer(_STRAND_LENGTHS[1], widths[1])))
    strands = _waved(np.stack(layers, 2), _WAVE * layer(30.0, 40.0))
    strands -= strands.mean((0, 1))
    grain = np.sum([amount * layer(width, width) for amount, width in _GRAINS], axis=0)
    white = random.standard_normal((SIZE, SIZE), dtype=np.float32)
    return Noise((strands / strands.std((0, 1))).astype(np.float32), (grain / grain.std()).astype(np.float32), white)


def _waved(tile: Float[ndarray, "n n c"], shift: Float[ndarray, "n n"]) -> Float[ndarray, "n n c"]:
    """Each pixel taken from so many pixels further right."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return np.asarray(cv2.remap(tile, x + shift.astype(np.float32), y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP))
