"""Options that all adaptive density control shares. Never imports torch."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from instax3d.plugin import PluginConfig


class RefinementOptions(PluginConfig):
    """When a densifier refines, and up to how many Gaussians."""

    refine_every: PositiveInt = 100
    """Steps between refinements."""
    refine_start: float = Field(0.05, ge=0, le=1)
    """Share of the run before the first refinement."""
    refine_stop: float = Field(0.6, ge=0, le=1)
    """Share of the run after the last refinement."""
    max_gaussians: PositiveInt = 120_000
    """Growth stops here."""

    def refines_at(self, step: int, total: int) -> bool:
        """Whether a run of ``total`` steps is refined after this ``step``, counted from 0."""
        within = self.refine_start * total <= step <= self.refine_stop * total
        return within and step > 0 and step % self.refine_every == 0


class DensityOptions(RefinementOptions):
    """Sizes are relative to the scene's extent; gradients are per unit of images that range from -1 to 1 (3DGS)."""

    grow_by: Literal["threshold", "budget"] = "threshold"
    """What grows. ``threshold``: all that exceed the thresholds, those of highest priority first if there is not room
    for all. ``budget``: those of highest priority, whatever the thresholds, so many at each refinement that
    `max_gaussians` is reached at the last one (for short runs, in which few exceed a threshold)."""
    grow_scale3d: PositiveFloat = 0.01
    """Size above which a Gaussian is split rather than cloned."""
    revised_opacity: bool = False
    """Whether the two Gaussians that replace one share its opacity, so that together they are as opaque as it was (Rota
    Bulò et al. 2024); otherwise each keeps it (3DGS)."""
    prune_opacity: float = Field(0.005, ge=0, lt=1)
    """Opacity below which a Gaussian is removed."""
    prune_scale3d: PositiveFloat = 0.1
    """Size above which a Gaussian is removed."""
    reset_every: NonNegativeInt = 3000
    """Steps between opacity resets, as long as refinement lasts; 0 never resets."""

    def ignored_options(self) -> Mapping[str, str]:
        if self.grow_by == "budget" and "grow_grad2d" in type(self).model_fields:
            return {"grow_grad2d": "grow_by=budget grows the strongest, whatever the threshold; use grow_by=threshold"}
        return {}
