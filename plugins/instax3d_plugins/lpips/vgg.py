"""LPIPS by VGG16, in plain torch, under torchvision's and LPIPS's names.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, version 0.1;
Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions between two poolings."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS's normalization of colors in [-1, 1]."""
_EPS = 1e-10


def _indices() -> Iterator[list[int]]:
    """Of the convolutions of each stage in torchvision's ``features``, which count ReLUs and poolings too."""
    index = 0
    for channels in _STAGES:
        yield [index + 2 * place for place in range(len(channels))]
        index += 2 * len(channels) + 1


class PerceptualDistance(nn.Module):
    """The distance of images by the features after ReLU of conv1_2, conv2_2, conv3_3, conv4_3 and conv5_3."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        before = 3
        for indices, channels in zip(_indices(), _STAGES, strict=True):
            for index, count in zip(indices, channels, strict=True):
                self.features[str(index)] = nn.Conv2d(before, count, 3, padding=1)
                before = count
        self.channel_weights = nn.ParameterList([torch.zeros(channels[-1]) for channels in _STAGES])
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    @classmethod
    def of(cls, vgg16: Mapping[str, Any], linear: Mapping[str, Any]) -> "PerceptualDistance":
        """The frozen network with these weights.

        Args:
            vgg16: torchvision's state, of which ``features.*`` is used.
            linear: LPIPS's state: ``lin0.model.1.weight`` to ``lin4.model.1.weight``, [1, channels, 1, 1] each.

        Raises:
            ValueError: a tensor is missing or has another shape.
        """
        network = cls()
        state = {name: _tensor(vgg16, name, value.shape) for name, value in network.features_state().items()}
        for stage, channels in enumerate(_STAGES):
            weight = _tensor(linear, f"lin{stage}.model.1.weight", torch.Size([1, channels[-1], 1, 1]))
            state[f"channel_weights.{stage}"] = weight.flatten()
        network.load_state_dict(state | {"shift": network.shift, "scale": network.scale})
        return network.eval().requires_grad_(False)

    def features_state(self) -> dict[str, Tensor]:
        """The parameters of the convolutions, by torchvision's names."""
        return {name: value for name, value in self.state_dict().items() if name.startswith("features.")}

    def forward(
        self,
        image: Float[Tensor, "n 3 h w"],
        target: Float[Tensor, "n 3 h w"],
        weight: Float[Tensor, "n 1 h w"] | None = None,
    ) -> Float[Tensor, ""]:
        """The mean distance of colors in [0, 1]: over pixels, summed over stages (Eq. 1).

        ``weight`` multiplies each pixel before the mean, averaged down to the size of the features. Differentiable
        with respect to ``image`` only.
        """
        with torch.no_grad():
            wanted = list(self._stages(target))
        total = image.new_zeros(())
        for of_image, of_target, channels in zip(self._stages(image), wanted, self.channel_weights, strict=True):
            apart = ((of_image - of_target) ** 2 * channels[:, None, None]).sum(1, keepdim=True)
            if weight is not None:
                apart = apart * functional.interpolate(weight, apart.shape[2:], mode="area")
            total = total + apart.mean()
        return total

    def _stages(self, image: Float[Tensor, "n 3 h w"]) -> Iterator[Float[Tensor, "n c h2 w2"]]:
        """Features of each stage, of unit length over the channels."""
        x = (2 * image - 1 - self.shift) / self.scale
        for stage, indices in enumerate(_indices()):
            x = functional.max_pool2d(x, 2) if stage else x
            for index in indices:
                x = functional.relu(self.features[str(index)](x))
            yield x / (x.square().sum(1, keepdim=True) + _EPS**2).sqrt()  # finite gradient where all are 0


def _tensor(state: Mapping[str, Any], name: str, shape: torch.Size) -> Tensor:
    found = state.get(name) if isinstance(state, Mapping) else None
    if not isinstance(found, Tensor):
        raise ValueError(f"{name} is missing")
    if found.shape != shape:
        raise ValueError(f"{name} has the shape {list(found.shape)}, not {list(shape)}")
    return found.float()
