"""Noise levels, preconditioning, guidance and azimuths of SV3D's sampling.

EDM: Karras et al., NeurIPS 2022. The values are those of SV3D's official configuration.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SIGMA_MIN, SIGMA_MAX, _RHO = 0.002, 700.0, 7.0
GUIDANCE = 2.5
"""Scale of guidance at the frame opposite to the input view."""


def edm_sigmas(steps: int) -> Float[Tensor, "levels"]:
    """``steps`` falling noise levels from 700 to 0.002, then 0; float32. Karras et al., eq. 5.

    Raises:
        ValueError: there is less than one step.
    """
    if steps < 1:
        raise ValueError(f"sampling needs at least one step, not {steps}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    largest, smallest = SIGMA_MAX ** (1 / _RHO), SIGMA_MIN ** (1 / _RHO)
    sigmas = (largest + ramp * (smallest - largest)) ** _RHO
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


@dataclass(frozen=True)
class Scalings:
    """Preconditioning of a network that predicts v, for unit data: D = c_skip x + c_out F(c_in x, c_noise)."""

    c_skip: Float[Tensor, "*levels"]
    c_out: Float[Tensor, "*levels"]
    c_in: Float[Tensor, "*levels"]
    c_noise: Float[Tensor, "*levels"]

    @classmethod
    def at(cls, sigma: Float[Tensor, "*levels"]) -> "Scalings":
        """At noise levels above 0."""
        power = sigma**2 + 1
        return cls(1 / power, -sigma / power.sqrt(), 1 / power.sqrt(), 0.25 * sigma.log())


def triangle_scales(frames: int, largest: float = GUIDANCE) -> Float[Tensor, "frames"]:
    """Guidance of each frame: 1 at both ends, next to the input view, and ``largest`` opposite to it."""
    along = torch.linspace(0, 1, frames)
    return 1 + (largest - 1) * 2 * (along - (along + 0.5).floor()).abs()


def default_azimuths(frames: int) -> list[float]:
    """Degrees, evenly around the head and rising: the first frame is one step on, the last is the input view at 0."""
    return [360.0 * (index + 1) / frames % 360.0 for index in range(frames)]
