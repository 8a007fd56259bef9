"""Options of representations that are initialized on the head's surface. Never imports torch."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat

from instax3d.plugin import PluginConfig


class InitOptions(PluginConfig):
    """Initialization and appearance. Rates are Adam's initial learning rates."""

    renamed: ClassVar[Mapping[str, str]] = {"colours_from_views": "colors_from_views"}

    points_per_face: NonNegativeInt = 4
    """Initial Gaussians on each triangle of the head mesh (paper: 4, about 40,000 in all)."""
    hull_points: NonNegativeInt = 20_000
    """Maximum number of initial Gaussians on the views' visual hull where there is no mesh: hair, clothes, shoulders;
    0 for none, as in the paper."""
    colors_from_views: bool = True
    """Whether initial colors are sampled from the views; otherwise all Gaussians are gray."""
    sh_degree: int = Field(0, ge=0, le=3)
    """Degree of the spherical harmonics."""
    initial_opacity: float = Field(0.8, gt=0, lt=1)
    """Initial opacity."""
    quats_rate: PositiveFloat = 0.01
    """Learning rate of the rotations."""
    scales_rate: PositiveFloat = 0.02
    """Learning rate of the logarithmic scales."""
    opacities_rate: PositiveFloat = 0.05
    """Learning rate of the opacity logits."""
    sh_rate: PositiveFloat = 0.02
    """Learning rate of the constant color; the higher harmonics get a twentieth (3DGS)."""
