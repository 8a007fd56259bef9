"""Image-plane gradients of the Gaussians, gathered over steps."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.types import DensifyStep


class ScreenGradients:
    """Mean norms of the gradients of the projected means, over the steps that drew each Gaussian.

    They are gradients of the mean loss in coordinates that run from -1 to 1 over the image and for one camera, as 3DGS
    and gsplat count, so that thresholds do not depend on the resolution. A Gaussian of s pixels in an image of w under
    errors of e has about e * s / w: small Gaussians fall below any threshold, however wrong their color.

    A step counts where it gave the Gaussian a gradient. 3DGS and gsplat count all steps with the Gaussian in the frame,
    which halves the mean of everything on a head seen from all around, whose far side is hidden.
    """

    def __init__(self, *, absolute: bool) -> None:
        self.absolute = absolute
        self._sums: Tensor | None = None
        self._counts: Tensor | None = None

    def add(self, step: DensifyStep) -> None:
        """Take the gradients of one step, after its backward pass."""
        info = step.render.info
        means2d = info["means2d"]
        x, y = (means2d.absgrad if self.absolute else means2d.grad).unbind(-1)
        half = 0.5 * info["n_cameras"]
        norms = torch.hypot(x * (half * info["width"]), y * (half * info["height"]))
        if self._sums is None or self._counts is None:
            self._sums = torch.zeros_like(norms[0])
            self._counts = torch.zeros_like(norms[0])
        self._sums += norms.sum(0)
        self._counts += (norms > 0).sum(0)

    def mean(self) -> Float[Tensor, "n"]:
        """The mean of each Gaussian, 0 where no step drew it.

        Raises:
            RuntimeError: no step was taken.
        """
        if self._sums is None or self._counts is None:
            raise RuntimeError("no gradients were gathered")
        return self._sums / self._counts.clamp_min(1)

    def clear(self) -> None:
        """Forget all steps; due whenever rows of the Gaussians change."""
        self._sums = self._counts = None

    def state_dict(self) -> dict[str, Any]:
        return {} if self._sums is None else {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums, self._counts = state.get("sums"), state.get("counts")
