"""Options of plain 3D Gaussian Splatting: the `unbound` representation, the `adc` and `none` densifiers."""

from pydantic import PositiveFloat

from instax3d.splats.density_control.options import DensityOptions
from instax3d.splats.initialization.options import InitOptions


class UnboundConfig(InitOptions):
    """With `points_per_face` 0, the points cover the whole visual hull: an initialization without the mesh."""

    means_rate: PositiveFloat = 1.0e-4
    """Adam's initial learning rate of the means, in meters (3DGS: 1.6e-4 of the scene's extent)."""


class ADCConfig(DensityOptions):
    """3DGS's own values, except the shares of the run (there: steps 500 to 15,000 of 30,000)."""

    grow_grad2d: PositiveFloat = 2.0e-4
    """Mean gradient above which a Gaussian is cloned or split."""
