"""Likeness of a portrait to the person in the photo, by face recognition networks (the paper's IPA)."""

import abc
from collections.abc import Mapping
from functools import cached_property

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instax3d.assets import require
from instax3d.component import C
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.io.images import to_uint8
from instax3d.registry import build
from instax3d.types import EvaluationContext, Face

from .alignment import aligned, cropped
from .config import ArcfaceConfig, FacenetConfig
from .encoders import ArcfaceEncoder, FacenetEncoder


class _IdentityMetric(Metric[C]):
    """Mean cosine between the embeddings of the photo's face and of the faces in the turntable."""

    name: str
    detector: str

    @abc.abstractmethod
    def embed(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "512"]:
        """The face's embedding, of unit length."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        if context.photo is None:
            return {}
        detector = build(LandmarkDetector, self.detector)
        photo = to_uint8(context.photo.image)
        faces = detector.detect(photo)
        if not faces:
            return {}
        reference = self.embed(photo, faces[0])
        cosines = []
        for frame in context.turntable:
            pixels = to_uint8(frame)
            faces = detector.detect(pixels)
            if faces:
                cosines.append(float(reference @ self.embed(pixels, faces[0])))
        return {self.name: sum(cosines) / len(cosines)} if cosines else {}


class Facenet(_IdentityMetric[FacenetConfig]):
    """FaceNet: boxes resized to 160 pixels, (x - 127.5) / 128."""

    name = "facenet"

    def __init__(self, config: FacenetConfig) -> None:
        super().__init__(config)
        self.detector = config.detector

    @cached_property
    def _encoder(self) -> FacenetEncoder:
        return FacenetEncoder(require("facenet-vggface2", self.config.weights).path)

    @torch.no_grad()
    def embed(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "512"]:
        return self._encoder.embed(cropped(image, face, FacenetEncoder.size))[0]


class Arcface(_IdentityMetric[ArcfaceConfig]):
    """ArcFace: faces aligned by five points to 112 pixels, (x / 255 - 0.5) / 0.5."""

    name = "arcface"

    def __init__(self, config: ArcfaceConfig) -> None:
        super().__init__(config)
        self.detector = config.detector

    @cached_property
    def _encoder(self) -> ArcfaceEncoder:
        return ArcfaceEncoder(require("arcface-iresnet50", self.config.weights).path)

    @torch.no_grad()
    def embed(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "512"]:
        return self._encoder.embed(aligned(image, face, ArcfaceEncoder.size))[0]
