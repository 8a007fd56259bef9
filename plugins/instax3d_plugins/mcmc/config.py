"""Options of the `mcmc` densifier."""

from pydantic import Field, NonNegativeFloat, PositiveFloat

from instax3d.splats.density_control.options import RefinementOptions


class MCMCConfig(RefinementOptions):
    """The values of 3DGS-MCMC, except the shares of the run (there: steps 500 to 25,000 of 30,000) and the cap."""

    growth: PositiveFloat = 0.05
    """Gaussians added at each refinement, as a share of their number."""
    min_opacity: float = Field(0.005, gt=0, lt=1)
    """Opacity up to which a Gaussian counts as dead and is relocated to a living one."""
    noise_rate: NonNegativeFloat = 5.0e5
    """Strength of the noise on the means, in multiples of their learning rate; for lengths in scene extents."""
    opacity_weight: NonNegativeFloat = 0.01
    """Weight of the mean opacity in the loss, which removes useless Gaussians."""
    scale_weight: NonNegativeFloat = 0.01
    """Weight of the mean size in the loss, in scene extents."""
    refine_stop: float = Field(0.8, ge=0, le=1)
    """Share of the run at which refinement ends."""
