"""Options of the `absgs` densifier."""

from pydantic import Field, PositiveFloat, PositiveInt

from instax3d.plugin import PluginConfig


class AbsGSConfig(PluginConfig):
    """Thresholds are those of gsplat's `DefaultStrategy`, with absolute gradients."""

    grow_grad2d: PositiveFloat = 8.0e-4
    """Mean absolute image-plane gradient above which a Gaussian is cloned or split, for images of width 2
    (gsplat suggests 8e-4; the paper states 2e-4)."""
    grow_scale3d: PositiveFloat = 0.001
    """Size, as a share of the scene, above which a Gaussian is split rather than cloned (AbsGS: 0.001)."""
    prune_opacity: float = Field(0.02, ge=0, lt=1)
    """Opacity below which a Gaussian is removed."""
    prune_scale3d: PositiveFloat = 0.05
    """Size, as a share of the scene, above which a Gaussian is removed."""
    refine_every: PositiveInt = 100
    """Steps between refinements (paper: 1,000)."""
    refine_start: float = Field(0.05, ge=0, le=1)
    """Share of the run before the first refinement."""
    refine_stop: float = Field(0.6, ge=0, le=1)
    """Share of the run after the last refinement."""
    max_gaussians: PositiveInt = 120_000
    """Growth stops here; the largest gradients come first."""
