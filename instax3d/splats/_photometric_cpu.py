"""CPU kernels of the fused L1 + SSIM loss, of the plain L1 loss, and of their gradients.

All are written so that LLVM vectorizes their loops over pixels.

The 11x11 Gaussian window is separable: for each row of pixels, the eleven rows around it are summed vertically into
buffers padded with zeros, which are then summed horizontally. Derivative maps with respect to the three blurred images
that hold the rendered one are kept and blurred once more for the gradient (the window is symmetric).

What keeps LLVM from vectorizing is avoided: indices are unsigned, since a signed one could mean "from the end"; the
buffers are one array at constant distances, so that no two pointers could overlap. Images are worked through in blocks
of fixed size, so the result is the same for any number of threads.
"""

from typing import no_type_check

import numpy as np
from numba import njit, prange

ROWS = 8
"""Rows of a block."""
COLUMNS = 512
"""Columns of a block, at most."""
CHUNK = 16384
"""Values of the plain L1 loss that a thread takes at a time."""
SIGMA, RADIUS = 1.5, 5
C1, C2 = 0.01**2, 0.03**2

_taps = np.exp(-((np.arange(2 * RADIUS + 1) - RADIUS) ** 2) / (2 * SIGMA**2))
WINDOW = (_taps / _taps.sum()).astype(np.float32)
"""The window of 3DGS's SSIM, one axis."""

_f4 = np.float32
_u8 = np.uint64
_C1, _C2 = _f4(C1), _f4(C2)
_ZERO, _ONE, _TWO = _f4(0), _f4(1), _f4(2)
_W0, _W1, _W2, _W3, _W4, _W5 = (_f4(w) for w in WINDOW[: RADIUS + 1])
_PITCH = COLUMNS + 32
"""Distance of the buffers; the padding of a row takes 2 * RADIUS of the difference."""
_B0, _B1, _B2, _B3, _B4, _B5, _B6 = (_u8(_PITCH * k) for k in range(7))


@njit(fastmath=True, error_model="numpy", cache=True, inline="always")
@no_type_check
def _across(buffer, x):
    """A padded row blurred at the pixel whose eleven neighbors begin at buffer[x]."""
    return (
        _W0 * (buffer[x] + buffer[x + _u8(10)])
        + _W1 * (buffer[x + _u8(1)] + buffer[x + _u8(9)])
        + _W2 * (buffer[x + _u8(2)] + buffer[x + _u8(8)])
        + _W3 * (buffer[x + _u8(3)] + buffer[x + _u8(7)])
        + _W4 * (buffer[x + _u8(4)] + buffer[x + _u8(6)])
        + _W5 * buffer[x + _u8(5)]
    )


@njit(error_model="numpy", cache=True)
@no_type_check
def _block(task, height, width):
    """Plane, first and last row, first and last column of a task."""
    down, along = (height + ROWS - 1) // ROWS, (width + COLUMNS - 1) // COLUMNS
    plane, rest = task // (down * along), task % (down * along)
    top, left = rest // along * ROWS, rest % along * COLUMNS
    return plane, top, min(height, top + ROWS), left, min(width, left + COLUMNS)


@njit(error_model="numpy", cache=True)
@no_type_check
def tasks(planes, height, width):
    """Number of blocks of all planes."""
    return planes * ((height + ROWS - 1) // ROWS) * ((width + COLUMNS - 1) // COLUMNS)


@njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _measure_block(images, targets, weights, plane, top, bottom, left, right, derivatives):
    """One task of `measure`: its sums of weighted L1 and of weighted 1 - SSIM."""
    height, width = images.shape[1:]
    # the columns with padding that lie in the image, and where they begin in a buffer
    begin, end = max(0, left - RADIUS), min(width, right + RADIUS)
    shift = _u8(begin - (left - RADIUS))
    padded, inner = _u8(end - begin), _u8(right - left)
    # blurred x, y, xx + yy, xy, then the derivatives by blurred x, xx, xy
    buffer = np.zeros(7 * _PITCH, np.float32)
    weight = np.ones(right - left, np.float32)
    l1, dissimilarity = 0.0, 0.0
    for y in range(top, bottom):
        buffer[: 4 * _PITCH] = _ZERO
        for k in range(max(0, y - RADIUS), min(height, y + RADIUS + 1)):
            tap = WINDOW[k - y + RADIUS]
            row_x, row_y = images[plane, k, begin:end], targets[plane, k, begin:end]
            for i in range(padded):
                a, b = row_x[i], row_y[i]
                at = i + shift
                buffer[at + _B0] += tap * a
                buffer[at + _B1] += tap * b
                buffer[at + _B2] += tap * (a * a + b * b)
                buffer[at + _B3] += tap * (a * b)
        if weights.shape[0] > 0:
            weight[:] = weights[plane // 3, y, left:right]
        row_x, row_y = images[plane, y, left:right], targets[plane, y, left:right]
        row_l1, row_dissimilarity = _ZERO, _ZERO
        for i in range(inner):
            mx, my = _across(buffer, i + _B0), _across(buffer, i + _B1)
            mxy, squares = mx * my, mx * mx + my * my
            a1, a2 = _TWO * mxy + _C1, _TWO * (_across(buffer, i + _B3) - mxy) + _C2
            i1, i2 = _ONE / (squares + _C1), _ONE / (_across(buffer, i + _B2) - squares + _C2)
            w = weight[i]
            similarity = a1 * a2 * i1 * i2
            row_dissimilarity += w * (_ONE - similarity)
            row_l1 += w * abs(row_x[i] - row_y[i])
            by_product = _TWO * w * a1 * i1 * i2
            by_square = -w * similarity * i2
            buffer[i + _B4] = (
                _TWO * (my * (w * a2 * i1 * i2) - mx * (w * similarity * i1 + by_square)) - by_product * my
            )
            buffer[i + _B5] = by_square
            buffer[i + _B6] = by_product
        l1 += row_l1
        dissimilarity += row_dissimilarity
        if derivatives.shape[1] > 0:
            for k in range(3):
                derivatives[k, plane, y, left:right] = buffer[(4 + k) * _PITCH : (4 + k) * _PITCH + right - left]
    return l1, dissimilarity


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def measure(images, targets, weights, derivatives, sums):
    """Sums of the weighted L1 and 1 - SSIM per task.

    Inputs: images, targets [planes, H, W], weights [views, H, W] or empty, planes = 3 views. Outputs: sums float64
    [tasks, 2]; derivatives [3, planes, H, W] of SSIM by the blurred x, xx and xy, unless [3, 0, 0, 0].
    """
    planes, height, width = images.shape
    for task in prange(tasks(planes, height, width)):
        plane, top, bottom, left, right = _block(task, height, width)
        l1, dissimilarity = _measure_block(images, targets, weights, plane, top, bottom, left, right, derivatives)
        sums[task, 0] = l1
        sums[task, 1] = dissimilarity


@njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _differentiate_block(
    images, targets, weights, derivatives, plane, top, bottom, left, right, l1_factor, ssim_factor, gradient
):
    """One task of `differentiate`."""
    height, width = images.shape[1:]
    begin, end = max(0, left - RADIUS), min(width, right + RADIUS)
    shift = _u8(begin - (left - RADIUS))
    padded, inner = _u8(end - begin), _u8(right - left)
    buffer = np.empty(3 * _PITCH, np.float32)
    weight = np.ones(right - left, np.float32)
    for y in range(top, bottom):
        buffer[:] = _ZERO
        for k in range(max(0, y - RADIUS), min(height, y + RADIUS + 1)):
            tap = WINDOW[k - y + RADIUS]
            by_mean, by_square = derivatives[0, plane, k, begin:end], derivatives[1, plane, k, begin:end]
            by_product = derivatives[2, plane, k, begin:end]
            for i in range(padded):
                at = i + shift
                buffer[at + _B0] += tap * by_mean[i]
                buffer[at + _B1] += tap * by_square[i]
                buffer[at + _B2] += tap * by_product[i]
        if weights.shape[0] > 0:
            weight[:] = weights[plane // 3, y, left:right]
        row_x, row_y = images[plane, y, left:right], targets[plane, y, left:right]
        out = gradient[plane, y, left:right]
        for i in range(inner):
            a, b = row_x[i], row_y[i]
            sign = _f4(a > b) - _f4(a < b)
            similarity = _across(buffer, i + _B0) + _TWO * a * _across(buffer, i + _B1) + b * _across(buffer, i + _B2)
            out[i] = l1_factor * weight[i] * sign - ssim_factor * similarity


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def differentiate(images, targets, weights, derivatives, l1_factor, ssim_factor, gradient):
    """Gradient [planes, H, W] of ``l1_factor`` times the L1 sum plus ``ssim_factor`` times the 1 - SSIM sum."""
    planes, height, width = images.shape
    for task in prange(tasks(planes, height, width)):
        plane, top, bottom, left, right = _block(task, height, width)
        _differentiate_block(
            images, targets, weights, derivatives, plane, top, bottom, left, right, l1_factor, ssim_factor, gradient
        )


@njit(error_model="numpy", cache=True)
@no_type_check
def chunks(count):
    """Number of chunks of ``count`` values."""
    return (count + CHUNK - 1) // CHUNK


@njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _absolute_chunk(values, targets, weights, share, gradient):
    """One chunk of `absolute`: its sum."""
    total = _ZERO
    for i in range(values.shape[0]):
        a, b = values[i], targets[i]
        weight = weights[i] if weights.shape[0] > 0 else _ONE
        total += weight * abs(a - b)
        gradient[i] = share * weight * (_f4(a > b) - _f4(a < b))
    return total


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def absolute(values, targets, weights, share, sums, gradient):
    """Weighted sums of |values - targets|, and the gradient of ``share`` times all of them.

    Inputs: values and targets [N], weights [N] or empty. Outputs: sums float64 [chunks]; gradient [N].
    """
    for chunk in prange(chunks(values.shape[0])):
        first, last = chunk * CHUNK, min(values.shape[0], (chunk + 1) * CHUNK)
        sums[chunk] = _absolute_chunk(
            values[first:last], targets[first:last], weights[first:last], share, gradient[first:last]
        )
