"""Crops of the photo: the working square that all image analysis happens in, and the view that is the photo itself."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from instax3d.types import Photo

WORKING_SIZE = 704
"""Side of the working square, pixels."""
_FACE_WIDTH = 190.0
"""Width of the face in the working square, pixels: a little finer than in the views."""
_FACE_HEIGHT_SHARE = 0.44
"""Height of the face's center in the working square, as a share of its side: room for the bust."""


@dataclass(frozen=True)
class Crop:
    """A square cut from the photo without turning it: square pixel = ``scale`` * photo pixel + ``offset``."""

    scale: float
    offset: tuple[float, float]
    size: int
    """Side of the square in its own pixels."""

    def points(self, photo_points: Float[ndarray, "n 2"]) -> Float[ndarray, "n 2"]:
        """Photo pixels to pixels of the square."""
        return photo_points * self.scale + self.offset

    def intrinsics(self, photo_K: Float[ndarray, "3 3"]) -> Float[ndarray, "3 3"]:
        """The same camera for the square; exact, since a crop only scales and shifts pixels."""
        K = photo_K * self.scale
        K[:2, 2] += self.offset
        K[2] = [0, 0, 1]
        return K

    def cut(self, image: Float[ndarray, "h w *c"]) -> Float[ndarray, "s s *c"]:
        """Resample an image once, with a blur against aliasing where it gets smaller; edges are continued outwards."""
        if self.scale < 0.75:
            image = cv2.GaussianBlur(image, (0, 0), 0.4 / self.scale)
        # OpenCV counts pixel centers at whole numbers, we at halves
        shift = np.array(self.offset) + 0.5 * self.scale - 0.5
        matrix = np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]]])
        kernel = cv2.INTER_LINEAR if self.scale < 1 else cv2.INTER_CUBIC
        warped = cv2.warpAffine(image, matrix, (self.size, self.size), flags=kernel, borderMode=cv2.BORDER_REPLICATE)
        return np.clip(warped, 0, 1)


@dataclass(frozen=True)
class Picture:
    """The photo as arrays."""

    rgb: Float[ndarray, "h w 3"]
    alpha: Float[ndarray, "h w"] | None
    landmarks: Float[ndarray, "68 2"]


@dataclass(frozen=True)
class WorkingSquare:
    """The surroundings of the head, all at one scale."""

    rgb: Float[ndarray, "s s 3"]
    valid: Bool[ndarray, "s s"]
    """False where the photo does not reach."""
    alpha: Float[ndarray, "s s"] | None
    """The file's own transparency."""
    landmarks: Float[ndarray, "68 2"]
    crop: Crop

    @property
    def half_width(self) -> float:
        """Half the width of the face, pixels."""
        return float(np.ptp(self.landmarks[:, 0]) / 2)

    @property
    def lab(self) -> Float[ndarray, "s s 3"]:
        """CIE L*a*b*."""
        lab: ndarray = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB)
        return lab


def picture(photo: Photo) -> Picture:
    """The photo in numpy, channels last."""
    rgb = np.ascontiguousarray(photo.image.permute(1, 2, 0).numpy(), dtype=np.float32)
    alpha = None if photo.alpha is None else np.ascontiguousarray(photo.alpha[0].numpy(), dtype=np.float32)
    return Picture(rgb, alpha, photo.face.require_landmarks68().numpy().astype(np.float64))


def cut_valid(source: Picture, crop: Crop) -> Bool[ndarray, "s s"]:
    """Where the photo reaches in a crop of it."""
    corners = np.array([[0.0, 0.0], source.rgb.shape[1::-1]])
    (left, top), (right, bottom) = crop.points(corners)
    centers = np.arange(crop.size) + 0.5
    inside: ndarray = np.outer((centers > top) & (centers < bottom), (centers > left) & (centers < right))
    return inside


def working_square(source: Picture) -> WorkingSquare:
    """Cut the working square around the face."""
    spread = np.ptp(source.landmarks, axis=0)
    scale = float(_FACE_WIDTH / max(spread[0], 0.8 * spread[1]))
    center = source.landmarks[17:].mean(0) * scale
    offset = (0.5 * WORKING_SIZE - center[0], _FACE_HEIGHT_SHARE * WORKING_SIZE - center[1])
    crop = Crop(scale, (float(offset[0]), float(offset[1])), WORKING_SIZE)
    return WorkingSquare(
        rgb=crop.cut(source.rgb),
        valid=cut_valid(source, crop),
        alpha=None if source.alpha is None else crop.cut(source.alpha),
        landmarks=crop.points(source.landmarks),
        crop=crop,
    )
