"""Named blocks of unknowns in one vector, each with bounds and a Gaussian prior."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """One group of unknowns."""

    start: Float[Tensor, "size"]
    sigma: float = float("inf")
    """Of the prior about zero, in the unknown's own unit; infinite for none."""
    bounds: tuple[float, float] = (-float("inf"), float("inf"))


@dataclass(frozen=True)
class Layout:
    """Blocks in the order in which they stand in the vector."""

    blocks: Mapping[str, Block]

    def start(self) -> Float[Tensor, "unknowns"]:
        """Where to begin."""
        return torch.cat([block.start for block in self.blocks.values()])

    def bounds(self) -> tuple[Float[Tensor, "unknowns"], Float[Tensor, "unknowns"]]:
        """Lower and upper bounds."""
        low, high = zip(*(block.bounds for block in self.blocks.values()), strict=True)
        return self._each(low), self._each(high)

    def split(self, vector: Float[Tensor, "unknowns"]) -> dict[str, Float[Tensor, "_"]]:
        """The blocks of a vector."""
        parts = vector.split([len(block.start) for block in self.blocks.values()])
        return dict(zip(self.blocks, parts, strict=True))

    def prior(self, vector: Float[Tensor, "unknowns"]) -> Float[Tensor, "unknowns"]:
        """Each unknown in standard deviations of its prior. Differentiable."""
        return vector / self._each([block.sigma for block in self.blocks.values()])

    def _each(self, values: Sequence[float]) -> Float[Tensor, "unknowns"]:
        return torch.cat([torch.full_like(b.start, v) for b, v in zip(self.blocks.values(), values, strict=True)])
