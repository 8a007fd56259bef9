"""Where the time of an optimization step goes."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from instax3d.stages.training import PortraitModule

PARTS = ("render", "loss", "optimizer", "placement", "densifier", "Lightning", "rest")
"""Forward and backward together. ``loss`` holds all losses, the geometry constraint included; ``placement`` is from
the parameters to Gaussians in the world, activations included; ``rest`` is what the training step does besides."""
WORK = ("render", "loss", "optimizer")
"""What a step is for; the others are its overhead."""


class StepProfile:
    """A stopwatch in a `PortraitModule`. Its parts run one after another, so each moment between two marks counts for
    the part that has just ended; backward is cut where the gradients of the image and of the Gaussians are ready."""

    def __init__(self, module: PortraitModule) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._steps = 0
        self._since: float | None = None
        self._cuda = module.renderer.device_type == "cuda"
        self._around(module, "training_step", "Lightning", "rest")
        self._around(module, "configure_optimizers", "Lightning", "Lightning", self._watch_optimizers)
        self._around(module, "manual_backward", "rest", "placement")
        self._around(module.representation, "gaussians", "rest", "placement", self._watch_gaussians)
        self._around(module.renderer, "render", "rest", "render", self._watch_render)
        self._around(module.densifier, "before_backward", "loss", "densifier")
        self._around(module.densifier, "after_step", "rest", "densifier")

    def table(self) -> dict[str, tuple[float, float]]:
        """Milliseconds and share of a step, by part; and of all ``overhead`` and the whole ``step``."""
        found = {part: self._seconds[part] for part in PARTS}
        found["overhead"] = sum(found[part] for part in PARTS if part not in WORK)
        found["step"] = whole = sum(found[part] for part in PARTS)
        return {part: (1000 * seconds / self._steps, seconds / whole) for part, seconds in found.items()}

    def _mark(self, ended: str) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._since is not None:
            self._seconds[ended] += now - self._since
            self._since = now

    def _around(
        self, owner: Any, name: str, before: str, part: str, then: Callable[[Any], None] = lambda result: None
    ) -> None:
        """Count a method's time for ``part``, and what has passed since the last mark for ``before``."""
        method = getattr(owner, name)

        @functools.wraps(method)  # Lightning reads the signature of a training step
        def timed(*args: Any, **options: Any) -> Any:
            if self._since is None and name == "training_step":  # what comes before the first is no part of a step
                self._since = time.perf_counter()
            self._mark(before)
            result = method(*args, **options)
            self._mark(part)
            then(result)
            return result

        setattr(owner, name, timed)

    def _watch_gaussians(self, gaussians: Any) -> None:
        self._steps += 1
        ready: list[bool] = []

        def rendered(_: torch.Tensor) -> None:
            if not ready:
                ready.append(True)
                self._mark("render")

        for part in (gaussians.scales, gaussians.opacities):
            if part.requires_grad:
                part.register_hook(rendered)

    def _watch_render(self, render: Any) -> None:
        for part in (render.image, render.alpha):
            if part.requires_grad:
                part.register_hook(lambda _: self._mark("loss"))

    def _watch_optimizers(self, optimizers: list[torch.optim.Optimizer]) -> None:
        first = optimizers[0]
        for each in optimizers:
            each.register_step_pre_hook(
                lambda optimizer, *_: self._mark("Lightning" if optimizer is first else "optimizer")
            )
            each.register_step_post_hook(lambda *_: self._mark("optimizer"))
