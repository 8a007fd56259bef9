"""The perceptual loss LPIPS."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from instax3d.assets import require
from instax3d.errors import AssetError
from instax3d.interfaces import Loss
from instax3d.io.safeload import read_checkpoint
from instax3d.types import HeadMesh, LossStep, Views

from .config import LpipsConfig
from .vgg import PerceptualDistance

_SMALLEST = 16
"""Side, pixels, that four poolings leave one pixel of."""


class Lpips(Loss[LpipsConfig]):
    """LPIPS between render and view, each pixel by the view's confidence."""

    def start(self, mesh: HeadMesh, views: Views, device: torch.device) -> None:
        """Load the network.

        Raises:
            AssetError, UnsafeFileError: its files are not there, or are something else.
        """
        files = require("lpips-vgg16", self.config.weights).files
        vgg16, linear = files["vgg16-397923af.pth"], files["vgg.pth"]
        try:
            network = PerceptualDistance.of(read_checkpoint(vgg16), read_checkpoint(linear))
        except ValueError as error:
            raise AssetError(f"{vgg16} and {linear} do not hold the weights of LPIPS by VGG16: {error}") from error
        self._network = network.to(device)

    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        image, target, weight = step.render.image, step.view.image, step.view.confidence
        height, width = image.shape[2:]
        share = self.config.size / max(height, width)
        if share < 1:
            size = [max(round(side * share), _SMALLEST) for side in (height, width)]
            image, target = (functional.interpolate(each, size, mode="area") for each in (image, target))
            weight = None if weight is None else functional.interpolate(weight, size, mode="area")
        return {"lpips": self._network(image, target, weight)}
