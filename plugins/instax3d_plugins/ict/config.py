"""Options of the head model `ict`. Never imports torch."""

from typing import Annotated

from instax3d.plugin import AssetRef, PluginConfig


class IctConfig(PluginConfig):
    """Where ICT-FaceKit is."""

    model: Annotated[str, AssetRef("ict-facekit")] = "ict-facekit"
    """This asset, or the path of the published folder, of its archive, or of a converted .npz (quicker to read)."""
