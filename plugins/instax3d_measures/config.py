"""Options of the metrics."""

from instax3d.plugin import PluginConfig


class NoOptions(PluginConfig):
    """There is nothing to choose."""


class LikenessConfig(PluginConfig):
    """From where a portrait is compared with the photo."""

    turn: bool = False
    """Also from all around; takes some seconds."""
