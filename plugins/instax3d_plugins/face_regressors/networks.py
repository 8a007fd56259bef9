"""The three regressors' networks, with the names of their published checkpoints."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .resnet import WIDTH, ResNet50

DECA_OUTPUTS = 236
DEEP3D_HEADS = (80, 64, 80, 3, 27, 2, 1)
"""Identity, expression, texture, angles, illumination, x and y, z: 257."""
FACEVERSE_HEADS = (156, 177, 251, 27, 3, 2, 1, 4)
"""Identity, expression, texture, illumination, angles, x and y, z, eyes: 621."""


class DecaEncoder(nn.Module):
    """DECA's ``E_flame`` (Feng et al. 2021): the trunk and two linear layers, 236 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(nn.Linear(WIDTH, 1024), nn.ReLU(), nn.Linear(1024, DECA_OUTPUTS))

    def forward(self, image: Float[Tensor, "b 3 224 224"]) -> Float[Tensor, "b 236"]:
        """From RGB in [0, 1], without further normalization."""
        code: Tensor = self.layers(self.encoder(image))
        return code


class CoefficientNet(nn.Module):
    """The trunk with a 1x1 convolution per group of coefficients (Deng et al. 2019; Wang et al. 2022)."""

    def __init__(self, heads: Sequence[int]) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.final_layers = nn.ModuleList(nn.Conv2d(WIDTH, size, 1) for size in heads)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b outputs"]:
        """All groups in order, from RGB in [0, 1]."""
        features = self.backbone(image)[..., None, None]
        return torch.cat([layer(features).flatten(1) for layer in self.final_layers], 1)
