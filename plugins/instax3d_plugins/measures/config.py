"""Options of the metrics."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import PositiveFloat

from instax3d.plugin import PluginConfig


class LikenessConfig(PluginConfig):
    """From which cameras a portrait is compared with the photo."""

    turn: bool = False
    """Also over a turn; takes some seconds."""


class SurfaceConfig(PluginConfig):
    """The unit in which a true surface is compared."""

    renamed: ClassVar[Mapping[str, str]] = {"units_per_metre": "units_per_meter"}

    units_per_meter: PositiveFloat | None = None
    """Length of a meter in the capture's world; None: from the fitted head."""
