"""Faces cut out as recognition networks were trained on them."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instax3d.inputs.faces import five_points
from instax3d.types import Face

# Where the eyes, the nose and the corners of the mouth belong in 112 pixels (insightface's norm).
_NORM = np.array([[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]], np.float32)


def aligned(image: UInt8[Tensor, "h w 3"], face: Face, size: int) -> Float[Tensor, "1 3 size size"]:
    """The face turned, scaled and moved such that its five points come to ArcFace's norm; RGB in [0, 255]."""
    norm = _NORM * (size / 112)
    move, _ = cv2.estimateAffinePartial2D(five_points(face).numpy(), norm, method=cv2.LMEDS)
    return _tensor(cv2.warpAffine(image.numpy(), move, (size, size), flags=cv2.INTER_LINEAR))


def cropped(image: UInt8[Tensor, "h w 3"], face: Face, size: int) -> Float[Tensor, "1 3 size size"]:
    """The face's box, resized by area; RGB in [0, 255]. What lies beyond the image is black."""
    left, top, right, bottom = (round(value) for value in face.box)
    pad = max(0, -left, -top, right - image.shape[1], bottom - image.shape[0])
    padded = cv2.copyMakeBorder(image.numpy(), pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    part = padded[top + pad : bottom + pad, left + pad : right + pad]
    return _tensor(cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA))


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
