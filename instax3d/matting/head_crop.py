"""Crops of the photo: the head crop in which all image analysis happens, and the view that is the photo itself."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from instax3d.geometry.landmarks68 import INNER
from instax3d.types import Photo

HEAD_CROP_SIZE = 704
"""Side of the head crop, pixels: four widths of the face leave room for hair and shoulders (704 / 190 = 3.7)."""
_FACE_WIDTH = 190.0
"""Width of the face in the head crop, pixels: a little finer than in views of 512 pixels."""
_FACE_HEIGHT_SHARE = 0.44
"""Height of the face's center in the head crop, as a share of its side: room for the bust. Chosen by eye."""


@dataclass(frozen=True)
class PhotoCrop:
    """A square cut from the photo without rotation: crop pixel = ``scale`` * photo pixel + ``offset``."""

    scale: float
    offset: tuple[float, float]
    size: int
    """Side of the crop in its own pixels."""

    def points(self, photo_points: Float[ndarray, "n 2"]) -> Float[ndarray, "n 2"]:
        """Photo pixels to pixels of the crop."""
        return photo_points * self.scale + self.offset

    def intrinsics(self, photo_K: Float[ndarray, "3 3"]) -> Float[ndarray, "3 3"]:
        """Intrinsics of the same camera for the crop; exact, since a crop only scales and shifts pixels."""
        K = photo_K * self.scale
        K[:2, 2] += self.offset
        K[2] = [0, 0, 1]
        return K

    def cut(self, image: Float[ndarray, "h w *c"]) -> Float[ndarray, "s s *c"]:
        """Resample an image once, with a blur against aliasing where it shrinks; edges are replicated outwards."""
        if self.scale < 0.75:
            image = cv2.GaussianBlur(image, (0, 0), 0.4 / self.scale)
        # OpenCV counts pixel centers at whole numbers, we at halves
        shift = np.array(self.offset) + 0.5 * self.scale - 0.5
        matrix = np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]]])
        kernel = cv2.INTER_LINEAR if self.scale < 1 else cv2.INTER_CUBIC
        warped = cv2.warpAffine(image, matrix, (self.size, self.size), flags=kernel, borderMode=cv2.BORDER_REPLICATE)
        return np.clip(warped, 0, 1)


@dataclass(frozen=True, eq=False)
class PhotoArrays:
    """The photo as numpy arrays, channels last."""

    rgb: Float[ndarray, "h w 3"]
    """In [0, 1]."""
    alpha: Float[ndarray, "h w"] | None
    landmarks: Float[ndarray, "68 2"]


@dataclass(frozen=True, eq=False)
class HeadCrop:
    """The photo around the head, with the face at one size."""

    rgb: Float[ndarray, "s s 3"]
    valid: Bool[ndarray, "s s"]
    """False beyond the photo."""
    alpha: Float[ndarray, "s s"] | None
    """The file's own transparency."""
    landmarks: Float[ndarray, "68 2"]
    """In pixels of the crop."""
    crop: PhotoCrop

    @property
    def face_half_width(self) -> float:
        """Half the width of the landmarks, pixels: the unit of most distances in this package."""
        return float(np.ptp(self.landmarks[:, 0]) / 2)

    @cached_property
    def lab(self) -> Float[ndarray, "s s 3"]:
        """CIE L*a*b*."""
        lab: ndarray = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2LAB)
        return lab


def photo_arrays(photo: Photo) -> PhotoArrays:
    """Convert a photo, whose face must have 68 landmarks."""
    rgb = np.ascontiguousarray(photo.image.permute(1, 2, 0).numpy(), dtype=np.float32)
    alpha = None if photo.alpha is None else np.ascontiguousarray(photo.alpha[0].numpy(), dtype=np.float32)
    return PhotoArrays(rgb, alpha, photo.face.require_landmarks68().numpy().astype(np.float64))


def cut_valid(source: PhotoArrays, crop: PhotoCrop) -> Bool[ndarray, "s s"]:
    """The pixels of a crop that lie in the photo."""
    corners = np.array([[0.0, 0.0], source.rgb.shape[1::-1]])
    (left, top), (right, bottom) = crop.points(corners)
    centers = np.arange(crop.size) + 0.5
    inside: ndarray = np.outer((centers > top) & (centers < bottom), (centers > left) & (centers < right))
    return inside


def cut_head_crop(source: PhotoArrays) -> HeadCrop:
    """Cut the head crop around the face."""
    spread = np.ptp(source.landmarks, axis=0)
    scale = float(_FACE_WIDTH / max(spread[0], 0.8 * spread[1]))
    center = source.landmarks[INNER].mean(0) * scale
    offset = (0.5 * HEAD_CROP_SIZE - center[0], _FACE_HEIGHT_SHARE * HEAD_CROP_SIZE - center[1])
    crop = PhotoCrop(scale, (float(offset[0]), float(offset[1])), HEAD_CROP_SIZE)
    return HeadCrop(
        rgb=crop.cut(source.rgb),
        valid=cut_valid(source, crop),
        alpha=None if source.alpha is None else crop.cut(source.alpha),
        landmarks=crop.points(source.landmarks),
        crop=crop,
    )
