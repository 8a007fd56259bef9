"""Options of the `gof` densifier."""

from pydantic import Field, PositiveFloat

from instax3d.splats.density_control.options import DensityOptions


class GOFConfig(DensityOptions):
    """The values of Gaussian Opacity Fields, except the shares of the run (there: steps 500 to 15,000 of 30,000)."""

    grow_grad2d: PositiveFloat = 2.0e-4
    """Mean gradient, not absolute, above which a Gaussian is cloned or split; an equal share of all is, by the
    absolute gradients, whatever their size."""
    prune_opacity: float = Field(0.05, ge=0, lt=1)
    """Opacity below which a Gaussian is removed."""
