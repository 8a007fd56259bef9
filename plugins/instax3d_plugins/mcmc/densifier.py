"""Gaussians as samples of a Markov chain: none is pruned, dead Gaussians are relocated to living ones.

Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo", NeurIPS 2024.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instax3d.geometry.rotations import quat_to_matrix
from instax3d.interfaces import Densifier
from instax3d.types import DensifyReport, DensifyStep

from .config import MCMCConfig
from .relocation import shared_between, take_rows

# The noise decreases with opacity by a logistic curve of this slope around this transparency (the reference's).
_SLOPE, _TRANSPARENT = 100.0, 0.995
_OPAQUE = 0.1
"""Opacity above which noise is not drawn, to save time; it would be below 3e-5 of its strength."""


class MCMC(Densifier[MCMCConfig]):
    """Works in the units of the parameters: relocation copies residuals with their binding and scales them by a
    factor, and noise shaped by a covariance keeps that shape under a triangle's rotation and scale.

    gsplat's `MCMCStrategy` is not used: its relocation and its noise are CUDA kernels.
    """

    def __init__(self, config: MCMCConfig) -> None:
        super().__init__(config)
        self._unit: Tensor | None = None

    def losses(self, step: DensifyStep) -> Mapping[str, Float[Tensor, ""]]:
        """3DGS-MCMC's own: the mean opacity and the mean size in scene extents, weighted."""
        gaussians, config = step.gaussians, self.config
        return {
            "opacity": config.opacity_weight * gaussians.opacities.mean(),
            "scale": config.scale_weight * gaussians.scales.mean() / step.scene_scale,
        }

    def before_backward(self, step: DensifyStep) -> None:
        """Stores the length of a parameter unit in the world."""
        self._unit = (step.gaussians.scales / step.splats["scales"].exp())[:, :1].detach() / step.scene_scale

    @torch.no_grad()
    def after_step(self, step: DensifyStep) -> DensifyReport:
        config = self.config
        if config.noise_rate:
            self._add_noise(step)
        return self._refine(step) if config.refines_at(step.step, step.total_steps) else DensifyReport()

    def _add_noise(self, step: DensifyStep) -> None:
        """Adds ``noise_rate * rate * covariance @ normal`` to the means of faint Gaussians, all in scene extents."""
        splats = step.splats
        opacities = splats["opacities"].sigmoid()
        faint = torch.nonzero(opacities < _OPAQUE)[:, 0]
        if not len(faint) or self._unit is None:
            return
        rate = step.optimizers["means"].param_groups[0]["lr"]
        unit = self._unit[faint]
        strength = torch.sigmoid(_SLOPE * (1 - opacities[faint, None] - _TRANSPARENT))
        axes = quat_to_matrix(splats["quats"][faint]) * splats["scales"][faint].exp()[:, None]
        noise = torch.randn(len(faint), 3, device=axes.device, dtype=axes.dtype)
        shaped = torch.einsum("nij,nkj,nk->ni", axes, axes, noise)
        # In the world a rate in parameter units is `unit` times as long, a covariance its square; a step 1 / `unit`.
        splats["means"][faint] += self.config.noise_rate * rate * unit**2 * strength * shaped

    def _refine(self, step: DensifyStep) -> DensifyReport:
        splats, config = step.splats, self.config
        opacities = splats["opacities"].sigmoid()
        dead = opacities <= config.min_opacity
        if dead.all():  # none to relocate to
            return DensifyReport()
        count = len(dead)
        self._relocate(step, torch.arange(count, device=dead.device), dead)
        added = max(0, min(config.max_gaussians, int((1 + config.growth) * count)) - count)
        if added:
            rows = torch.cat([torch.arange(count), torch.zeros(added, dtype=torch.int64)]).to(dead.device)
            self._relocate(step, rows, torch.arange(len(rows), device=dead.device) >= count)
        reasons = {"relocated": int(dead.sum()), "added": added}
        return DensifyReport(born=added, reasons={reason: number for reason, number in reasons.items() if number})

    def _relocate(self, step: DensifyStep, rows: Int[Tensor, "m"], targets: Bool[Tensor, "m"]) -> None:
        """Fill the rows of ``targets`` with copies of Gaussians drawn by opacity, which share their opacity."""
        number = int(targets.sum())
        if not number:
            return
        splats = step.splats
        opacities: Float[Tensor, "n"] = splats["opacities"].sigmoid()
        weights = torch.where(targets[: len(opacities)], 0.0, opacities)
        sources = torch.multinomial(weights, number, replacement=True)
        rows = rows.clone()
        rows[targets] = sources
        counts = torch.bincount(sources, minlength=len(opacities)) + 1
        opacity, scales = shared_between(opacities, splats["scales"].exp(), counts)
        shared = counts > 1
        eps = torch.finfo(opacity.dtype).eps
        opacity = opacity.clamp(self.config.min_opacity, 1 - eps)
        splats["opacities"][shared] = opacity[shared].logit()
        splats["scales"][shared] = scales[shared].log()
        take_rows(splats, step.optimizers, rows, shared[rows])
