"""Relocating Gaussians to others without changing the image, and reordering rows of parameters."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

MAX_SHARED = 51
"""Most Gaussians at one position (the size of the reference's table)."""


def shared_between(
    opacities: Float[Tensor, "n"], scales: Float[Tensor, "n 3"], counts: Int[Tensor, "n"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n 3"]]:
    """Opacity and scale of each of ``counts`` equal Gaussians that together look like one.

    Kheradmand et al. 2024, Eq. 9. Their joint opacity at the center and its integral along any line through it are
    those of the one. In float64, as the sum alternates; the paper's inner sum of binomials is one binomial.
    """
    counts = counts.clamp(1, MAX_SHARED)
    opacity = opacities.double().clamp(0, 1 - 1e-7)
    each = 1 - (1 - opacity) ** (1 / counts)
    order = torch.arange(1, MAX_SHARED + 1, dtype=torch.float64, device=opacities.device)
    n = counts[:, None].double()
    within = order <= n
    log_binomial = torch.lgamma(n + 1) - torch.lgamma(order + 1) - torch.lgamma((n - order).clamp_min(0) + 1)
    sign = 1 - 2 * ((order - 1) % 2)
    terms = within * sign * log_binomial.exp() * each[:, None] ** order / order.sqrt()
    shrink = opacity / terms.sum(1)
    return each.to(opacities.dtype), (scales.double() * shrink[:, None]).to(scales.dtype)


def take_rows(
    splats: nn.ParameterDict,
    optimizers: Mapping[str, torch.optim.Optimizer],
    rows: Int[Tensor, "m"],
    fresh: Bool[Tensor, "m"],
) -> None:
    """Replace every parameter by its ``rows`` and take Adam's moments along, zero where ``fresh``."""
    for name, old in list(splats.items()):
        new = nn.Parameter(old.detach()[rows], requires_grad=old.requires_grad)
        splats[name] = new
        optimizer = optimizers.get(name)
        if optimizer is None:
            continue
        state = optimizer.state.pop(old, {})
        for key, value in state.items():
            if key != "step":
                state[key] = value[rows]
                state[key][fresh] = 0
        optimizer.state[new] = state
        optimizer.param_groups[0]["params"] = [new]
