"""Bounded non-linear least squares with Jacobians from torch."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .parameter_blocks import ParameterBlocks

Residuals = Callable[[Float[Tensor, "variables"]], Float[Tensor, "residuals"]]
"""Maps variables to residuals."""

_DAMPING = 1e-3
"""Of the first step."""
_TOLERANCE = 1e-4
"""A step that lowers the cost by a smaller share is the last one, unless it met a bound."""
_ATTEMPTS = 6
"""Dampings tried, each ten times the one before, until a step lowers the cost."""


def minimize(
    residuals: Residuals, blocks: ParameterBlocks, start: Float[Tensor, "variables"], *, steps: int
) -> Float[Tensor, "variables"]:
    """The vector within the blocks' bounds that minimizes the residuals' sum of squares.

    Levenberg-Marquardt with forward-mode Jacobians; variables that press against a bound sit out a step (projected
    Newton, Bertsekas 1982). The normal equations suit problems of few variables that all have priors.

    Args:
        residuals: differentiable; already weighted, and made robust where needed (`soft_l1`).
        blocks: they give the bounds.
        start: where to begin; it is moved within the bounds.
        steps: at most so many.
    """
    low, high = blocks.bounds()
    jacobian = torch.func.jacfwd(residuals)
    vector = start.clamp(low, high)
    current = residuals(vector)
    damping = _DAMPING
    for _ in range(steps):
        slopes = jacobian(vector).double()
        gradient, hessian = slopes.T @ current.double(), slopes.T @ slopes
        free = ~(((vector <= low) & (gradient > 0)) | ((vector >= high) & (gradient < 0)))
        cost = (current.double() ** 2).sum()
        at_bound = (vector <= low) | (vector >= high)
        for _ in range(_ATTEMPTS):
            moved = vector.clone()
            moved[free] -= _damped_step(gradient[free], hessian[free][:, free], damping).float()
            moved = moved.clamp(low, high)
            candidate = residuals(moved)
            lowered = float(1 - (candidate.double() ** 2).sum() / cost)
            if lowered > 0:
                vector, current, damping = moved, candidate, damping / 10
                break
            damping *= 10
        met_bound = not torch.equal((vector <= low) | (vector >= high), at_bound)
        if not (lowered > _TOLERANCE or met_bound):
            break
    return vector


def soft_l1(residuals: Float[Tensor, "n c"], threshold: float) -> Float[Tensor, "n c"]:
    """Residual vectors shortened so that their squared lengths grow linearly beyond ``threshold`` (soft L1 loss).

    Differentiable everywhere.
    """
    relative = (residuals**2).sum(-1, keepdim=True) / threshold**2
    return residuals * torch.sqrt(2 / (1 + torch.sqrt(1 + relative)))


def _damped_step(
    gradient: Float[Tensor, "free"], hessian: Float[Tensor, "free free"], damping: float
) -> Float[Tensor, "free"]:
    """Marquardt's step: the damping is relative to each variable's own curvature."""
    curvature = hessian.diagonal().clamp_min(1e-12)
    step: Tensor = torch.linalg.solve(hessian + torch.diag(damping * curvature), gradient)
    return step
