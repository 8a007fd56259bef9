"""AbsGS: absolute gradients do not cancel where a Gaussian is pulled both ways, so blurred regions are found.

Ye et al., "AbsGS: Recovering fine details in 3D Gaussian splatting", ACM MM 2024; Instax3D, Eq. 8.
"""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from collections.abc import Mapping
from typing import Any

import torch
from gsplat.strategy.ops import duplicate, remove, split
from jaxtyping import Bool, Float
from torch import Tensor

from instax3d.interfaces import Densifier
from instax3d.types import DensifyReport, DensifyStep

from .config import AbsGSConfig


class AbsGS(Densifier[AbsGSConfig]):
    """Clones small and splits large Gaussians with a large mean absolute gradient; removes faint and huge ones.

    Sizes are compared in the world (`DensifyStep.gaussians`), so that parameters in local units are judged alike;
    gsplat's operations edit parameters and optimizers together and draw the halves of a split in those units.
    """

    absgrad = True

    def __init__(self, config: AbsGSConfig) -> None:
        super().__init__(config)
        self._gradients: Tensor | None = None
        self._counts: Tensor | None = None

    def before_backward(self, step: DensifyStep) -> None:
        step.render.info["means2d"].retain_grad()

    def after_backward(self, step: DensifyStep) -> DensifyReport:
        config = self.config
        start, stop = config.refine_start * step.total_steps, config.refine_stop * step.total_steps
        if step.step > stop:
            return DensifyReport()
        self._accumulate(step)
        if step.step < start or step.step == 0 or step.step % config.refine_every:
            return DensifyReport()
        report = self._refine(step)
        self._gradients = self._counts = None
        return report

    def _accumulate(self, step: DensifyStep) -> None:
        info = step.render.info
        # In units of half the image and of one camera, as gsplat and 3DGS count.
        half = torch.tensor([info["width"] / 2, info["height"] / 2]) * info["n_cameras"]
        absolute = info["means2d"].absgrad
        norms = (absolute * half.to(absolute)).norm(dim=-1)
        seen = (info["radii"] > 0).all(-1)
        if self._gradients is None or self._counts is None:
            self._gradients = torch.zeros_like(norms[0])
            self._counts = torch.zeros_like(norms[0])
        self._gradients += (norms * seen).sum(0)
        self._counts += seen.sum(0)

    def _refine(self, step: DensifyStep) -> DensifyReport:
        config = self.config
        assert self._gradients is not None
        assert self._counts is not None
        gradients = self._gradients / self._counts.clamp_min(1)
        sizes = step.gaussians.scales.detach().amax(1) / step.scene_scale
        before = len(sizes)
        grow = self._strongest(gradients, room=config.max_gaussians - before)
        small = sizes <= config.grow_scale3d
        clone, halve = grow & small, grow & ~small
        born = int(clone.sum()) + int(halve.sum())
        splats, optimizers = step.splats, dict(step.optimizers)
        if clone.any():
            duplicate(splats, optimizers, {}, clone)
        halve = torch.cat([halve, halve.new_zeros(int(clone.sum()))])
        sizes = torch.cat([sizes, sizes[clone]])
        if halve.any():
            split(splats, optimizers, {}, halve)
            sizes = torch.cat([sizes[~halve], sizes[halve].repeat(2) / 1.6])
        unwanted = (splats["opacities"].detach().sigmoid() < config.prune_opacity) | (sizes > config.prune_scale3d)
        if unwanted.all():  # an empty scene could never recover
            unwanted[:] = False
        if unwanted.any():
            remove(splats, optimizers, {}, unwanted)
        return DensifyReport(born=born, died=int(unwanted.sum()))

    def _strongest(self, gradients: Float[Tensor, "n"], room: int) -> Bool[Tensor, "n"]:
        """Those above the threshold, the strongest ``room`` of them at most."""
        grow = gradients > self.config.grow_grad2d
        if int(grow.sum()) > room:
            keep = torch.topk(gradients, max(room, 0)).indices
            grow = torch.zeros_like(grow).scatter(0, keep, grow[keep])
        return grow

    def state_dict(self) -> dict[str, Any]:
        return {} if self._gradients is None else {"gradients": self._gradients, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._gradients, self._counts = state.get("gradients"), state.get("counts")
