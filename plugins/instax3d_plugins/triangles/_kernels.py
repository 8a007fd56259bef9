"""CPU kernels of the placement of bound Gaussians and of the geometry constraint, each with its gradient.

Gaussians are processed in chunks of fixed size, so results are the same for any number of threads. Kernels accept
float32 and float64: they contain no constant of either type.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

CHUNK = 1024
"""Gaussians per chunk."""
_FLAGS = {"contract", "nsz", "arcp", "reassoc", "afn"}
"""Fast math, except the assumption of no NaN and no inf."""
CENTER, AXES, QUAT, SIZE = 0, 3, 12, 16
"""Columns of a row of frames: mu_tri [3]; s_tri R_tri [3, 3], row by row; R_tri as a quaternion [4], wxyz; s_tri."""
FRAME = 17


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def chunks(count):
    """Number of chunks of ``count`` Gaussians."""
    return (count + CHUNK - 1) // CHUNK


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _inverse_length(quats, i, one, eps):
    """One over the length of quaternion i, or over ``eps`` where that is larger."""
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    return one / max(math.sqrt(w * w + x * x + y * y + z * z), eps)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _place_chunk(first, last, frames, binding, means, quats, scales, one, eps, out_means, out_quats, out_scales):
    """Gaussians ``first`` to ``last`` of `place`."""
    for i in range(first, last):
        b = np.uint64(binding[i])
        x, y, z = means[i, 0], means[i, 1], means[i, 2]
        for k in range(3):
            out_means[i, k] = (
                frames[b, AXES + 3 * k] * x
                + frames[b, AXES + 3 * k + 1] * y
                + frames[b, AXES + 3 * k + 2] * z
                + frames[b, CENTER + k]
            )
            out_scales[i, k] = frames[b, SIZE] * scales[i, k]
        aw, ax, ay, az = frames[b, QUAT], frames[b, QUAT + 1], frames[b, QUAT + 2], frames[b, QUAT + 3]
        inverse = _inverse_length(quats, i, one, eps)
        bw, bx, by, bz = quats[i, 0] * inverse, quats[i, 1] * inverse, quats[i, 2] * inverse, quats[i, 3] * inverse
        out_quats[i, 0] = aw * bw - ax * bx - ay * by - az * bz
        out_quats[i, 1] = aw * bx + ax * bw + ay * bz - az * by
        out_quats[i, 2] = aw * by - ax * bz + ay * bw + az * bx
        out_quats[i, 3] = aw * bz + ax * by - ay * bx + az * bw


@njit(parallel=True, fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def place(frames, binding, means, quats, scales, eps, out_means, out_quats, out_scales):
    """Residuals to the world (Eq. 6), each by the frame of its triangle.

    Inputs: frames [faces, FRAME], binding int64 [N], means and scales [N, 3], quats [N, 4], and ``eps``, the least
    length by which a quaternion is divided. Outputs: means and scales [N, 3], quats [N, 4], in the world.
    """
    n = means.shape[0]
    one = means.dtype.type(1)
    for chunk in prange(chunks(n)):
        _place_chunk(
            chunk * CHUNK, min(n, (chunk + 1) * CHUNK), frames, binding, means, quats, scales, one, eps,
            out_means, out_quats, out_scales,
        )  # fmt: skip


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _differentiate_chunk(first, last, frames, binding, quats, one, eps, world, local):
    """Gaussians ``first`` to ``last`` of `differentiate_place`."""
    (by_means, by_quats, by_scales), (out_means, out_quats, out_scales) = world, local
    for i in range(first, last):
        b = np.uint64(binding[i])
        x, y, z = by_means[i, 0], by_means[i, 1], by_means[i, 2]
        for k in range(3):
            out_means[i, k] = frames[b, AXES + k] * x + frames[b, AXES + 3 + k] * y + frames[b, AXES + 6 + k] * z
            out_scales[i, k] = frames[b, SIZE] * by_scales[i, k]
        # the frame's conjugate times the gradient, without the part along the residual's quaternion
        aw, ax, ay, az = frames[b, QUAT], -frames[b, QUAT + 1], -frames[b, QUAT + 2], -frames[b, QUAT + 3]
        gw, gx, gy, gz = by_quats[i, 0], by_quats[i, 1], by_quats[i, 2], by_quats[i, 3]
        w = aw * gw - ax * gx - ay * gy - az * gz
        x = aw * gx + ax * gw + ay * gz - az * gy
        y = aw * gy - ax * gz + ay * gw + az * gx
        z = aw * gz + ax * gy - ay * gx + az * gw
        inverse = _inverse_length(quats, i, one, eps)
        bw, bx, by, bz = quats[i, 0] * inverse, quats[i, 1] * inverse, quats[i, 2] * inverse, quats[i, 3] * inverse
        along = w * bw + x * bx + y * by + z * bz
        out_quats[i, 0] = (w - along * bw) * inverse
        out_quats[i, 1] = (x - along * bx) * inverse
        out_quats[i, 2] = (y - along * by) * inverse
        out_quats[i, 3] = (z - along * bz) * inverse


@njit(parallel=True, fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def differentiate_place(frames, binding, quats, eps, world, local):
    """Gradients of the residuals from the gradients of the outputs of `place`.

    Inputs: as for `place`; world: gradients by means, quats and scales. Output: local: gradients by the residuals.
    """
    n = quats.shape[0]
    one = quats.dtype.type(1)
    for chunk in prange(chunks(n)):
        _differentiate_chunk(chunk * CHUNK, min(n, (chunk + 1) * CHUNK), frames, binding, quats, one, eps, world, local)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _constrain_chunk(first, last, bounds, means, scales, share, sums, by_means, by_scales):
    """Gaussians ``first`` to ``last`` of `constrain`."""
    anchors, reaches, limits = bounds
    zero = means.dtype.type(0)
    position, scale = zero, zero
    for i in range(first, last):
        x, y, z = means[i, 0] - anchors[i, 0], means[i, 1] - anchors[i, 1], means[i, 2] - anchors[i, 2]
        distance = math.sqrt(x * x + y * y + z * z)
        pull = zero
        if distance > reaches[i]:
            position += distance - reaches[i]
            pull = share / distance
        by_means[i, 0], by_means[i, 1], by_means[i, 2] = pull * x, pull * y, pull * z
        largest = max(scales[i, 0], max(scales[i, 1], scales[i, 2]))
        size = math.exp(largest)
        shrink = zero
        if size > limits[i]:
            scale += size - limits[i]
            equal = (scales[i, 0] == largest) + (scales[i, 1] == largest) + (scales[i, 2] == largest)
            shrink = share * size / means.dtype.type(equal)
        for k in range(3):
            by_scales[i, k] = shrink if scales[i, k] == largest else zero
    sums[0], sums[1] = position, scale


@njit(parallel=True, fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def constrain(bounds, means, scales, share, sums, by_means, by_scales):
    """The geometry constraint: how far Gaussians are beyond their reach, and how far larger than their limit.

    Inputs: bounds: anchors [N, 3], reaches [N] and limits [N]; means and logarithmic scales [N, 3]; share: one over N.
    Outputs: sums [chunks, 2] of both excesses; gradients of their means by means and by logarithmic scales [N, 3],
    that of the largest scale shared by those that are equal to it.
    """
    n = means.shape[0]
    for chunk in prange(chunks(n)):
        _constrain_chunk(
            chunk * CHUNK, min(n, (chunk + 1) * CHUNK), bounds, means, scales, share, sums[chunk], by_means, by_scales
        )
