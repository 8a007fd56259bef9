"""Options of the metric `mvc`. Never imports torch."""

from typing import Annotated

from instax3d.plugin import AssetRef, PluginConfig


class MvcConfig(PluginConfig):
    """The paper's two networks."""

    clip: Annotated[str, AssetRef("clip-vit-large-patch14")] = "clip-vit-large-patch14"
    """``clip-vit-large-patch14`` or a folder with CLIP's ``config.json`` and weights."""
    dino: Annotated[str, AssetRef("dino-vits16")] = "dino-vits16"
    """``dino-vits16`` or a folder with DINO's ``config.json`` and weights."""
