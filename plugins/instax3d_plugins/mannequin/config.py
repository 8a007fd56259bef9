"""Options of the mannequin. Never imports torch."""

from pydantic import Field

from instax3d.plugin import PluginConfig


class MannequinConfig(PluginConfig):
    """Options of the mannequin prior."""

    shape_components: int = Field(default=30, ge=1, le=60)
    """How many of the 60 shape components are fitted, in order of importance."""
