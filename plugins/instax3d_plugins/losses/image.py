"""Losses between the render and the view."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.interfaces import Loss
from instax3d.splats.photometric import alpha_loss, photometric_loss
from instax3d.types import HeadMesh, LossStep, Views

from .config import AlphaConfig, OpacityConfig, PhotometricConfig

_INSIDE = 0.99
"""Alpha from which a pixel of a view shows nothing but the person; of eight-bit levels, the last three."""


class Photometric(Loss[PhotometricConfig]):
    """``(1 - w) L1 + w (1 - SSIM)``, the mean over pixels of both by the view's confidence (3DGS, Eq. 7)."""

    def warmup(self) -> None:
        """Compile the kernels."""
        image = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
        photometric_loss(image, torch.zeros(1, 3, 16, 16)).backward()

    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        view, weight = step.view, self.config.ssim_weight
        return {
            "photometric": photometric_loss(step.render.image, view.image, ssim_weight=weight, weight=view.confidence)
        }


class Alpha(Loss[AlphaConfig]):
    """``|alpha - alpha of the view|``, the mean over pixels by the view's confidence."""

    def warmup(self) -> None:
        """Compile the kernel."""
        alpha = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
        alpha_loss(alpha, torch.zeros(1, 1, 16, 16)).backward()

    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        return {"alpha": alpha_loss(step.render.alpha, step.view.alpha, weight=step.view.confidence)}


class Opacity(Loss[OpacityConfig]):
    """``1 - alpha`` where the view's alpha is 1, the mean over those pixels.

    The half of a silhouette loss that closes holes. The confidence does not count: a generated side may have the wrong
    colors, but there is a head.
    """

    def __init__(self, config: OpacityConfig) -> None:
        super().__init__(config)
        self._counts: list[bool] = []

    def start(self, mesh: HeadMesh, views: Views, device: torch.device) -> None:
        """Tell which views count."""
        if views.photo_index is None:
            self._counts = [True] * len(views)
            return
        forward = views.cameras.viewmats[:, 2, :3]
        cosines = forward @ forward[views.photo_index]
        self._counts = (cosines <= math.cos(math.radians(self.config.from_deg)) + 1e-6).tolist()

    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        inside = step.view.alpha >= _INSIDE
        if not self._counts[step.view_index] or not inside.any():
            return {}
        return {"opacity": (1 - step.render.alpha[inside]).mean()}
