"""Crops around a face as the networks were trained on, and the way back to the image."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from instax3d.geometry.landmarks68 import INNER_EYE_CORNERS, MOUTH_CORNERS, NOSE_TIP, OUTER_EYE_CORNERS

from .coefficients import DECA_SIDE, DEEP3D_SIDE, FACEVERSE_SIDE

DECA_MARGIN, DECA_SCALE = 1.1, 1.25
"""DECA's box is the mean side of the landmarks' box, enlarged by both."""
DEEP3D_FACE = 102.0
"""Pixels of Deep3D's crop per unit of its mean face, which is a decimeter."""
FACEVERSE_SIDES, FACEVERSE_UP, FACEVERSE_DOWN = 0.65, 0.7, 0.6
"""How far FaceVerse's box extends from the center of the landmarks, in longer sides of their box."""
FOREHEAD = 0.35
"""Height of the forehead that MediaPipe's landmarks cover above the 68, in heights of the latter."""

Points = Float[Tensor, "n 2"]


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A square of the image, resampled to the network's input."""

    pixels: Float[Tensor, "1 3 side side"]
    """RGB in [0, 1]; black beyond the image."""
    left: float
    top: float
    side: float
    """Pixels of the image."""

    @property
    def scale(self) -> float:
        """Pixels of the crop per pixel of the image."""
        return float(self.pixels.shape[-1] / self.side)

    def to_image(self, points: Points) -> Points:
        """Pixels of the crop to pixels of the image; pixel centers at +0.5 in both."""
        return points / self.scale + torch.tensor([self.left, self.top])


def deca_crop(image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"]) -> FaceCrop:
    """A square around the landmarks' box, enlarged."""
    low, high = landmarks.amin(0), landmarks.amax(0)
    side = float((high - low).mean()) * DECA_MARGIN * DECA_SCALE
    # the original maps the corners to the first and last pixels' centers
    return _crop(image, (low + high) / 2, side * DECA_SIDE / (DECA_SIDE - 1), DECA_SIDE)


def five_points(landmarks: Float[Tensor, "68 d"]) -> Float[Tensor, "5 d"]:
    """Right and left eye, nose and mouth corners from the 68 as in Deep3D: an eye is the midpoint of its corners."""
    (right_outer, left_outer), (right_inner, left_inner) = OUTER_EYE_CORNERS, INNER_EYE_CORNERS
    right, left = landmarks[[right_outer, right_inner]].mean(0), landmarks[[left_inner, left_outer]].mean(0)
    return torch.stack([right, left, *landmarks[[NOSE_TIP, *MOUTH_CORNERS]]])


def deep3d_crop(image: Float[Tensor, "3 h w"], points: Float[Tensor, "5 2"], mean: Float[Tensor, "5 3"]) -> FaceCrop:
    """A square around the origin of Deep3D's mean face, under the affine camera that fits its five points.

    Args:
        image: the photo.
        points: eyes, nose and mouth corners, pixels.
        mean: the same of the mean face, y up.
    """
    upwards = points * torch.tensor([1.0, -1.0])
    system = torch.cat([mean, torch.ones(5, 1)], 1).double()
    affine = torch.linalg.solve(system.T @ system, system.T @ upwards.double())  # [4, 2]
    scale = DEEP3D_FACE / float(affine[:3].norm(dim=0).mean())
    return _crop(image, affine[3].float() * torch.tensor([1.0, -1.0]), DEEP3D_SIDE / scale, DEEP3D_SIDE)


def faceverse_crop(
    image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"], mesh: Float[Tensor, "478 2"] | None
) -> FaceCrop:
    """A square around MediaPipe's landmarks; where only 68 are known, the forehead is added."""
    points = landmarks if mesh is None else mesh
    low, high = points.amin(0), points.amax(0)
    if mesh is None:
        low = low - torch.tensor([0.0, FOREHEAD]) * (high - low)
    length = float((high - low).max())
    center = (low + high) / 2 + torch.tensor([0.0, (FACEVERSE_DOWN - FACEVERSE_UP) / 2 * length])
    return _crop(image, center, 2 * FACEVERSE_SIDES * length, FACEVERSE_SIDE)


def _crop(image: Float[Tensor, "3 h w"], center: Float[Tensor, "2"], side: float, output_side: int) -> FaceCrop:
    left, top = (center - side / 2).tolist()
    factor = output_side / side
    source: Float[ndarray, "h w 3"] = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    if factor < 0.9:  # against aliasing
        source = cv2.GaussianBlur(source, (0, 0), 0.5 * math.sqrt(1 / factor**2 - 1))
    # pixel centers: whole numbers in OpenCV, +0.5 here
    shift = (0.5 - np.array([left, top])) * factor - 0.5
    matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    warped = cv2.warpAffine(source, matrix, (output_side, output_side), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return FaceCrop(torch.from_numpy(warped).permute(2, 0, 1)[None].clamp(0, 1), left, top, side)
