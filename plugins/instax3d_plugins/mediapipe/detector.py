"""Faces and 478 points by MediaPipe."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instax3d.assets import require
from instax3d.errors import BrokenPluginError
from instax3d.interfaces import LandmarkDetector
from instax3d.types import MEDIAPIPE_POINTS, Face

from .config import MediapipeConfig
from .mesh import COUNT, IBUG_68

Landmark = Callable[[np.ndarray], list[np.ndarray]]


class MediapipeDetector(LandmarkDetector[MediapipeConfig]):
    """MediaPipe's face landmarker with the user's ``face_landmarker.task``, read on first use.

    `Face.points` holds `MEDIAPIPE_POINTS`; `Face.landmarks` are those of its points that lie at the 68 landmarks.
    MediaPipe reports no confidence of a face, so every score is 1.
    """

    @cached_property
    def _landmark(self) -> Landmark:
        try:
            from .landmarker import Landmarker
        except ImportError as error:
            raise BrokenPluginError(
                f"mediapipe is not installed or does not load ({error}); run: pip install 'instax3d[mediapipe]'"
            ) from error
        return Landmarker(require("mediapipe-face-landmarker", self.config.model).path, self.config.faces)

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        """All faces of an RGB image, in MediaPipe's order.

        Raises:
            AssetError, BrokenPluginError: the model or the package is missing or not usable.
        """
        pixels = image.cpu().numpy()
        size = torch.tensor([pixels.shape[1], pixels.shape[0]])
        return [_face(torch.from_numpy(mesh).float() * size) for mesh in self._landmark(pixels)]


def _face(points: Float[Tensor, "points 2"]) -> Face:
    if len(points) != COUNT:
        raise BrokenPluginError(
            f"this face_landmarker.task gives {len(points)} points a face, not {COUNT}; use the version with irises"
        )
    (left, top), (right, bottom) = points.amin(0).tolist(), points.amax(0).tolist()
    return Face((left, top, right, bottom), 1.0, points[list(IBUG_68)], {MEDIAPIPE_POINTS: points})
