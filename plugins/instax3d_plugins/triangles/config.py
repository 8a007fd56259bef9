"""Options of the `triangles` representation."""

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from instax3d.splats.initialization.options import InitOptions


class TrianglesConfig(InitOptions):
    """Residuals are in local units: multiples of the triangle's scale s_tri."""

    points_per_face: PositiveInt = 4
    """Gaussians that each triangle starts with (paper: 4, about 40,000 in all)."""
    position_threshold: NonNegativeFloat = 1.0
    """Distance from its anchor beyond which the geometry constraint pulls a Gaussian back, in local units."""
    position_weight: NonNegativeFloat = 0.01
    """Weight of that term."""
    hold_hull: bool = True
    """Whether that term applies to Gaussians that started on the hull; otherwise only their triangle's motion moves
    them."""
    scale_threshold: PositiveFloat = 0.6
    """Size above which the geometry constraint shrinks a Gaussian, in local units (never below its initial size)."""
    scale_weight: NonNegativeFloat = 1.0
    """Weight of that term."""
    means_rate: PositiveFloat = 0.02
    """Adam's initial learning rate of the position residuals, in local units."""
