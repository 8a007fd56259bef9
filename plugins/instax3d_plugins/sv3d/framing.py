"""The photo as SV3D expects it: head and shoulders on white, in a square."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.io.images import over_white
from instax3d.types import Photo

_BUST = 0.75
"""So much of the face's height is shown below the chin, where the photo reaches so far."""
_BESIDE = 1.9
"""Half width of what is shown, in heights of the face, measured between brows and chin."""


@dataclass(frozen=True)
class Framed:
    """The square that the frames are generated from."""

    image: Float[Tensor, "3 s s"]
    """sRGB in [0, 1] on white."""
    alpha: Float[Tensor, "1 s s"]
    landmarks: Float[Tensor, "68 2"]
    """In its pixels."""


def frame(photo: Photo, alpha: Float[Tensor, "1 h w"], *, size: int, ratio: float) -> Framed:
    """Cut the head and shoulders out and place them in a square.

    The longer side of their box fills ``ratio`` of the square. Shoulders that the photo, or the box, cuts off reach the
    lower edge; otherwise the person stands in the middle, as SV3D's own preparation has it.

    Args:
        alpha: of the person, in the photo.
        size: side of the square, pixels.
    """
    left, top, right, bottom, cut = _box(photo, alpha)
    side = max(right - left, bottom - top) / ratio
    scale = size / side
    x = size / 2 - scale * (left + right) / 2
    y = size - scale * bottom if cut else size / 2 - scale * (top + bottom) / 2
    # colors beyond the outline must not bleed in, so both are resampled premultiplied
    pixels = torch.cat([photo.image * alpha, alpha]).permute(1, 2, 0).numpy().copy()
    pixels[int(np.ceil(bottom)) :] = 0
    if scale < 0.75:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 / scale)
    # OpenCV counts pixel centers at whole numbers, we at halves
    shift = 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, x + shift], [0, scale, y + shift]])
    kernel = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    warped = cv2.warpAffine(pixels, matrix, (size, size), flags=kernel, borderMode=cv2.BORDER_CONSTANT)
    placed = torch.from_numpy(np.clip(warped, 0, 1)).permute(2, 0, 1).contiguous()
    coverage = placed[3:]
    straight = placed[:3] / coverage.clamp(min=1e-4)
    landmarks = photo.face.landmarks * scale + torch.tensor([x, y], dtype=torch.float32)
    return Framed(over_white(straight.clamp(0, 1), coverage), coverage, landmarks.float())


def _box(photo: Photo, alpha: Float[Tensor, "1 h w"]) -> tuple[float, float, float, float, bool]:
    """Left, top, right and bottom of what is shown, pixels, and whether the person goes on below."""
    marks = photo.face.landmarks
    face = float(marks[:, 1].max() - marks[:, 1].min())
    middle = float(marks[:, 0].max() + marks[:, 0].min()) / 2
    height, width = alpha.shape[1:]
    bottom = min(float(marks[8, 1]) + _BUST * face, float(height))
    low, high = max(0, int(middle - _BESIDE * face)), min(width, int(np.ceil(middle + _BESIDE * face)))
    shown = alpha[0, : int(np.ceil(bottom)), low:high] > 0.5
    rows, columns = shown.any(1).nonzero()[:, 0], shown.any(0).nonzero()[:, 0]
    if not len(rows):
        return float(low), 0.0, float(high), bottom, True
    last = float(rows[-1]) + 1
    cut = last >= bottom - 1
    return float(columns[0]) + low, float(rows[0]), float(columns[-1]) + 1 + low, bottom if cut else last, cut
