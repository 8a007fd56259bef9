"""Image-plane gradients of the Gaussians, accumulated over steps."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import IncompatiblePipelineError
from instax3d.types import DensifyStep


class ScreenGradients:
    """Mean norms of the gradients of the projected means, over the steps that drew each Gaussian.

    They are gradients of the mean loss in coordinates that range from -1 to 1 over the image, for one camera, as in
    3DGS and gsplat, so that thresholds do not depend on the resolution. A Gaussian of s pixels in an image of w under
    errors of e has about e * s / w: small Gaussians fall below any threshold, however wrong their color.

    A step counts for the Gaussians to which it gave a gradient. 3DGS and gsplat count all steps with the Gaussian in
    the frame, which halves the mean of everything on a head seen from all around, whose far side is hidden.

    Args:
        absolute: whether to use the absolute gradients (AbsGS, Ye et al. 2024), for which the renderer needs
            ``absgrad``.
    """

    def __init__(self, *, absolute: bool) -> None:
        self.absolute = absolute
        self._sums: Tensor | None = None
        self._counts: Tensor | None = None

    def add(self, step: DensifyStep) -> None:
        """Add the gradients of one step, after its backward pass.

        Raises:
            IncompatiblePipelineError: there are none, as no loss compares the render of the step's view.
        """
        info = step.render.info
        means2d = info["means2d"]
        gradient = getattr(means2d, "absgrad", None) if self.absolute else means2d.grad
        if gradient is None:
            raise IncompatiblePipelineError(
                "the densifier needs image-plane gradients, but no loss looks at the render of the step's view; list "
                "one that does beside the others, or choose densifier=none"
            )
        x, y = gradient.unbind(-1)
        half = 0.5 * info["n_cameras"]
        norms = torch.hypot(x * (half * info["width"]), y * (half * info["height"]))
        if self._sums is None or self._counts is None:
            self._sums = torch.zeros_like(norms[0])
            self._counts = torch.zeros_like(norms[0])
        self._sums += norms.sum(0)
        self._counts += (norms > 0).sum(0)

    def mean(self) -> Float[Tensor, "n"]:
        """The mean of each Gaussian, 0 where no step gave it a gradient.

        Raises:
            RuntimeError: no step was added.
        """
        if self._sums is None or self._counts is None:
            raise RuntimeError("no gradients were added yet")
        return self._sums / self._counts.clamp_min(1)

    def clear(self) -> None:
        """Forget all steps; needed whenever Gaussians are added or removed."""
        self._sums = self._counts = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {} if self._sums is None else {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._sums, self._counts = state.get("sums"), state.get("counts")
