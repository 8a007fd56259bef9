"""Options of the metrics `pck` and `landmarks`."""

from typing import Annotated

from instax3d.plugin import Kind, PluginConfig, PluginRef


class PckConfig(PluginConfig):
    """The paper's detector."""

    detector: Annotated[str, PluginRef(Kind.LANDMARK_DETECTOR, any_of=frozenset({"points5", "landmarks68"}))] = "mtcnn"
    """Finds the five points, or the 68 that hold them."""


class LandmarksConfig(PluginConfig):
    """A detector that needs no third-party assets."""

    detector: Annotated[str, PluginRef(Kind.LANDMARK_DETECTOR, needs=frozenset({"landmarks68"}))] = "dlib"
    """Finds the 68 landmarks."""
