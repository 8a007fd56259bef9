"""Options of the `absgs` densifier."""

from collections.abc import Mapping

from pydantic import Field, PositiveFloat

from instax3d.splats.density_control.options import DensityOptions


class AbsGSConfig(DensityOptions):
    """One threshold on absolute gradients, as in gsplat and in Instax3D; or a second one for clones, as in AbsGS."""

    grow_grad2d: PositiveFloat = 4.0e-4
    """Mean absolute gradient above which a Gaussian is cloned or split (AbsGS: 4e-4; gsplat: 8e-4; Instax3D: 2e-4)."""
    clone_grad2d: PositiveFloat | None = None
    """Mean gradient, not absolute, above which a small Gaussian is cloned (AbsGS: 2e-4). Without it, `grow_grad2d`
    applies to clones too."""
    grow_scale3d: PositiveFloat = 0.001
    """Size above which a Gaussian is split rather than cloned, as a share of the scene's extent (AbsGS: 0.001)."""
    revised_opacity: bool = True
    """Whether the two Gaussians of a clone or split get lower opacities, so that together they are as opaque as the one
    before (Rota Bulò et al. 2024); otherwise each keeps its opacity (AbsGS)."""
    prune_opacity: float = Field(0.02, ge=0, lt=1)
    """Opacity below which a Gaussian is removed."""
    prune_scale3d: PositiveFloat = 0.05
    """Size above which a Gaussian is removed, as a share of the scene's extent."""

    def ignored_options(self) -> Mapping[str, str]:
        return {} if self.clone_grad2d is not None else super().ignored_options()  # two thresholds weigh two gradients
