"""Options."""

from typing import Annotated

from instax3d import AssetRef, PluginConfig


class LabFaceConfig(PluginConfig):
    """Where the model is."""

    file: Annotated[str, AssetRef("labface")] = "labface"
    """This asset, or the path of the file."""
