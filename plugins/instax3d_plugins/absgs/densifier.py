"""AbsGS: absolute gradients do not cancel where pixels pull a Gaussian in opposite directions, as in blurred regions.

Ye et al., "AbsGS: Recovering fine details in 3D Gaussian splatting", ACM MM 2024; Instax3D, Eq. 8.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from instax3d.splats.density_control.control import AdaptiveDensityControl, Candidates, Gradient

from .config import AbsGSConfig


class AbsGS(AdaptiveDensityControl[AbsGSConfig]):
    """Grows Gaussians with large absolute image-plane gradients."""

    def gradient_kinds(self) -> tuple[Gradient, ...]:
        return ("absolute",) if self.config.clone_grad2d is None else ("absolute", "signed")

    def select(self, small: Bool[Tensor, "n"]) -> Candidates:
        excess = self.gradients["absolute"].mean() / self.config.grow_grad2d
        if self.config.clone_grad2d is not None:
            excess = torch.where(small, self.gradients["signed"].mean() / self.config.clone_grad2d, excess)
        return Candidates(mask=excess > 1, priority=excess)
