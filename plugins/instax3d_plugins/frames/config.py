"""Options of the `frames` view generator."""

from pydantic import PositiveInt

from instax3d.plugin import PluginConfig


class FramesConfig(PluginConfig):
    """How a capture's frames are taken."""

    max_size: PositiveInt = 1024
    """Longest side of the views, pixels; larger frames are reduced to it, and their cameras exactly with them."""
