"""The recognition networks with the weights that users provide, and the faces that each was trained on."""

import abc
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from instax3d.errors import AssetError
from instax3d.io.safeload import read_checkpoint
from instax3d.types import Face

from . import inception_resnet_v1, iresnet
from .alignment import similarity_to_template

_FACENET_ONLY = "last_linear.weight"
"""A tensor that tells FaceNet's files from ArcFace's."""


class FaceEncoder(abc.ABC):
    """Faces to unit vectors, whose cosine compares identities. Differentiable."""

    size: ClassVar[int]
    """Width and height of the faces, pixels."""

    def __init__(self, path: Path) -> None:
        """Read the network.

        Raises:
            AssetError, UnsafeFileError: the file holds other weights, or cannot be read.
        """
        self.network = self._read(path).eval().requires_grad_(False)

    @abc.abstractmethod
    def _read(self, path: Path) -> nn.Module: ...

    @abc.abstractmethod
    def embed(self, crops: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 512"]:
        """The embeddings of cut-out faces, colors in [0, 255]."""

    @abc.abstractmethod
    def frame(self, face: Face) -> Float[np.ndarray, "2 3"]:
        """The map from pixels of the crop to those of the image that the face was found in."""


class FacenetEncoder(FaceEncoder):
    """FaceNet: boxes resized to 160 pixels, (x - 127.5) / 128."""

    size = inception_resnet_v1.SIZE

    def _read(self, path: Path) -> nn.Module:
        network = inception_resnet_v1.InceptionResnetV1()
        state = {name: value for name, value in read_checkpoint(path).items() if not name.startswith("logits.")}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise AssetError(f"{path} does not hold FaceNet's weights: {str(error).splitlines()[-1]}") from error
        return network

    def embed(self, crops: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 512"]:
        embedding: Tensor = self.network((crops - 127.5) / 128)
        return embedding

    def frame(self, face: Face) -> Float[np.ndarray, "2 3"]:
        left, top, right, bottom = face.box
        return np.array([[(right - left) / self.size, 0, left], [0, (bottom - top) / self.size, top]])


class ArcfaceEncoder(FaceEncoder):
    """ArcFace: faces aligned by five points to 112 pixels, (x / 255 - 0.5) / 0.5."""

    size = iresnet.SIZE

    def _read(self, path: Path) -> nn.Module:
        try:
            return iresnet.IResNet.of(read_checkpoint(path))
        except (ValueError, RuntimeError) as error:
            raise AssetError(f"{path} does not hold ArcFace's weights: {str(error).splitlines()[0]}") from error

    def embed(self, crops: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n 512"]:
        embedding: Tensor = functional.normalize(self.network((crops / 255 - 0.5) / 0.5), dim=1)
        return embedding

    def frame(self, face: Face) -> Float[np.ndarray, "2 3"]:
        inverse = np.linalg.inv(np.vstack([similarity_to_template(face, self.size), [0, 0, 1]]))
        return inverse[:2]


def encoder_of(path: Path) -> FaceEncoder:
    """The network whose weights a file holds, by the names of its tensors.

    Raises:
        AssetError, UnsafeFileError: it holds neither's, or cannot be read.
    """
    kind: Callable[[Path], FaceEncoder] = FacenetEncoder if _FACENET_ONLY in read_checkpoint(path) else ArcfaceEncoder
    return kind(path)


def differentiable_crop(
    image: Float[Tensor, "1 3 h w"], frame: Float[np.ndarray, "2 3"], size: int
) -> Float[Tensor, "1 3 size size"]:
    """A piece of an image, by `FaceEncoder.frame`; averaged over what lies under each of its pixels.

    Differentiable with respect to the image. Beyond the image it is black.
    """
    height, width = image.shape[2:]
    fine = max(int(np.ceil(np.linalg.norm(frame[:, 0]))), 1)  # samples a pixel, so that none is skipped
    at = (torch.arange(size * fine, dtype=torch.float64) + 0.5) / fine
    matrix = torch.from_numpy(frame)
    x = matrix[0, 0] * at + matrix[0, 1] * at[:, None] + matrix[0, 2]
    y = matrix[1, 0] * at + matrix[1, 1] * at[:, None] + matrix[1, 2]
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)[None].to(image)
    sampled = functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return functional.avg_pool2d(sampled, fine)
