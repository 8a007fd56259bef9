"""Options of the metrics `facenet` and `arcface`, and of the loss `identity`."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat

from instax3d.plugin import AssetRef, Kind, LossConfig, PluginConfig, PluginRef


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


class IdentityConfig(LossConfig):
    """The likeness of the rendered face to the photo's."""

    weight: NonNegativeFloat = 0.1
    """Factor of the loss in the sum that is minimized."""
    weights: Annotated[str, AssetRef("facenet-vggface2", "arcface-iresnet50")] = "facenet-vggface2"
    """``facenet-vggface2``, ``arcface-iresnet50``, or a path to a file of either network."""
    reach_deg: float = Field(30.0, ge=0, le=90)
    """Angle, degrees, between the directions in which the photo's camera and a view's look, up to which the face is
    compared; 0 compares the photo's view alone."""
