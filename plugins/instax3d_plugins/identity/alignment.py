"""Face crops as the recognition networks were trained on."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instax3d.inputs.faces import five_points
from instax3d.types import Face

# Template of eyes, nose and corners of the mouth in a crop of 112 pixels (insightface).
_TEMPLATE = np.array([[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]], np.float32)


def aligned(image: UInt8[Tensor, "h w 3"], face: Face, size: int) -> Float[Tensor, "1 3 size size"]:
    """The face rotated, scaled and shifted so that its five points match ArcFace's template; RGB in [0, 255]."""
    transform = similarity_to_template(face, size)
    return _tensor(cv2.warpAffine(image.numpy(), transform, (size, size), flags=cv2.INTER_LINEAR))


def similarity_to_template(face: Face, size: int) -> Float[np.ndarray, "2 3"]:
    """The rotation, scale and shift that bring the face's five points to ArcFace's template in ``size`` pixels."""
    template = _TEMPLATE * (size / 112)
    transform: np.ndarray = cv2.estimateAffinePartial2D(five_points(face).numpy(), template, method=cv2.LMEDS)[0]
    return transform


def cropped(image: UInt8[Tensor, "h w 3"], face: Face, size: int) -> Float[Tensor, "1 3 size size"]:
    """The face's box, resized by area; RGB in [0, 255]. What lies beyond the image is black."""
    left, top, right, bottom = (round(value) for value in face.box)
    pad = max(0, -left, -top, right - image.shape[1], bottom - image.shape[0])
    padded = cv2.copyMakeBorder(image.numpy(), pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    box = padded[top + pad : bottom + pad, left + pad : right + pad]
    return _tensor(cv2.resize(box, (size, size), interpolation=cv2.INTER_AREA))


def _tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
