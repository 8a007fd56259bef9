"""Faces, 68 landmarks and identity descriptors by dlib."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import dlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instax3d.interfaces import LandmarkDetector
from instax3d.types import Face

from .config import DlibConfig
from .models import Models

_SEARCH_SIDE = 960
"""Longest side of the copy in which faces are detected, before upsampling."""
_FACE_SIDE = 256
"""Width of the face box in the patch in which landmarks are found; the residual over known cameras is least here."""
_MARGIN = 0.6
"""Surroundings of the box that the patch shows, in box widths."""
_SHIFTS = (-0.05, 0.0, 0.05)
"""The landmarks are the mean over boxes shifted by these shares of their width, in x and y. dlib's landmarks are whole
pixels and depend on the box: the mean of nine takes the residual over known cameras from 1.7 to 1.3 pixels."""


@dataclass(frozen=True, eq=False)
class _Patch:
    """A part of the image at the scale at which dlib works best."""

    pixels: UInt8[np.ndarray, "h w 3"]
    origin: Float[np.ndarray, "2"]
    scale: Float[np.ndarray, "2"]
    """Patch pixels per image pixel, exact although the patch has a whole number of pixels."""

    @classmethod
    def around(cls, image: UInt8[np.ndarray, "h w 3"], box: tuple[float, float, float, float]) -> "_Patch":
        left, top, right, bottom = box
        margin = _MARGIN * (right - left)
        height, width = image.shape[:2]
        x0, x1 = (int(np.clip(x, 0, width)) for x in (left - margin, right + margin + 1))
        y0, y1 = (int(np.clip(y, 0, height)) for y in (top - margin, bottom + margin + 1))
        pixels = _resize(image[y0:y1, x0:x1], _FACE_SIDE / (right - left))
        scale = np.array([pixels.shape[1] / (x1 - x0), pixels.shape[0] / (y1 - y0)])
        return cls(pixels, np.array([x0, y0], np.float64), scale)

    def inside(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Image coordinates to patch coordinates."""
        return np.asarray((points - self.origin) * self.scale)

    def outside(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Patch coordinates to image coordinates."""
        return np.asarray(points / self.scale + self.origin)


class DlibDetector(LandmarkDetector[DlibConfig]):
    """dlib's HOG face detector, its 68-landmark regression trees and its identity network, all on the CPU.

    Landmarks and boxes are in pixels with pixel centers at +0.5. Model files are loaded on first use.
    """

    @cached_property
    def _models(self) -> Models:
        return Models()

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        """All faces of an RGB image, highest score first; large images are searched in a reduced copy, but landmarks
        are always detected in the original.

        Raises:
            BrokenPluginError: the landmark model is not installed.
        """
        pixels = image.cpu().numpy()
        copy = _resize(pixels, min(1.0, _SEARCH_SIDE / max(pixels.shape[:2])))
        scale = np.array([pixels.shape[1] / copy.shape[1], pixels.shape[0] / copy.shape[0]])
        rectangles, scores, _ = self._models.faces.run(copy, self.config.upsample, self.config.threshold)
        faces = [self._face(pixels, _corners(box) * scale, score) for box, score in zip(rectangles, scores)]
        return sorted(faces, key=lambda face: -face.score)

    def descriptor(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "128"]:
        """128 numbers whose Euclidean distance is below 0.6 for images of one person.

        dlib states 99.38 % accuracy on Labeled Faces in the Wild at that threshold (its example dnn_face_recognition).

        Raises:
            BrokenPluginError: the identity model is not installed.
        """
        patch = _Patch.around(image.cpu().numpy(), face.box)
        corners = patch.inside(np.array(face.box, np.float64).reshape(2, 2))
        points = patch.inside(face.require_landmarks68().cpu().double().numpy()) - 0.5
        shape = dlib.full_object_detection(
            _rectangle(corners), [dlib.point(x, y) for x, y in points.round().astype(int)]
        )
        return torch.tensor(
            list(self._models.identity.compute_face_descriptor(patch.pixels, shape)), dtype=torch.float32
        )

    def _face(self, image: UInt8[np.ndarray, "h w 3"], corners: Float[np.ndarray, "2 2"], score: float) -> Face:
        """Find the landmarks in a box given by its top left and bottom right corners."""
        left, top, right, bottom = corners.ravel().tolist()
        box = (left, top, right, bottom)
        patch = _Patch.around(image, box)
        centered = patch.inside(corners)
        guesses = []
        for dx in _SHIFTS:
            for dy in _SHIFTS:
                shape = self._models.landmarks(patch.pixels, _rectangle(centered + np.array([dx, dy]) * _FACE_SIDE))
                guesses.append([(part.x + 0.5, part.y + 0.5) for part in shape.parts()])
        landmarks = patch.outside(np.mean(guesses, axis=0))
        return Face(box=box, score=float(score), landmarks=torch.tensor(landmarks, dtype=torch.float32))


def _resize(pixels: UInt8[np.ndarray, "h w 3"], factor: float) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The image ``factor`` times as large, at least one pixel wide; contiguous, as dlib wants it."""
    if factor == 1.0:
        return np.ascontiguousarray(pixels)
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def _corners(rectangle: "dlib.rectangle") -> Float[np.ndarray, "2 2"]:
    """Outer corners: dlib's right and bottom are the last pixels inside."""
    return np.array(
        [[rectangle.left(), rectangle.top()], [rectangle.right() + 1, rectangle.bottom() + 1]], dtype=np.float64
    )


def _rectangle(corners: Float[np.ndarray, "2 2"]) -> "dlib.rectangle":
    (left, top), (right, bottom) = corners.round().astype(int).tolist()
    return dlib.rectangle(left, top, right - 1, bottom - 1)
