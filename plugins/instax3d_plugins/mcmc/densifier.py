"""Gaussians as samples of a Markov chain: nothing is cut, dead Gaussians move to where living ones are.

Kheradmand et al., "3D Gaussian Splatting as Markov Chain Monte Carlo", NeurIPS 2024.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instax3d.geometry.rotations import quat_to_matrix
from instax3d.interfaces import Densifier
from instax3d.types import DensifyReport, DensifyStep

from .config import MCMCConfig
from .relocation import shared_between, take_rows

# The noise fades with opacity by a logistic curve of this slope about this transparency (the reference's numbers).
_SLOPE, _TRANSPARENT = 100.0, 0.995
_OPAQUE = 0.1
"""Opacity above which the noise, then below 3e-5 of its strength, is left out: drawing it costs time."""


class MCMC(Densifier[MCMCConfig]):
    """Works in the units of the parameters: relocation copies residuals with their binding and shrinks them by a
    factor, and noise in the shape of a covariance keeps that shape under a triangle's rotation and scale.

    gsplat's `MCMCStrategy` does not serve: its relocation and its noise are CUDA kernels.
    """

    def __init__(self, config: MCMCConfig) -> None:
        super().__init__(config)
        self._unit: Tensor | None = None

    def before_backward(self, step: DensifyStep) -> None:
        """Notes how long a parameter's unit is in the world, and adds the gradients of this densifier's own losses."""
        gaussians, config = step.gaussians, self.config
        self._unit = (gaussians.scales / step.splats["scales"].exp())[:, :1].detach() / step.scene_scale
        own = config.opacity_weight * gaussians.opacities.mean()
        own = own + config.scale_weight * gaussians.scales.mean() / step.scene_scale
        if own.requires_grad:
            own.backward(retain_graph=True)

    @torch.no_grad()
    def after_step(self, step: DensifyStep) -> DensifyReport:
        config = self.config
        if config.noise_rate:
            self._shake(step)
        return self._refine(step) if config.refines_at(step.step, step.total_steps) else DensifyReport()

    def _shake(self, step: DensifyStep) -> None:
        """Adds ``noise_rate * rate * covariance @ normal`` to the means of faint Gaussians, all in scene extents."""
        splats = step.splats
        opacities = splats["opacities"].sigmoid()
        faint = torch.nonzero(opacities < _OPAQUE)[:, 0]
        if not len(faint) or self._unit is None:
            return
        rate = step.optimizers["means"].param_groups[0]["lr"]
        unit = self._unit[faint]
        fading = torch.sigmoid(_SLOPE * (1 - opacities[faint, None] - _TRANSPARENT))
        axes = quat_to_matrix(splats["quats"][faint]) * splats["scales"][faint].exp()[:, None]
        noise = torch.randn(len(faint), 3, device=axes.device, dtype=axes.dtype)
        shaped = torch.einsum("nij,nkj,nk->ni", axes, axes, noise)
        # A rate and a covariance in parameter units are `unit` and its square in the world, a step is 1 / `unit` of it.
        splats["means"][faint] += self.config.noise_rate * rate * unit**2 * fading * shaped

    def _refine(self, step: DensifyStep) -> DensifyReport:
        splats, config = step.splats, self.config
        opacities = splats["opacities"].sigmoid()
        dead = opacities <= config.min_opacity
        if dead.all():  # nothing to move them to
            return DensifyReport()
        count = len(dead)
        self._put(step, torch.arange(count, device=dead.device), dead)
        added = max(0, min(config.max_gaussians, int((1 + config.growth) * count)) - count)
        if added:
            rows = torch.cat([torch.arange(count), torch.zeros(added, dtype=torch.int64)]).to(dead.device)
            self._put(step, rows, torch.arange(len(rows), device=dead.device) >= count)
        return DensifyReport(born=added)

    def _put(self, step: DensifyStep, rows: Int[Tensor, "m"], wanted: Bool[Tensor, "m"]) -> None:
        """Fill the rows that are ``wanted`` with copies of others, drawn by opacity, and share out what these held."""
        number = int(wanted.sum())
        if not number:
            return
        splats = step.splats
        opacities: Float[Tensor, "n"] = splats["opacities"].sigmoid()
        living = torch.where(wanted[: len(opacities)], 0.0, opacities)
        sources = torch.multinomial(living, number, replacement=True)
        rows = rows.clone()
        rows[wanted] = sources
        counts = torch.bincount(sources, minlength=len(opacities)) + 1
        opacity, scales = shared_between(opacities, splats["scales"].exp(), counts)
        shared = counts > 1
        least = torch.finfo(opacity.dtype).eps
        opacity = opacity.clamp(self.config.min_opacity, 1 - least)
        splats["opacities"][shared] = opacity[shared].logit()
        splats["scales"][shared] = scales[shared].log()
        take_rows(splats, step.optimizers, rows, shared[rows])
