"""Eq. 6 and the geometry constraint: by fused kernels on the CPU, in plain torch elsewhere."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from instax3d.geometry.numba_threads import start_numba_threads
from instax3d.geometry.rotations import matrix_to_quat, quat_multiply, triangle_frames

from . import _kernels as kernels

WorldGeometry = tuple[Float[Tensor, "n 3"], Float[Tensor, "n 4"], Float[Tensor, "n 3"]]
"""Means, quaternions (wxyz) and scales in the world."""

_EPS = 1e-12
"""Least length by which a quaternion is divided (torch.nn.functional.normalize)."""


def frames_of(vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]) -> Float[Tensor, "faces 17"]:
    """A row for each triangle of a posed mesh: mu_tri, s_tri R_tri row by row, R_tri as a quaternion, s_tri.

    Differentiable in the vertices.
    """
    centers, rotations, sizes = triangle_frames(vertices, faces)
    axes = sizes[:, None, None] * rotations
    return torch.cat([centers, axes.flatten(1), matrix_to_quat(rotations), sizes[:, None]], 1)


def place(
    frames: Float[Tensor, "faces 17"],
    binding: Int[Tensor, "n"],
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
) -> WorldGeometry:
    """Eq. 6: mu = s_tri R_tri dmu + mu_tri, R = R_tri dR, s = s_tri ds. Differentiable in all arguments.

    Args:
        frames: see `frames_of`. A fused kernel runs where they are constants on the CPU.
        binding: the triangle of each Gaussian.
        means, quats, scales: residuals dmu, dR (wxyz, of any length) and ds (positive), in the units of the triangle.
    """
    if frames.device.type == "cpu" and not frames.requires_grad:
        world: WorldGeometry = _Place.apply(frames, binding, means, quats, scales)
        return world
    return place_in_torch(frames, binding, means, quats, scales)


def place_in_torch(
    frames: Float[Tensor, "faces 17"],
    binding: Int[Tensor, "n"],
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
) -> WorldGeometry:
    """`place` in plain torch."""
    centers, axes, rotations, sizes = frames[binding].split([3, 9, 4, 1], 1)
    world = torch.einsum("nij,nj->ni", axes.unflatten(1, (3, 3)), means) + centers
    return world, quat_multiply(rotations, functional.normalize(quats, dim=-1, eps=_EPS)), sizes * scales


class _Place(torch.autograd.Function):
    """`place` by kernels."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, binding: Tensor, means: Tensor, quats: Tensor, scales: Tensor) -> Any:
        start_numba_threads()
        means, quats, scales = (part.contiguous() for part in (means, quats, scales))
        world = tuple(torch.empty_like(part) for part in (means, quats, scales))
        kernels.place(*_arrays(frames, binding, means, quats, scales), _eps(quats), *_arrays(*world))
        ctx.save_for_backward(frames, binding, quats)
        return world

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        frames, binding, quats = ctx.saved_tensors
        world = tuple(grad.contiguous() for grad in grads)
        local = tuple(torch.empty_like(grad) for grad in world)
        kernels.differentiate_place(*_arrays(frames, binding, quats), _eps(quats), _arrays(*world), _arrays(*local))
        return None, None, *local


def constraint(
    means: Float[Tensor, "n 3"],
    scales: Float[Tensor, "n 3"],
    anchors: Float[Tensor, "n 3"],
    reaches: Float[Tensor, "n"],
    limits: Float[Tensor, "n"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The geometry constraint: mean over Gaussians of the excess of |dmu - anchor| over the reach, and of the largest
    ds over the limit.

    Args:
        means, scales: residuals dmu and the logarithms of ds, in which this is differentiable.
    """
    if means.device.type == "cpu":
        terms: tuple[Tensor, Tensor] = _Constraint.apply(means, scales, anchors, reaches, limits)
        return terms
    return constraint_in_torch(means, scales, anchors, reaches, limits)


def constraint_in_torch(
    means: Float[Tensor, "n 3"],
    scales: Float[Tensor, "n 3"],
    anchors: Float[Tensor, "n 3"],
    reaches: Float[Tensor, "n"],
    limits: Float[Tensor, "n"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """`constraint` in plain torch."""
    drift = (means - anchors).norm(dim=-1) - reaches
    excess = scales.amax(1).exp() - limits
    return drift.relu().mean(), excess.relu().mean()


class _Constraint(torch.autograd.Function):
    """`constraint` by a kernel, which computes the gradients along with the values."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, scales: Tensor, anchors: Tensor, reaches: Tensor, limits: Tensor) -> Any:
        start_numba_threads()
        means, scales = means.contiguous(), scales.contiguous()
        by_means, by_scales = torch.empty_like(means), torch.empty_like(scales)
        sums = np.empty((kernels.chunks(len(means)), 2))
        share = _arrays(means)[0].dtype.type(1 / max(len(means), 1))
        kernels.constrain(
            _arrays(anchors, reaches, limits), *_arrays(means, scales), share, sums, *_arrays(by_means, by_scales)
        )
        ctx.save_for_backward(by_means, by_scales)
        position, scale = sums.sum(0) * share
        return means.new_tensor(position), means.new_tensor(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_position: Tensor, by_scale: Tensor) -> Any:
        by_means, by_scales = ctx.saved_tensors
        return by_means * by_position, by_scales * by_scale, None, None, None


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().numpy() for tensor in tensors)


def _eps(like: Tensor) -> Any:
    """`_EPS` as a number of the tensor's type."""
    return like.detach().numpy().dtype.type(_EPS)
