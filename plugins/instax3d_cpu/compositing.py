"""Kernels that composite the Gaussians of each tile into its pixels, and the backward of that.

Front-to-back alpha compositing with gsplat's rules: alpha = min(0.999, opacity * falloff), skipped below 1/255; a pixel
stops before the Gaussian that would bring its transmittance to 1e-4 or less.

A tile of 16x16 pixels is 32 blocks of 4x2 pixels, the eight lanes of one vector; bit b of a 32-bit set stands for block
b. For each Gaussian of a tile the blocks that its box touches are one integer, cut down to the blocks where a pixel
still lets light through; the loop runs over the set bits and has no branch inside. What forward finds to be of no
effect it clears from the set and stores, so backward visits exactly the blocks that count. The state of a block (its
transmittance and colour sums) lies together; the sign bit of the transmittance marks a pixel as finished.

Backward goes front to back too: with P = what the pixel's gradient makes of everything behind (known for the whole
pixel from the image), dL/dalpha = T (c . v) - P / (1 - alpha) needs no stored transmittances, and follows the same
recurrence as forward, hence the same pixels. Gradients are summed per slot (Gaussian and tile) as moments of the pixel
offsets and gathered per Gaussian afterwards: no atomics, and the same sums for any number of threads.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

from .simd import (
    absolute,
    all_negative,
    any_lane,
    exp2,
    fma,
    fnma,
    load,
    minimum,
    negative_absolute,
    prefetch,
    reciprocal,
    select,
    splat,
    store,
    sum_lanes,
    sums_of_eight,
    take_ticket,
    trailing_zeros,
)

GRADIENTS = 12
"""Floats per slot: red, green, blue, then the moments 1, x, y, xx | xy, yy, |x|, |y|, depth."""

_f4 = np.float32
_i8 = np.int64
_ZERO, _HALF, _ONE, _TWO = _f4(0), _f4(0.5), _f4(1), _f4(2)
_FIFTEEN = _f4(15)
_LN_2 = _f4(math.log(2))
_LOG2_ALPHA_MIN = _f4(math.log2(1 / 255))
_ALPHA_MAX = _f4(0.999)
_STOP = _f4(1e-4)
_TINY = _f4(1e-10)
_ALL_BLOCKS = (1 << 32) - 1
_AHEAD = 6  # how many slots ahead a record is fetched

_lane = np.arange(256)
_PIXELS = (
    np.concatenate([((_lane >> 3) & 3) * 4 + (_lane & 3), (_lane >> 5) * 2 + ((_lane >> 2) & 1)]).astype(_f4) + _HALF
)
"""Pixel centres in the tile, block by block: 256 x coordinates, then 256 y coordinates."""

EXPECTED_DEPTH_EPS = 1e-10
"""Smallest alpha by which depth is divided, as in gsplat."""


@njit(fastmath=True, error_model="numpy", cache=True, inline="always")
@no_type_check
def _pixel_lane(x, y, stride):
    """Place of pixel (x, y) of a tile in a state of ``stride`` floats per block."""
    return ((y >> 1) * 4 + (x >> 2)) * stride + (y & 1) * 4 + (x & 3)


@njit(fastmath=True, error_model="numpy", cache=True, inline="always")
@no_type_check
def _touched_blocks(x, y, extent_x, extent_y):
    """Set of the tile's blocks with a pixel centre in the box; x and y relative to the tile."""
    # clamped as floats: a float beyond int64 has no integer
    x0 = _i8(min(max(np.ceil(x - extent_x - _HALF), _ZERO), _FIFTEEN + _ONE))
    x1 = _i8(max(min(np.floor(x + extent_x - _HALF), _FIFTEEN), -_ONE))
    y0 = _i8(min(max(np.ceil(y - extent_y - _HALF), _ZERO), _FIFTEEN + _ONE))
    y1 = _i8(max(min(np.floor(y + extent_y - _HALF), _FIFTEEN), -_ONE))
    if (x0 > x1) | (y0 > y1):
        return _i8(0)
    columns = ((2 << (x1 >> 2)) - 1) & ~((1 << (x0 >> 2)) - 1)
    rows = ((1 << (4 * ((y1 >> 1) + 1))) - 1) & ~((1 << (4 * (y0 >> 1))) - 1)
    return (columns * 0x11111111) & rows


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _composite_tile(
    tile, records, ids, tile_offsets, tiles_x, width, height, background, strides, image, alpha, depth, expected, blocks
):
    """One tile of `composite`."""
    left, top = (tile % tiles_x) * 16, (tile // tiles_x) * 16
    first, last = tile_offsets[tile], tile_offsets[tile + 1]
    columns, rows = min(16, width - left), min(16, height - top)
    channel, pixel = strides
    if first == last:
        for y in range(rows):
            for x in range(columns):
                at = (top + y) * width + left + x
                alpha[at] = _ZERO
                for c in range(3):
                    image[c * channel + at * pixel] = background[c]
                if depth is not None:
                    depth[at] = _ZERO
        return

    state = np.empty(32 * 40, np.float32)
    zero, one = splat(_ZERO), splat(_ONE)
    threshold, alpha_max, stop = splat(_LOG2_ALPHA_MIN), splat(_ALPHA_MAX), splat(_STOP)
    for block in range(32):
        store(state, block * 40, one)
        for k in range(1, 5):
            store(state, block * 40 + k * 8, zero)
    origin_x, origin_y = _f4(left), _f4(top)
    alive = _i8(_ALL_BLOCKS)
    slot = first
    while (slot < last) & (alive != 0):
        if slot + _AHEAD < last:
            prefetch(records, _i8(ids[slot + _AHEAD]) * 16)
        at = _i8(ids[slot]) * 16
        x, y = records[at] - origin_x, records[at + 1] - origin_y
        todo = _touched_blocks(x, y, records[at + 10], records[at + 11]) & alive
        qxx, qxy, qyy = splat(records[at + 2]), splat(records[at + 3]), splat(records[at + 4])
        log2_opacity = splat(records[at + 5])
        red, green, blue, z = (
            splat(records[at + 6]),
            splat(records[at + 7]),
            splat(records[at + 8]),
            splat(records[at + 9]),
        )
        centre_x, centre_y = splat(x), splat(y)
        useful = _i8(0)
        while todo != 0:
            block = trailing_zeros(todo)
            todo &= todo - 1
            dx = load(_PIXELS, block * 8) - centre_x
            dy = load(_PIXELS, block * 8 + 256) - centre_y
            power = fnma(dx, fma(qxx, dx, qxy * dy), fnma(qyy * dy, dy, log2_opacity))
            seen = power >= threshold
            a = select(seen, minimum(exp2(power), alpha_max), zero)
            s = block * 40
            transmittance = load(state, s)
            after = fnma(a, transmittance, transmittance)
            live = after > stop
            weight = select(live, a * transmittance, zero)
            left_over = select(live, after, negative_absolute(transmittance))
            store(state, s, left_over)
            store(state, s + 8, fma(weight, red, load(state, s + 8)))
            store(state, s + 16, fma(weight, green, load(state, s + 16)))
            store(state, s + 24, fma(weight, blue, load(state, s + 24)))
            if depth is not None:
                store(state, s + 32, fma(weight, z, load(state, s + 32)))
            useful |= any_lane(live & seen) << block
            alive &= ~(all_negative(left_over) << block)
        blocks[slot] = useful
        slot += 1
    while slot < last:
        blocks[slot] = 0
        slot += 1

    for y in range(rows):
        for x in range(columns):
            s = _pixel_lane(x, y, 40)
            at = (top + y) * width + left + x
            rest = abs(state[s])
            opaque = _ONE - rest
            alpha[at] = opaque
            for c in range(3):
                image[c * channel + at * pixel] = state[s + 8 + c * 8] + rest * background[c]
            if depth is not None:
                depth[at] = state[s + 32] / max(opaque, _TINY) if expected else state[s + 32]


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def composite(
    workers,
    tickets,
    records,
    ids,
    tile_offsets,
    tiles_x,
    width,
    height,
    background,
    strides,
    image,
    alpha,
    depth,
    expected,
    blocks,
):
    """Colours, alpha and depth of one camera.

    Inputs: records [N * 16], ids and tile_offsets of `binning`, background [3], strides of ``image`` (channel, pixel).
    Outputs, flat: image [3 H W], alpha [H W], depth [H W] or None (``expected`` divides it by alpha), blocks uint32
    [slots], the sets of blocks that backward has to visit. ``workers`` threads take tiles by ``tickets`` (int64 [1], 0).
    """
    tiles = tile_offsets.shape[0] - 1
    for _ in prange(workers):
        tile = take_ticket(tickets)
        while tile < tiles:
            _composite_tile(
                tile, records, ids, tile_offsets, tiles_x, width, height, background, strides, image, alpha, depth,
                expected, blocks,
            )  # fmt: skip
            tile = take_ticket(tickets)


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _composite_tile_backward(
    tile, records, ids, tile_offsets, tiles_x, width, height, strides, image, alpha, depth, expected, blocks, grad_image,
    grad_alpha, grad_depth, sums,
):  # fmt: skip
    """One tile of `composite_backward`."""
    left, top = (tile % tiles_x) * 16, (tile // tiles_x) * 16
    first, last = tile_offsets[tile], tile_offsets[tile + 1]
    if first == last:
        return
    channel, pixel = strides
    with_alpha = grad_alpha.shape[0] > 0
    state = np.empty(32 * 48, np.float32)
    for y in range(16):
        for x in range(16):
            s = _pixel_lane(x, y, 48)
            if (top + y < height) & (left + x < width):
                at = (top + y) * width + left + x
                behind = _ZERO
                for c in range(3):
                    g = grad_image[c * channel + at * pixel]
                    state[s + 16 + c * 8] = g
                    behind += g * image[c * channel + at * pixel]
                opaque = alpha[at]
                ga = grad_alpha[at] if with_alpha else _ZERO
                if grad_depth is not None:
                    g = grad_depth[at]
                    d = depth[at]
                    if expected:
                        norm = max(opaque, _TINY)
                        g /= norm
                        if opaque > _TINY:
                            ga -= g * d
                        d *= norm
                    state[s + 40] = g
                    behind += g * d
                # alpha = 1 - T at the end, so its gradient acts like a background of -1
                state[s] = _ONE
                state[s + 8] = behind - ga * (_ONE - opaque)
            else:
                state[s] = -_ONE
                for k in range(1, 6):
                    state[s + k * 8] = _ZERO

    zero, one = splat(_ZERO), splat(_ONE)
    threshold, alpha_max, stop = splat(_LOG2_ALPHA_MIN), splat(_ALPHA_MAX), splat(_STOP)
    origin_x, origin_y = _f4(left), _f4(top)
    for slot in range(first, last):
        todo = _i8(blocks[slot])
        out = slot * GRADIENTS
        if todo == 0:
            for k in range(GRADIENTS):
                sums[out + k] = _ZERO
            continue
        if slot + _AHEAD < last:
            prefetch(records, _i8(ids[slot + _AHEAD]) * 16)
        at = _i8(ids[slot]) * 16
        qxx, qxy, qyy = splat(records[at + 2]), splat(records[at + 3]), splat(records[at + 4])
        log2_opacity = splat(records[at + 5])
        red, green, blue, z = (
            splat(records[at + 6]),
            splat(records[at + 7]),
            splat(records[at + 8]),
            splat(records[at + 9]),
        )
        centre_x, centre_y = splat(records[at] - origin_x), splat(records[at + 1] - origin_y)
        qxx2, qyy2 = qxx + qxx, qyy + qyy
        sum_r, sum_g, sum_b, sum_z = zero, zero, zero, zero
        sum_1, sum_x, sum_y, sum_xx, sum_xy, sum_yy, abs_x, abs_y = zero, zero, zero, zero, zero, zero, zero, zero
        while todo != 0:
            block = trailing_zeros(todo)
            todo &= todo - 1
            dx = load(_PIXELS, block * 8) - centre_x
            dy = load(_PIXELS, block * 8 + 256) - centre_y
            power = fnma(dx, fma(qxx, dx, qxy * dy), fnma(qyy * dy, dy, log2_opacity))
            unclamped = select(power >= threshold, exp2(power), zero)
            a = minimum(unclamped, alpha_max)
            s = block * 48
            transmittance = load(state, s)
            after = fnma(a, transmittance, transmittance)
            live = after > stop
            store(state, s, select(live, after, negative_absolute(transmittance)))
            weight = select(live, a * transmittance, zero)
            grad_r, grad_g, grad_b = load(state, s + 16), load(state, s + 24), load(state, s + 32)
            sum_r = fma(weight, grad_r, sum_r)
            sum_g = fma(weight, grad_g, sum_g)
            sum_b = fma(weight, grad_b, sum_b)
            value = fma(red, grad_r, fma(green, grad_g, blue * grad_b))
            if grad_depth is not None:
                grad_z = load(state, s + 40)
                sum_z = fma(weight, grad_z, sum_z)
                value = fma(z, grad_z, value)
            behind = fnma(weight, value, load(state, s + 8))
            store(state, s + 8, behind)
            grad_a = fnma(behind, reciprocal(one - a), transmittance * value)
            # minus the gradient of the exponent; none where alpha was clamped
            g = select(live & (unclamped <= alpha_max), unclamped * grad_a, zero)
            gx, gy = g * dx, g * dy
            sum_1 = sum_1 + g
            sum_x = sum_x + gx
            sum_y = sum_y + gy
            sum_xx = fma(gx, dx, sum_xx)
            sum_xy = fma(gx, dy, sum_xy)
            sum_yy = fma(gy, dy, sum_yy)
            abs_x = abs_x + absolute(fma(qxx2, gx, qxy * gy))
            abs_y = abs_y + absolute(fma(qxy, gx, qyy2 * gy))
        store(sums, out, sums_of_eight(sum_r, sum_g, sum_b, sum_1, sum_x, sum_y, sum_xx, sum_xy))
        sums[out + 8] = sum_lanes(sum_yy)
        sums[out + 9] = sum_lanes(abs_x)
        sums[out + 10] = sum_lanes(abs_y)
        if grad_depth is not None:
            sums[out + 11] = sum_lanes(sum_z)
        else:
            sums[out + 11] = _ZERO


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def composite_backward(
    workers, tickets, records, ids, tile_offsets, tiles_x, width, height, strides, image, alpha, depth, expected, blocks,
    grad_image, grad_alpha, grad_depth, sums,
):  # fmt: skip
    """Gradients per slot, sums [slots * 12], from those of what `composite` wrote, flat.

    grad_alpha is empty where alpha has no gradient; depth and grad_depth are None where depth has none.
    """
    tiles = tile_offsets.shape[0] - 1
    for _ in prange(workers):
        tile = take_ticket(tickets)
        while tile < tiles:
            _composite_tile_backward(
                tile, records, ids, tile_offsets, tiles_x, width, height, strides, image, alpha, depth, expected, blocks,
                grad_image, grad_alpha, grad_depth, sums,
            )  # fmt: skip
            tile = take_ticket(tickets)


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def gather_gradients(sums, order, slots, first_slots, records, grad_records, grad_means2d, absgrad):
    """Sum the slots of each Gaussian and turn moments into gradients of its record.

    Outputs: grad_records [N, 16] (colour, depth, conic, opacity slots), grad_means2d [N, 2], absgrad [N, 2]; rows of
    Gaussians that are not in ``order`` are left alone.
    """
    m = order.shape[0]
    for chunk in prange((m + 1023) // 1024):
        total = np.empty(GRADIENTS, np.float32)
        for rank in range(chunk * 1024, min(m, (chunk + 1) * 1024)):
            for k in range(GRADIENTS):
                total[k] = _ZERO
            for place in range(first_slots[rank], first_slots[rank + 1]):
                slot = slots[place]
                for k in range(GRADIENTS):
                    total[k] += sums[slot, k]
            i = order[rank]
            a, b, c = records[i, 12], records[i, 13], records[i, 14]
            grad_means2d[i, 0] = a * total[4] + b * total[5]
            grad_means2d[i, 1] = b * total[4] + c * total[5]
            absgrad[i, 0] = _LN_2 * total[9]
            absgrad[i, 1] = _LN_2 * total[10]
            grad_records[i, 6] = total[0]
            grad_records[i, 7] = total[1]
            grad_records[i, 8] = total[2]
            grad_records[i, 9] = total[11]
            grad_records[i, 12] = -_HALF * total[6]
            grad_records[i, 13] = -total[7]
            grad_records[i, 14] = -_HALF * total[8]
            # the gradient of log(opacity) was summed
            grad_records[i, 15] = total[3] / records[i, 15]
