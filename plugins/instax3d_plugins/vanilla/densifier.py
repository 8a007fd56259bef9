"""The density control of 3D Gaussian Splatting (Kerbl et al. 2023), and none at all."""

from jaxtyping import Bool
from torch import Tensor

from instax3d.interfaces import Densifier
from instax3d.plugin import PluginConfig
from instax3d.splats.density_control.control import AdaptiveDensityControl, Candidates, Gradient
from instax3d.types import DensifyReport, DensifyStep

from .config import ADCConfig


class ADC(AdaptiveDensityControl[ADCConfig]):
    """Grows Gaussians with large summed image-plane gradients (Instax3D, Eq. 7)."""

    def gradient_kinds(self) -> tuple[Gradient, ...]:
        return ("signed",)

    def select(self, small: Bool[Tensor, "n"]) -> Candidates:
        excess = self.gradients["signed"].mean() / self.config.grow_grad2d
        return Candidates(mask=excess > 1, priority=excess)


class NoDensifier(Densifier[PluginConfig]):
    """Adds and removes nothing."""

    def before_backward(self, step: DensifyStep) -> None: ...

    def after_step(self, step: DensifyStep) -> DensifyReport:
        return DensifyReport()
