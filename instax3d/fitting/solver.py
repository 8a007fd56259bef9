"""Bounded non-linear least squares with Jacobians from torch."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import least_squares
from torch import Tensor

from .layout import Layout

Residuals = Callable[[Float[Tensor, "unknowns"]], Float[Tensor, "residuals"]]


def minimise(
    residuals: Residuals, layout: Layout, start: Float[Tensor, "unknowns"], *, evaluations: int
) -> Float[Tensor, "unknowns"]:
    """The vector within the layout's bounds that makes the residuals' sum of squares smallest.

    A trust-region method (Branch, Coleman and Li, 1999) with forward-mode Jacobians.

    Args:
        residuals: differentiable; already weighted, and made robust where that is wanted.
        start: where to begin.
        evaluations: at most so many calls.
    """
    jacobian = torch.func.jacfwd(residuals)

    def as_tensor(vector: np.ndarray) -> Tensor:
        return torch.tensor(vector, dtype=start.dtype)

    low, high = (bound.double().numpy() for bound in layout.bounds())
    found = least_squares(
        lambda vector: residuals(as_tensor(vector)).double().numpy(),
        np.clip(start.double().numpy(), low + 1e-6, high - 1e-6),  # the method works strictly inside
        jac=lambda vector: jacobian(as_tensor(vector)).double().numpy(),
        bounds=(low, high),
        x_scale="jac",
        ftol=1e-4,
        xtol=1e-5,
        max_nfev=evaluations,
    )
    return as_tensor(found.x)


def soft_l1(residuals: Float[Tensor, "n c"], threshold: float) -> Float[Tensor, "n c"]:
    """Vectors shortened so that their squared lengths grow linearly beyond ``threshold``. Differentiable everywhere."""
    relative = (residuals**2).sum(-1, keepdim=True) / threshold**2
    return residuals * torch.sqrt(2 / (1 + torch.sqrt(1 + relative)))
