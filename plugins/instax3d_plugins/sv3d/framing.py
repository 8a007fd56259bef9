"""The photo as SV3D expects it: head and shoulders on white, in a square."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.geometry.landmarks68 import CHIN
from instax3d.io.images import over_white
from instax3d.types import Photo

_BELOW_CHIN = 0.75
"""How far below the chin the crop reaches, in heights of the face, as far as the photo does."""
_HALF_WIDTH = 1.9
"""Half width of the crop, in heights of the face, measured between brows and chin."""


@dataclass(frozen=True, eq=False)
class Framed:
    """The square that the frames are generated from."""

    image: Float[Tensor, "3 s s"]
    """sRGB in [0, 1] on white."""
    alpha: Float[Tensor, "1 s s"]
    landmarks: Float[Tensor, "68 2"]
    """In its pixels."""


def frame(photo: Photo, alpha: Float[Tensor, "1 h w"], *, size: int, ratio: float) -> Framed:
    """Cut out head and shoulders and center them in a square.

    The longer side of their box fills ``ratio`` of the square. Shoulders that the photo, or the box, cuts off reach the
    lower edge; otherwise the person is centered, as in SV3D's own preprocessing.

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
    # pixel centers: whole numbers in OpenCV, +0.5 here
    shift = 0.5 * scale - 0.5
    matrix = np.array([[scale, 0, x + shift], [0, scale, y + shift]])
    kernel = cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC
    warped = cv2.warpAffine(pixels, matrix, (size, size), flags=kernel, borderMode=cv2.BORDER_CONSTANT)
    premultiplied = torch.from_numpy(np.clip(warped, 0, 1)).permute(2, 0, 1).contiguous()
    coverage = premultiplied[3:]
    straight = premultiplied[:3] / coverage.clamp(min=1e-4)
    landmarks = photo.face.require_landmarks68() * scale + torch.tensor([x, y], dtype=torch.float32)
    return Framed(over_white(straight.clamp(0, 1), coverage), coverage, landmarks.float())


def _box(photo: Photo, alpha: Float[Tensor, "1 h w"]) -> tuple[float, float, float, float, bool]:
    """Left, top, right and bottom of the visible person, pixels, and whether the lower edge cuts the person off."""
    landmarks = photo.face.require_landmarks68()
    face = float(landmarks[:, 1].max() - landmarks[:, 1].min())
    center = float(landmarks[:, 0].max() + landmarks[:, 0].min()) / 2
    height, width = alpha.shape[1:]
    bottom = min(float(landmarks[CHIN, 1]) + _BELOW_CHIN * face, float(height))
    low, high = max(0, int(center - _HALF_WIDTH * face)), min(width, int(np.ceil(center + _HALF_WIDTH * face)))
    visible = alpha[0, : int(np.ceil(bottom)), low:high] > 0.5
    rows, columns = visible.any(1).nonzero()[:, 0], visible.any(0).nonzero()[:, 0]
    if not len(rows):
        return float(low), 0.0, float(high), bottom, True
    last = float(rows[-1]) + 1
    cut = last >= bottom - 1
    return float(columns[0]) + low, float(rows[0]), float(columns[-1]) + 1 + low, bottom if cut else last, cut
