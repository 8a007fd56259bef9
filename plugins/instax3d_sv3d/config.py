"""Options of the `sv3d` view generator."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from instax3d.plugin import PluginConfig

CameraModulation = Literal["aware", "invariant"]


class Sv3dConfig(PluginConfig):
    """Views by Stable Video 3D."""

    weights: Path | None = None
    """An official file (sv3d_u.safetensors, sv3d_p.safetensors), or a folder that `instax3d sv3d convert` or
    fine-tuning wrote."""
    camera: CameraModulation = "invariant"
    steps: int = Field(50, ge=1, le=1000)
