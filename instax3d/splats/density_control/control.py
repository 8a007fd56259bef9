"""The cycle of adaptive density control: gather, grow, prune, reset."""

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

_RESET_OPACITY = 0.01
"""What opacities are lowered to (3DGS)."""
_EPSILON = 1e-6
"""Opacities are kept this far from 0 and 1, whose logits are infinite."""
_SHRINK = 1.6
"""How much smaller the halves of a split are (3DGS)."""


@dataclass(frozen=True)
class Candidates:
    """Which Gaussians a densifier would like to grow."""

    mask: Bool[Tensor, "n"]
    """Those beyond its thresholds."""
    priority: Float[Tensor, "n"]
    """How much each needs it, comparable between Gaussians; decides where not all can be had."""


class AdaptiveDensityControl(Densifier[C]):
    """3DGS's density control (Kerbl et al. 2023, Sec. 5) around a candidates that each densifier makes in its own way.

    Chosen Gaussians are cloned if they are small, else split in two; then faint and huge ones are removed, and at times
    all opacities are lowered. Sizes are those in the world (`DensifyStep.gaussians`), so that parameters in local units
    are judged alike; gsplat's operations edit parameters and optimizers together, draw the halves of a split in the
    parameters' own units and carry along whatever else ``splats`` holds, such as a binding to triangles.

    gsplat's `DefaultStrategy` itself does not serve: it takes the parameters' scales for lengths, and up to 1.5.3 never
    resets opacities.
    """

    jitter: ClassVar[bool] = False
    """Whether a clone is moved to a random place within its Gaussian."""

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self.gradients = {kind: ScreenGradients(absolute=kind == "absolute") for kind in self.gradient_kinds()}

    @abc.abstractmethod
    def gradient_kinds(self) -> tuple[Gradient, ...]:
        """Which gradients `select` goes by; the absolute ones need ``absgrad``."""

    @abc.abstractmethod
    def select(self, small: Bool[Tensor, "n"]) -> Candidates:
        """What should grow, judged by `gradients`; ``small`` Gaussians will be cloned, others split."""

    def before_backward(self, step: DensifyStep) -> None:
        if "signed" in self.gradients:
            step.render.info["means2d"].retain_grad()

    def after_step(self, step: DensifyStep) -> DensifyReport:
        config = self.config
        if step.step > config.refine_stop * step.total_steps:
            return DensifyReport()
        for gathered in self.gradients.values():
            gathered.add(step)
        report = DensifyReport()
        if config.refines_at(step.step, step.total_steps):
            report = self._refine(step)
            for gathered in self.gradients.values():
                gathered.clear()
        if config.reset_every and step.step and step.step % config.reset_every == 0:
            reset_opa(step.splats, dict(step.optimizers), {}, value=_RESET_OPACITY)
        return report

    def _refine(self, step: DensifyStep) -> DensifyReport:
        splats, optimizers, config = step.splats, dict(step.optimizers), self.config
        sizes = step.gaussians.scales.detach().amax(1) / step.scene_scale
        small = sizes <= config.grow_scale3d
        grow = self._limited(self.select(small), self._faint(splats), step)
        clone, halve = grow & small, grow & ~small
        born = int(clone.sum()) + int(halve.sum())
        if config.revised_opacity:
            _share_opacity(splats, grow)
        if clone.any():
            duplicate(splats, optimizers, {}, clone)
            if self.jitter:
                _jitter(splats, int(clone.sum()))
        halve = torch.cat([halve, halve.new_zeros(int(clone.sum()))])
        sizes = torch.cat([sizes, sizes[clone]])
        if halve.any():
            split(splats, optimizers, {}, halve)
            sizes = torch.cat([sizes[~halve], sizes[halve].repeat(2) / _SHRINK])
        unwanted = self._faint(splats) | (sizes > config.prune_scale3d)
        if unwanted.all():  # an empty scene could never recover
            unwanted[:] = False
        if unwanted.any():
            remove(splats, optimizers, {}, unwanted)
        return DensifyReport(born=born, died=int(unwanted.sum()))

    def _faint(self, splats: torch.nn.ParameterDict) -> Bool[Tensor, "n"]:
        opacities: Tensor = splats["opacities"].detach().sigmoid()
        return opacities < self.config.prune_opacity

    def _limited(self, candidates: Candidates, faint: Bool[Tensor, "n"], step: DensifyStep) -> Bool[Tensor, "n"]:
        """What may grow: no more than there is room for; nothing that is about to be removed."""
        room = self.config.max_gaussians - int((~faint).sum())
        if self.config.grow_by == "budget":
            later = range(step.step, step.total_steps)
            room = -(-room // max(sum(self.config.refines_at(index, step.total_steps) for index in later), 1))
            wanted = (candidates.priority > 0) & ~faint
        else:
            wanted = candidates.mask & ~faint
        if int(wanted.sum()) <= room:
            return wanted
        strength = torch.where(wanted, candidates.priority, -1.0)
        limited = torch.zeros_like(wanted)
        limited[torch.topk(strength, max(room, 0)).indices] = True
        return limited

    def state_dict(self) -> dict[str, Any]:
        return {name: gathered.state_dict() for name, gathered in self.gradients.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, gathered in self.gradients.items():
            gathered.load_state_dict(state.get(name, {}))


@torch.no_grad()
def _share_opacity(splats: torch.nn.ParameterDict, mask: Bool[Tensor, "n"]) -> None:
    """Lower opacities to what two of each must have to hide as much as one: 1 - sqrt(1 - opacity)."""
    opacities = splats["opacities"]
    opacities[mask] = (1 - (1 - opacities[mask].sigmoid()).sqrt()).logit(_EPSILON)


@torch.no_grad()
def _jitter(splats: torch.nn.ParameterDict, newest: int) -> None:
    """Move the last ``newest`` Gaussians to random places within themselves, in the parameters' own units."""
    rotations, scales = quat_to_matrix(splats["quats"][-newest:]), splats["scales"][-newest:].exp()
    noise = scales * torch.randn_like(scales)
    splats["means"][-newest:] += torch.einsum("nij,nj->ni", rotations, noise)
