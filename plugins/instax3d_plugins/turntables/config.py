"""Options of the turntable sources. Never imports torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from instax3d.plugin import Kind, NamedPlugin, PluginConfig, PluginRef


class HeadsConfig(PluginConfig):
    """How heads are rendered."""

    head: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL)] = "mannequin"
    """The head model that is rendered."""
    size: int = Field(576, ge=16)
    """Pixels a side (SV3D: 576)."""
    elevation_deg: float = Field(0.0, gt=-60, lt=60)
    """Of the cameras; the paper's is fixed too."""
    turn_deg: float = Field(10.0, ge=0, le=45)
    """The input view lies up to this many degrees to the side of the face's front."""


class CapturesConfig(PluginConfig):
    """Which captures become turntables."""

    folder: Path
    """Each of its subfolders with a transforms.json is one capture."""
    size: PositiveInt = 576
    """Pixels a side."""
    up: Literal["y", "z"] = "y"
    """The upright axis of the captures' worlds."""
    front_deg: float = 0.0
    """Azimuth of the input view: from +z towards +x where y is up (from -y towards +x where z is)."""
    tolerance_deg: float = Field(6.0, gt=0, le=15)
    """How far a frame may lie from its target azimuth; a capture without a frame there is refused."""
