"""Faces and five points by MTCNN."""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from instax3d.assets import require
from instax3d.interfaces import LandmarkDetector
from instax3d.types import FIVE_POINTS, Face

from .cascade import Cascade
from .config import MtcnnConfig
from .weights import load_cascade

SEARCH_SIDE = 1600
"""Longest side of the copy in which faces are detected."""


class MtcnnDetector(LandmarkDetector[MtcnnConfig]):
    """MTCNN (Zhang et al. 2016) with facenet-pytorch's weights: face boxes and five points, also of turned heads.

    `Face.landmarks` stays empty; `Face.points` holds `FIVE_POINTS`. Weights are read on first use.
    """

    @cached_property
    def _cascade(self) -> Cascade:
        weights = self.config.weights
        return load_cascade(None if weights is None else require("mtcnn", weights).path)

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        """All faces of an RGB image, highest score first.

        Raises:
            AssetError, BrokenPluginError: the weights are missing or not MTCNN's.
        """
        pixels, scale = _reduced(image.cpu().numpy())
        detections = self._cascade.find(torch.from_numpy(pixels).permute(2, 0, 1).float(), self.config.smallest_face)
        faces = []
        for box, score, points in zip(
            detections.boxes / scale.repeat(2), detections.scores, detections.points / scale, strict=True
        ):
            left, top, right, bottom = box.tolist()
            faces.append(Face((left, top, right, bottom), float(score), points={FIVE_POINTS: points}))
        return sorted(faces, key=lambda face: -face.score)


def _reduced(pixels: UInt8[np.ndarray, "h w 3"]) -> tuple[UInt8[np.ndarray, "h2 w2 3"], Float[Tensor, "2"]]:
    """The image in which faces are detected, and its scale in x and y."""
    height, width = pixels.shape[:2]
    factor = min(1.0, SEARCH_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if factor < 1:
        pixels = np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    return np.ascontiguousarray(pixels), torch.tensor([size[0] / width, size[1] / height])
