"""Options of the `mtcnn` landmark detector."""

from typing import Annotated

from pydantic import Field

from instax3d.plugin import AssetRef, PluginConfig


class MtcnnConfig(PluginConfig):
    """Defaults are those of facenet-pytorch."""

    weights: Annotated[str | None, AssetRef("mtcnn")] = None
    """``mtcnn`` or a folder with ``pnet.pt``, ``rnet.pt`` and ``onet.pt``; without it the package facenet-pytorch's."""
    smallest_face: float = Field(20.0, ge=12)
    """Pixels of the searched image, whose longer side is at most 1600."""
