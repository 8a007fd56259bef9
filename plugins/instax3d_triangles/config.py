"""Options of the `triangles` representation."""

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from instax3d.plugin import PluginConfig


class TrianglesConfig(PluginConfig):
    """Residuals are in local units: multiples of the triangle's scale s_tri."""

    points_per_face: PositiveInt = 4
    """Gaussians that each triangle starts with (paper: 4, about 40,000 in all)."""
    hull_points: NonNegativeInt = 20_000
    """Gaussians at most that start on the views' visual hull where the mesh does not reach: hair, clothes, shoulders.
    Each is tied to the nearest triangle. 0 leaves them out, as in the paper."""
    sh_degree: int = Field(0, ge=0, le=3)
    """Degree of the spherical harmonics."""
    initial_opacity: float = Field(0.8, gt=0, lt=1)
    """Opacity at the start."""
    position_threshold: NonNegativeFloat = 1.0
    """How far a Gaussian may leave its start before the geometry constraint pulls, in local units."""
    position_weight: NonNegativeFloat = 0.01
    """Weight of that pull."""
    scale_threshold: PositiveFloat = 0.6
    """Size above which the geometry constraint shrinks a Gaussian, in local units (never below its start size)."""
    scale_weight: NonNegativeFloat = 1.0
    """Weight of that shrinking."""
    means_rate: PositiveFloat = 0.02
    """Adam's start rate of the position residuals, in local units."""
    quats_rate: PositiveFloat = 0.01
    """Adam's start rate of the rotation residuals."""
    scales_rate: PositiveFloat = 0.02
    """Adam's start rate of the logarithmic scale residuals."""
    opacities_rate: PositiveFloat = 0.05
    """Adam's start rate of the opacity logits."""
    sh_rate: PositiveFloat = 0.02
    """Adam's start rate of the constant colour; the higher harmonics get a twentieth (3DGS)."""
