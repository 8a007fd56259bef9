"""The densifier. Frozen: see tests/core/test_frozen.py."""

from collections.abc import Mapping
from typing import Any

import torch
from instax3d.interfaces import Densifier
from instax3d.types import DensifyReport, DensifyStep

from .config import FrozenPrunerConfig


class FrozenPruner(Densifier[FrozenPrunerConfig]):
    """Removes the Gaussians with the smallest sums of absolute image-plane gradients."""

    absgrad = True

    def __init__(self, config: FrozenPrunerConfig) -> None:
        super().__init__(config)
        self.sums: torch.Tensor | None = None

    def before_backward(self, step: DensifyStep) -> None:
        """The gradients are needed after the step."""
        step.render.info["means2d"].retain_grad()

    def after_step(self, step: DensifyStep) -> DensifyReport:
        """Sums up the gradients, and every now and then removes the Gaussians with the smallest sums."""
        found = step.render.info["means2d"].absgrad.sum(0).norm(dim=-1)
        self.sums = found if self.sums is None else self.sums + found
        count = int(self.config.share * len(step.gaussians))
        if (step.step + 1) % self.config.every or not count:
            return DensifyReport()
        kept = self.sums.argsort()[count:].sort().values
        for name, old in list(step.splats.items()):
            new = torch.nn.Parameter(old.detach()[kept], requires_grad=old.requires_grad)
            if name in step.optimizers:
                optimizer = step.optimizers[name]
                state = optimizer.state.pop(old, {})
                optimizer.state[new] = {key: value[kept] if value.ndim else value for key, value in state.items()}
                optimizer.param_groups[0]["params"] = [new]
            step.splats[name] = new
        self.sums = None
        return DensifyReport(died=count)

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {} if self.sums is None else {"sums": self.sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `state_dict` gave them."""
        self.sums = state.get("sums")
