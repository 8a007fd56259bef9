"""The pictures that the networks were trained on: cut out around a face, and how to get back."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from .coefficients import DECA_SIDE, DEEP3D_SIDE, FACEVERSE_SIDE

DECA_MARGIN, DECA_SCALE = 1.1, 1.25
"""DECA's box is the mean side of the landmarks' box, enlarged by both."""
DEEP3D_FACE = 102.0
"""Pixels of Deep3D's crop per unit of its mean face, which is a decimeter."""
FACEVERSE_SIDES, FACEVERSE_UP, FACEVERSE_DOWN = 0.65, 0.7, 0.6
"""How far FaceVerse's box reaches from the landmarks' middle, in longer sides of their box."""
FOREHEAD = 0.35
"""Height of the forehead that MediaPipe's landmarks cover above the 68 ones, in heights of the latter."""

Points = Float[Tensor, "n 2"]


@dataclass(frozen=True)
class Crop:
    """A square of the image and its picture."""

    picture: Float[Tensor, "1 3 side side"]
    """RGB in [0, 1]; black beyond the image."""
    left: float
    top: float
    side: float
    """Pixels of the image."""

    @property
    def scale(self) -> float:
        """Pixels of the crop per pixel of the image."""
        return float(self.picture.shape[-1] / self.side)

    def to_image(self, points: Points) -> Points:
        """Pixels of the crop to pixels of the image; pixel centers at +0.5 in both."""
        return points / self.scale + torch.tensor([self.left, self.top])


def deca_crop(image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"]) -> Crop:
    """A square around the landmarks' box, a bit larger."""
    low, high = landmarks.amin(0), landmarks.amax(0)
    side = float((high - low).mean()) * DECA_MARGIN * DECA_SCALE
    # the original maps the corners to the first and last pixels' centers
    return _cut(image, (low + high) / 2, side * DECA_SIDE / (DECA_SIDE - 1), DECA_SIDE)


def five_points(landmarks: Float[Tensor, "68 d"]) -> Float[Tensor, "5 d"]:
    """Right and left eye, nose and mouth corners as Deep3D takes them from 68: an eye is the middle of its corners."""
    right, left = landmarks[[36, 39]].mean(0), landmarks[[42, 45]].mean(0)
    return torch.stack([right, left, landmarks[30], landmarks[48], landmarks[54]])


def deep3d_crop(image: Float[Tensor, "3 h w"], points: Float[Tensor, "5 2"], mean: Float[Tensor, "5 3"]) -> Crop:
    """A square around the origin of Deep3D's mean face, where the affine camera that fits its five points has it.

    Args:
        image: the photo.
        points: eyes, nose and mouth corners, pixels.
        mean: the same of the mean face, y up.
    """
    upwards = points * torch.tensor([1.0, -1.0])
    system = torch.cat([mean, torch.ones(5, 1)], 1).double()
    affine = torch.linalg.solve(system.T @ system, system.T @ upwards.double())  # [4, 2]
    scale = DEEP3D_FACE / float(affine[:3].norm(dim=0).mean())
    return _cut(image, affine[3].float() * torch.tensor([1.0, -1.0]), DEEP3D_SIDE / scale, DEEP3D_SIDE)


def faceverse_crop(
    image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"], mesh: Float[Tensor, "478 2"] | None
) -> Crop:
    """A square around MediaPipe's landmarks; where only 68 are known, the forehead is added to them."""
    around = landmarks if mesh is None else mesh
    low, high = around.amin(0), around.amax(0)
    if mesh is None:
        low = low - torch.tensor([0.0, FOREHEAD]) * (high - low)
    length = float((high - low).max())
    center = (low + high) / 2 + torch.tensor([0.0, (FACEVERSE_DOWN - FACEVERSE_UP) / 2 * length])
    return _cut(image, center, 2 * FACEVERSE_SIDES * length, FACEVERSE_SIDE)


def _cut(image: Float[Tensor, "3 h w"], center: Float[Tensor, "2"], side: float, pixels: int) -> Crop:
    left, top = (center - side / 2).tolist()
    factor = pixels / side
    source: Float[ndarray, "h w 3"] = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    if factor < 0.9:  # what is finer than the crop's pixels would alias
        source = cv2.GaussianBlur(source, (0, 0), 0.5 * math.sqrt(1 / factor**2 - 1))
    # OpenCV counts pixel centers at whole numbers, we at halves
    shift = (0.5 - np.array([left, top])) * factor - 0.5
    matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    cut = cv2.warpAffine(source, matrix, (pixels, pixels), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return Crop(torch.from_numpy(cut).permute(2, 0, 1)[None].clamp(0, 1), left, top, side)
