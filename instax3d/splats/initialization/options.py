"""Options of representations that start on the head's surface. Never imports torch."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat

from instax3d.plugin import PluginConfig


class InitOptions(PluginConfig):
    """Start and appearance. Rates are those of Adam at the start."""

    renamed: ClassVar[Mapping[str, str]] = {"colours_from_views": "colors_from_views"}

    points_per_face: NonNegativeInt = 4
    """Gaussians that each triangle of the head mesh starts with (paper: 4, about 40,000 in all)."""
    hull_points: NonNegativeInt = 20_000
    """Gaussians at most that start on the views' visual hull where the mesh does not reach: hair, clothes, shoulders;
    0 leaves them out, as in the paper."""
    colors_from_views: bool = True
    """Whether start colors are read from the views; otherwise all start gray."""
    sh_degree: int = Field(0, ge=0, le=3)
    """Degree of the spherical harmonics."""
    initial_opacity: float = Field(0.8, gt=0, lt=1)
    """Opacity at the start."""
    quats_rate: PositiveFloat = 0.01
    """Rate of the rotations."""
    scales_rate: PositiveFloat = 0.02
    """Rate of the logarithmic scales."""
    opacities_rate: PositiveFloat = 0.05
    """Rate of the opacity logits."""
    sh_rate: PositiveFloat = 0.02
    """Rate of the constant color; the higher harmonics get a twentieth (3DGS)."""
