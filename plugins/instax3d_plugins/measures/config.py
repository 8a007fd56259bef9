"""Options of the metrics."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import PositiveFloat

from instax3d.plugin import PluginConfig


class LikenessConfig(PluginConfig):
    """From where a portrait is compared with the photo."""

    turn: bool = False
    """Also from all around; takes some seconds."""


class SurfaceConfig(PluginConfig):
    """What a true surface is compared in."""

    renamed: ClassVar[Mapping[str, str]] = {"units_per_metre": "units_per_meter"}

    units_per_meter: PositiveFloat | None = None
    """Length of a meter in the capture's world; None: as long as the fitted head takes it to be."""
