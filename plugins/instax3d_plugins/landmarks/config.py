"""Options of the `landmarks` mesh prior. Never imports torch."""

from typing import Annotated

from pydantic import PositiveInt

from instax3d.plugin import Kind, NamedPlugin, PluginConfig, PluginRef


class LandmarksConfig(PluginConfig):
    """Which head is fitted, and how much of it."""

    head: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL)] = "mannequin"
    """The head model."""
    shape_components: PositiveInt | None = None
    """How many of the model's shape components are fitted, in its order; null: as many as the model recommends."""
