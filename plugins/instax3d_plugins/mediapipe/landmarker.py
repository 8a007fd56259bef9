"""MediaPipe's face landmarker as a function."""

from pathlib import Path

import mediapipe
import numpy as np
from jaxtyping import Float, UInt8
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions
from numpy import ndarray

from instax3d.errors import BrokenPluginError


class Landmarker:
    """The model of one ``face_landmarker.task``.

    Raises:
        BrokenPluginError: MediaPipe cannot use the file.
    """

    def __init__(self, model: Path, faces: int) -> None:
        options = FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(model)), num_faces=faces)
        try:
            self._task = FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BrokenPluginError(f"MediaPipe cannot use {model} as its face_landmarker.task: {reason}") from error

    def __call__(self, pixels: UInt8[ndarray, "h w 3"]) -> list[Float[ndarray, "points 2"]]:
        """The mesh of each face in shares of the image's width and height. float64."""
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels))
        return [np.array([(point.x, point.y) for point in face]) for face in self._task.detect(image).face_landmarks]
