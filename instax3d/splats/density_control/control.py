"""The cycle of adaptive density control: accumulate gradients, grow, prune, reset opacities."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import torch
from gsplat.strategy.ops import duplicate, remove, reset_opa, split
from jaxtyping import Bool, Float
from torch import Tensor

from instax3d.geometry.rotations import quat_to_matrix
from instax3d.interfaces import Densifier
from instax3d.types import DensifyReport, DensifyStep

from .gradients import ScreenGradients
from .options import DensityOptions

C = TypeVar("C", bound=DensityOptions)
Gradient = Literal["signed", "absolute"]
"""Kinds of image-plane gradients."""

_RESET_OPACITY = 0.01
"""What opacities are lowered to (3DGS)."""
_EPSILON = 1e-6
"""Opacities stay this far from 0 and 1, whose logits are infinite."""
_SHRINK = 1.6
"""How much smaller the halves of a split are (3DGS)."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Which Gaussians a densifier proposes to grow."""

    mask: Bool[Tensor, "n"]
    """Those beyond its thresholds."""
    priority: Float[Tensor, "n"]
    """How much each needs to grow, comparable between Gaussians; decides where there is not room for all."""


class AdaptiveDensityControl(Densifier[C]):
    """3DGS's density control (Kerbl et al. 2023, Sec. 5) around candidates that each densifier selects in its own way.

    Selected Gaussians are cloned if they are small, else split in two; then transparent and huge ones are removed, and
    at intervals all opacities are reset. Sizes are those in the world (`DensifyStep.gaussians`), so that parameters in
    local units are treated alike; gsplat's operations edit parameters and optimizers together, sample the halves of a
    split in the parameters' own units, and copy whatever else ``splats`` holds, such as a binding to triangles.

    gsplat's `DefaultStrategy` itself cannot be used: it takes the parameters' scales for lengths, and up to 1.5.3 never
    resets opacities.
    """

    jitter: ClassVar[bool] = False
    """Whether a clone is moved to a random position within its Gaussian."""

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self.gradients = {kind: ScreenGradients(absolute=kind == "absolute") for kind in self.gradient_kinds()}

    @abc.abstractmethod
    def gradient_kinds(self) -> tuple[Gradient, ...]:
        """Which gradients `select` uses; for the absolute ones the spec needs ``absgrad``."""

    @abc.abstractmethod
    def select(self, small: Bool[Tensor, "n"]) -> Candidates:
        """What should grow, by `gradients`; ``small`` Gaussians will be cloned, others split."""

    def before_backward(self, step: DensifyStep) -> None:
        """Retain the gradients of the projected means where they are used."""
        if "signed" in self.gradients:
            step.render.info["means2d"].retain_grad()

    def after_step(self, step: DensifyStep) -> DensifyReport:
        """Add the step's gradients; refine and reset opacities where they are due."""
        config = self.config
        if step.step > config.refine_stop * step.total_steps:
            return DensifyReport()
        for gradients in self.gradients.values():
            gradients.add(step)
        report = DensifyReport()
        if config.refines_at(step.step, step.total_steps):
            report = self._refine(step)
            for gradients in self.gradients.values():
                gradients.clear()
        if config.reset_every and step.step and step.step % config.reset_every == 0:
            reset_opa(step.splats, dict(step.optimizers), {}, value=_RESET_OPACITY)
        return report

    def _refine(self, step: DensifyStep) -> DensifyReport:
        splats, optimizers, config = step.splats, dict(step.optimizers), self.config
        sizes = step.gaussians.scales.detach().amax(1) / step.scene_scale
        small = sizes <= config.grow_scale3d
        grow = self._within_limit(self.select(small), self._transparent(splats), step)
        to_clone, to_split = grow & small, grow & ~small
        cloned = int(to_clone.sum())
        born = cloned + int(to_split.sum())
        if config.revised_opacity:
            _share_opacity(splats, grow)
        if to_clone.any():
            duplicate(splats, optimizers, {}, to_clone)
            if self.jitter:
                _jitter(splats, cloned)
        to_split = torch.cat([to_split, to_split.new_zeros(cloned)])
        sizes = torch.cat([sizes, sizes[to_clone]])
        if to_split.any():
            split(splats, optimizers, {}, to_split)
            sizes = torch.cat([sizes[~to_split], sizes[to_split].repeat(2) / _SHRINK])
        faint = self._transparent(splats)
        to_prune = faint | (sizes > config.prune_scale3d)
        if to_prune.all():  # an empty scene could never recover
            to_prune[:] = False
        if to_prune.any():
            remove(splats, optimizers, {}, to_prune)
        died, died_faint = int(to_prune.sum()), int((to_prune & faint).sum())
        reasons = {"cloned": cloned, "split": born - cloned, "faint": died_faint, "large": died - died_faint}
        return DensifyReport(born, died, {reason: count for reason, count in reasons.items() if count})

    def _transparent(self, splats: torch.nn.ParameterDict) -> Bool[Tensor, "n"]:
        opacities: Tensor = splats["opacities"].detach().sigmoid()
        return opacities < self.config.prune_opacity

    def _within_limit(
        self, candidates: Candidates, transparent: Bool[Tensor, "n"], step: DensifyStep
    ) -> Bool[Tensor, "n"]:
        """What may grow: no more than there is room for; nothing that is about to be pruned."""
        room = self.config.max_gaussians - int((~transparent).sum())
        if self.config.grow_by == "budget":
            remaining = range(step.step, step.total_steps)
            room = -(-room // max(sum(self.config.refines_at(index, step.total_steps) for index in remaining), 1))
            proposed = (candidates.priority > 0) & ~transparent
        else:
            proposed = candidates.mask & ~transparent
        if int(proposed.sum()) <= room:
            return proposed
        priority = torch.where(proposed, candidates.priority, -1.0)
        selected = torch.zeros_like(proposed)
        selected[torch.topk(priority, max(room, 0)).indices] = True
        return selected

    def state_dict(self) -> dict[str, Any]:
        """The accumulated gradients by kind."""
        return {kind: gradients.state_dict() for kind, gradients in self.gradients.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for kind, gradients in self.gradients.items():
            gradients.load_state_dict(state.get(kind, {}))


@torch.no_grad()
def _share_opacity(splats: torch.nn.ParameterDict, mask: Bool[Tensor, "n"]) -> None:
    """Lower opacities to what two of each need to be as opaque as one: 1 - sqrt(1 - opacity)."""
    opacities = splats["opacities"]
    opacities[mask] = (1 - (1 - opacities[mask].sigmoid()).sqrt()).logit(_EPSILON)


@torch.no_grad()
def _jitter(splats: torch.nn.ParameterDict, count: int) -> None:
    """Move the last ``count`` Gaussians to random positions within themselves, in the parameters' own units."""
    rotations, scales = quat_to_matrix(splats["quats"][-count:]), splats["scales"][-count:].exp()
    noise = scales * torch.randn_like(scales)
    splats["means"][-count:] += torch.einsum("nij,nj->ni", rotations, noise)
