"""Options of the metrics `facenet` and `arcface`."""

from typing import Annotated

from instax3d.plugin import AssetRef, Kind, PluginConfig, PluginRef


class FacenetConfig(PluginConfig):
    """FaceNet's network, trained on VGGFace2 as in the paper."""

    weights: Annotated[str, AssetRef("facenet-vggface2")] = "facenet-vggface2"
    """``facenet-vggface2`` or a path to the file."""
    detector: Annotated[str, PluginRef(Kind.LANDMARK_DETECTOR, any_of=frozenset({"points5", "landmarks68"}))] = "dlib"
    """Finds the faces that are compared."""


class ArcfaceConfig(PluginConfig):
    """ArcFace's network."""

    weights: Annotated[str, AssetRef("arcface-iresnet50")] = "arcface-iresnet50"
    """``arcface-iresnet50`` or a path to a ``backbone.pth`` of iresnet50 or iresnet100."""
    detector: Annotated[str, PluginRef(Kind.LANDMARK_DETECTOR, any_of=frozenset({"points5", "landmarks68"}))] = "dlib"
    """Finds the faces that are compared, and the points that align them."""
