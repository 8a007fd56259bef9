"""Named blocks of variables in one vector, each with bounds and a Gaussian prior."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ParameterBlock:
    """One group of variables."""

    start: Float[Tensor, "size"]
    sigma: float = float("inf")
    """Standard deviation of the prior about zero, in the variables' own unit; infinite for no prior."""
    bounds: tuple[float, float] = (-float("inf"), float("inf"))
    """Lower and upper, in the variables' own unit."""


@dataclass(frozen=True, eq=False)
class ParameterBlocks:
    """All blocks, in the order in which they stand in the vector."""

    blocks: Mapping[str, ParameterBlock]

    def start(self) -> Float[Tensor, "variables"]:
        """The start values."""
        return torch.cat([block.start for block in self.blocks.values()])

    def bounds(self) -> tuple[Float[Tensor, "variables"], Float[Tensor, "variables"]]:
        """Lower and upper bounds."""
        low, high = zip(*(block.bounds for block in self.blocks.values()), strict=True)
        return self._repeated(low), self._repeated(high)

    def split(self, vector: Float[Tensor, "variables"]) -> dict[str, Float[Tensor, "_"]]:
        """The blocks of a vector, by name."""
        parts = vector.split([len(block.start) for block in self.blocks.values()])
        return dict(zip(self.blocks, parts, strict=True))

    def prior(self, vector: Float[Tensor, "variables"]) -> Float[Tensor, "variables"]:
        """Each variable in standard deviations of its prior. Differentiable."""
        return vector / self._repeated([block.sigma for block in self.blocks.values()])

    def _repeated(self, values: Sequence[float]) -> Float[Tensor, "variables"]:
        """One value per block, repeated for each of its variables."""
        return torch.cat([torch.full_like(b.start, v) for b, v in zip(self.blocks.values(), values, strict=True)])
