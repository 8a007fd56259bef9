"""Likeness of a portrait to the person in the photo, by face recognition networks (the paper's IPA)."""

import abc
from collections.abc import Mapping
from functools import cached_property

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from instax3d.assets import require
from instax3d.component import C
from instax3d.errors import AssetError
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.io.images import to_uint8
from instax3d.io.safeload import read_checkpoint
from instax3d.registry import build
from instax3d.types import EvaluationContext, Face

from . import inception_resnet_v1, iresnet
from .alignment import aligned, cropped
from .config import ArcfaceConfig, FacenetConfig


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
    def _network(self) -> nn.Module:
        path, network = require("facenet-vggface2", self.config.weights).path, inception_resnet_v1.InceptionResnetV1()
        state = {name: value for name, value in read_checkpoint(path).items() if not name.startswith("logits.")}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise AssetError(f"{path} does not hold FaceNet's weights: {str(error).splitlines()[-1]}") from error
        return network.eval()

    @torch.no_grad()
    def embed(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "512"]:
        embedding: Tensor = self._network((cropped(image, face, inception_resnet_v1.SIZE) - 127.5) / 128)[0]
        return embedding


class Arcface(_IdentityMetric[ArcfaceConfig]):
    """ArcFace: faces aligned by five points to 112 pixels, (x / 255 - 0.5) / 0.5."""

    name = "arcface"

    def __init__(self, config: ArcfaceConfig) -> None:
        super().__init__(config)
        self.detector = config.detector

    @cached_property
    def _network(self) -> iresnet.IResNet:
        path = require("arcface-iresnet50", self.config.weights).path
        try:
            return iresnet.IResNet.of(read_checkpoint(path))
        except (ValueError, RuntimeError) as error:
            raise AssetError(f"{path} does not hold ArcFace's weights: {str(error).splitlines()[0]}") from error

    @torch.no_grad()
    def embed(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "512"]:
        return self._network.directions((aligned(image, face, iresnet.SIZE) / 255 - 0.5) / 0.5)[0]
