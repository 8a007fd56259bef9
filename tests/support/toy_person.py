"""A toy person of ellipses, of whom all is known, in a photo and in its head crop."""

import cv2
import numpy as np
import torch

from instax3d.matting.head_crop import HeadCrop, PhotoCrop
from instax3d.types import Face, Photo

PHOTO_SIZE = 300
"""Side of the photo, pixels. All places are in its pixels."""
FACE_ELLIPSE, HAIR_ELLIPSE = ((150, 130), (52, 66)), ((150, 110), (62, 85))
"""Center and half axes; the face covers the hair."""
BODY = ((60, 190), (240, PHOTO_SIZE))
"""Corners of the rectangle that the head covers."""
FACE_BOX = (100.0, 70.0, 200.0, 190.0)
SKIN_COLOR, HAIR_COLOR, SHIRT_COLOR = (0.85, 0.65, 0.55), (0.3, 0.2, 0.1), (0.2, 0.3, 0.6)
GREEN = (0.4, 0.6, 0.4)
"""A background unlike all of the person."""


def landmarks(x: float = 150.0, y: float = 120.0, width: float = 100.0) -> torch.Tensor:
    """Points about where the 68 landmarks of a frontal face are: jaw, brows, nose, eyes and mouth."""
    jaw = np.stack([-np.cos(np.linspace(0, np.pi, 17)), 0.1 + 1.05 * np.sin(np.linspace(0, np.pi, 17))], 1)
    brows = np.stack([np.r_[np.linspace(-0.8, -0.2, 5), np.linspace(0.2, 0.8, 5)], np.full(10, -0.2)], 1)
    nose = np.concatenate([np.stack([np.zeros(4), np.linspace(0, 0.4, 4)], 1), [[0.1 * k, 0.5] for k in range(-2, 3)]])
    ring = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    eyes = [np.stack([side * 0.45 + 0.15 * np.cos(ring), 0.06 * np.sin(ring)], 1) for side in (-1, 1)]
    ring = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    mouth = np.stack([0.3 * np.cos(ring), 0.75 + 0.1 * np.sin(ring)], 1)
    points = np.concatenate([jaw, brows, nose, *eyes, mouth]) * width / 2 + [x, y]
    return torch.tensor(points, dtype=torch.float32)


def toy_person(background: tuple[float, float, float], *, own_alpha: bool = False) -> tuple[Photo, np.ndarray]:
    """An ellipse of skin with hair and shoulders before a plain background, and the true outline of it all."""
    mask = np.zeros((PHOTO_SIZE, PHOTO_SIZE), np.uint8)
    image = np.full((PHOTO_SIZE, PHOTO_SIZE, 3), background, np.float32)
    for shape in (mask, image):
        colors = [(1,) * 3] * 3 if shape is mask else [SHIRT_COLOR, HAIR_COLOR, SKIN_COLOR]
        cv2.rectangle(shape, *BODY, colors[0], -1)
        cv2.ellipse(shape, *HAIR_ELLIPSE, 0, 0, 360, colors[1], -1)
        cv2.ellipse(shape, *FACE_ELLIPSE, 0, 0, 360, colors[2], -1)
    image += np.random.default_rng(0).normal(0, 0.004, image.shape).astype(np.float32)
    pixels = torch.from_numpy(image.clip(0, 1)).permute(2, 0, 1).contiguous()
    alpha = torch.from_numpy(mask.astype(np.float32))[None] if own_alpha else None
    return Photo(pixels, alpha, Face(FACE_BOX, 1.0, landmarks())), mask > 0


def rough_head(head_crop: HeadCrop) -> np.ndarray:
    """An ellipse about where a head model would be fitted to the landmarks."""
    head = np.zeros((head_crop.crop.size,) * 2, np.uint8)
    chin, brow = head_crop.landmarks[8], head_crop.landmarks[19:25].mean(0)
    height = float(chin[1] - brow[1])
    center = (int(chin[0]), int(brow[1] + 0.15 * height))
    cv2.ellipse(head, center, (int(0.62 * height), int(0.85 * height)), 0, 0, 360, 1, -1)
    return head > 0


def skull(head_crop: HeadCrop) -> np.ndarray:
    """The head under the toy person's hair, nearly as large."""
    head = np.zeros((head_crop.crop.size,) * 2, np.uint8)
    landmarks = head_crop.landmarks
    half, middle = np.ptp(landmarks[:, 0]) / 2, landmarks[[0, 16]].mean(0)
    cv2.ellipse(
        head, (middle - [0, 0.2 * half]).astype(int), (1.15 * half * np.array([1, 1.35])).astype(int), 0, 0, 360, 1, -1
    )
    return head > 0


def mask_at(mask: np.ndarray, crop: PhotoCrop, points: list[tuple[int, int]]) -> list[bool]:
    """The mask of a crop at pixels of the toy person's photo."""
    columns, rows = crop.points(np.array(points, float) + 0.5).astype(int).T
    return [bool(value) for value in mask[rows, columns]]
