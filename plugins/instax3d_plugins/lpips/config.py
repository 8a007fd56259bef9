"""Options of the loss `lpips`."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat

from instax3d.plugin import AssetRef, LossConfig


class LpipsConfig(LossConfig):
    """LPIPS with VGG16."""

    weight: NonNegativeFloat = 0.05
    """Factor of the loss in the sum that is minimized."""
    weights: Annotated[str, AssetRef("lpips-vgg16")] = "lpips-vgg16"
    """``lpips-vgg16`` or a folder with ``vgg16-397923af.pth`` and ``vgg.pth``."""
    size: int = Field(256, ge=16)
    """Longer side, pixels, to which larger images are reduced before they are compared: the network takes far longer
    than a step without it."""
