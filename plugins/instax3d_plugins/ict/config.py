"""Options of the `ict` mesh prior. Never imports torch."""

from typing import Annotated

from pydantic import Field

from instax3d.plugin import AssetRef, PluginConfig


class IctConfig(PluginConfig):
    """Where ICT-FaceKit is, and how much of it is fitted."""

    model: Annotated[str, AssetRef("ict-facekit")] = "ict-facekit"
    """This asset, or the path of the published folder, of its archive, or of a converted .npz (quicker to read)."""
    shape_components: int = Field(50, ge=1, le=100)
    """How many of the identities are fitted, in the model's order."""
