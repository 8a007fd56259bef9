"""From one photo to SV3D's turntable around the head."""

import logging
import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.assets import require
from instax3d.datasets import FIELD_OF_VIEW_DEG
from instax3d.errors import IncompatiblePipelineError
from instax3d.geometry.cameras import orbit
from instax3d.geometry.landmarks68 import FACE_METERS
from instax3d.headmodel import HeadModel
from instax3d.interfaces import ViewGenerator
from instax3d.matting.photo import person_alpha
from instax3d.registry import build
from instax3d.types import Cameras, Capture, Photo, Views

from .checkpoint import open_checkpoint
from .config import Sv3dConfig
from .coverage import coverage_on_white
from .embeddings import vector_condition
from .framing import Framed, frame
from .schedule import default_azimuths
from .turntable import SamplingSettings, make_turntable

_LOG = logging.getLogger("instax3d.sv3d")

_FACE_BEFORE_AXIS = 0.09
"""How far the landmarks lie in front of the head's axis, about which the cameras turn; meters."""
_OUTLINE_CONFIDENCE = 0.5
"""Factor of the confidence at half-covered pixels of the outline."""


class Sv3dGenerator(ViewGenerator[Sv3dConfig]):
    """Generates a turntable with Stable Video 3D (Voleti et al., ECCV 2024), the photo as its last frame."""

    def generate(self, source: Photo | Capture, *, seed: int) -> Views:
        """As many views as the model has frames (21), in its order: azimuths rise, the last view is the photo at 0.

        The world is that of the photo's camera, which is at azimuth 0; meters, by the size of the face.

        Raises:
            AssetError: the weights are missing, or are not SV3D's.
            IncompatiblePipelineError: they cannot run here, or ``source`` is a capture.
        """
        photo = self.expect(source, Photo)
        config = self.config
        checkpoint = open_checkpoint(weights_path(config))
        for note in checkpoint.notes:
            _LOG.info(note)
        framed = frame(
            photo,
            person_alpha(photo, build(HeadModel, config.head)),
            size=config.size,
            ratio=config.frame_ratio,
        )
        azimuths = default_azimuths(checkpoint.architecture.frames)
        elevations = [config.elevation] * len(azimuths)
        vector = vector_condition(checkpoint.variant, azimuths, elevations, camera=config.camera)
        images = make_turntable(checkpoint, framed.image, vector, sampling_settings(config), seed=seed)
        return as_views(images, framed, self.cameras(azimuths, framed), confidence=config.confidence)

    def cameras(self, azimuths: list[float], framed: Framed) -> Cameras:
        """Of frames at these azimuths, degrees."""
        config = self.config
        return orbit(
            [config.azimuth_sign * azimuth for azimuth in azimuths],
            [config.elevation] * len(azimuths),
            radius=_distance(framed),
            size=config.size,
            fov_deg=FIELD_OF_VIEW_DEG,
        )


def weights_path(config: Sv3dConfig) -> Path:
    """The file or folder with the weights.

    Raises:
        AssetError: it is missing.
    """
    name = config.weights if config.weights in ("sv3d", "sv3d-u") else "sv3d"
    return require(name, config.weights).path


def sampling_settings(config: Sv3dConfig) -> SamplingSettings:
    """Where and how the networks run.

    Raises:
        IncompatiblePipelineError: CUDA is requested and not available.
    """
    has_cuda = torch.cuda.is_available()
    if config.device == "cuda" and not has_cuda:
        raise IncompatiblePipelineError(
            "view_generator.device=cuda was requested, but torch finds no CUDA device; write device=cpu"
        )
    device = torch.device("cuda" if has_cuda and config.device != "cpu" else "cpu")
    automatic = "float16" if device.type == "cuda" else "float32"
    dtype: torch.dtype = getattr(torch, automatic if config.dtype == "auto" else config.dtype)
    return SamplingSettings(
        device,
        dtype,
        steps=config.steps,
        guidance=config.guidance,
        memory=config.memory,
        decode_chunk=config.decode_chunk,
        decoder=config.decoder,
        compile=config.compile,
    )


def as_views(images: Float[Tensor, "frames 3 h w"], framed: Framed, cameras: Cameras, *, confidence: float) -> Views:
    """The frames as views, the last replaced by the photo.

    Alpha of generated frames is found against their white background. Their pixels have the given ``confidence``, half
    of it at the outline, where alpha is uncertain; those of the photo have 1, and half at its outline.
    """
    last = len(images) - 1
    alpha = coverage_on_white(images)
    alpha[last] = framed.alpha
    images = torch.where(alpha > 0, images, torch.ones_like(images))
    images[last] = framed.image
    certainty = (2 * alpha - 1).abs()
    factor = _OUTLINE_CONFIDENCE + (1 - _OUTLINE_CONFIDENCE) * certainty
    level = torch.full((len(images), 1, 1, 1), confidence)
    level[last] = 1.0
    provenance = torch.zeros_like(images)
    provenance[:, 2] = 1.0  # guessed
    provenance[last] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]  # seen
    return Views(images, alpha, cameras, confidence=factor * level, photo_index=last, provenance=provenance)


def _distance(framed: Framed) -> float:
    """From the camera to the head's axis, meters, if the face is as large as an adult's."""
    side = framed.image.shape[-1]
    focal = side / 2 / math.tan(math.radians(FIELD_OF_VIEW_DEG) / 2)
    extent = framed.landmarks.max(0).values - framed.landmarks.min(0).values
    return focal * FACE_METERS / float(extent.max()) + _FACE_BEFORE_AXIS
