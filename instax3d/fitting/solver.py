"""Bounded non-linear least squares with Jacobians from torch."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .layout import Layout

Residuals = Callable[[Float[Tensor, "unknowns"]], Float[Tensor, "residuals"]]

_DAMPING = 1e-3
_ENOUGH = 1e-4
"""A step that lowers the cost by less than this share is the last one, unless it met a bound."""
_ATTEMPTS = 6
"""Dampings tried, each ten times the one before, until a step lowers the cost."""


def minimize(
    residuals: Residuals, layout: Layout, start: Float[Tensor, "unknowns"], *, steps: int
) -> Float[Tensor, "unknowns"]:
    """The vector within the layout's bounds that makes the residuals' sum of squares smallest.

    Levenberg and Marquardt's method with forward-mode Jacobians; unknowns that press against a bound sit out a step
    (Bertsekas' projected Newton, 1982). The normal equations suit problems of few unknowns that all have priors.

    Args:
        residuals: differentiable; already weighted, and made robust where that is wanted.
        start: where to begin.
        steps: at most so many.
    """
    low, high = layout.bounds()
    jacobian = torch.func.jacfwd(residuals)
    vector = start.clamp(low, high)
    now = residuals(vector)
    damping = _DAMPING
    for _ in range(steps):
        slopes = jacobian(vector).double()
        gradient, hessian = slopes.T @ now.double(), slopes.T @ slopes
        free = ~(((vector <= low) & (gradient > 0)) | ((vector >= high) & (gradient < 0)))
        cost = (now.double() ** 2).sum()
        bound = (vector <= low) | (vector >= high)
        for _ in range(_ATTEMPTS):
            moved = vector.clone()
            moved[free] -= _damped_step(gradient[free], hessian[free][:, free], damping).float()
            moved = moved.clamp(low, high)
            then = residuals(moved)
            lowered = float(1 - (then.double() ** 2).sum() / cost)
            if lowered > 0:
                vector, now, damping = moved, then, damping / 10
                break
            damping *= 10
        met = not torch.equal((vector <= low) | (vector >= high), bound)
        if not (lowered > _ENOUGH or met):
            break
    return vector


def soft_l1(residuals: Float[Tensor, "n c"], threshold: float) -> Float[Tensor, "n c"]:
    """Vectors shortened so that their squared lengths grow linearly beyond ``threshold``. Differentiable everywhere."""
    relative = (residuals**2).sum(-1, keepdim=True) / threshold**2
    return residuals * torch.sqrt(2 / (1 + torch.sqrt(1 + relative)))


def _damped_step(
    gradient: Float[Tensor, "free"], hessian: Float[Tensor, "free free"], damping: float
) -> Float[Tensor, "free"]:
    """Marquardt's step: the damping is relative to each unknown's own curvature."""
    curvature = hessian.diagonal().clamp_min(1e-12)
    step: Tensor = torch.linalg.solve(hessian + torch.diag(damping * curvature), gradient)
    return step
