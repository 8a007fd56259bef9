"""Kernels that composite the Gaussians of each tile into its pixels, and the backward of that.

Front-to-back alpha compositing with gsplat's rules: alpha = min(0.999, opacity * falloff), skipped below 1/255; a pixel
stops before the Gaussian that would bring its transmittance to 1e-4 or less.

A tile of 16x16 pixels is 32 blocks of 4x2 pixels, the eight lanes of one vector; bit b of a 32-bit set stands for block
b. For each Gaussian of a tile the blocks that its box touches are one integer, cut down to the blocks where a pixel
still lets light through; the loop runs over the set bits and has no branch inside. What forward finds to be of no
effect it clears from the set and stores, so backward visits exactly the blocks that count. The state of a block (its
transmittance and color sums) lies together; the sign bit of the transmittance marks a pixel as finished. Falloff and
opacity are one exponent in base 2, which is what the threshold is compared with.

Backward goes front to back too: with P = what the pixel's gradient makes of everything behind (known for the whole
pixel from the image), dL/dalpha = T (c . v) - P / (1 - alpha) needs no stored transmittances, and follows the same
recurrence as forward, hence the same pixels. Gradients are summed per slot (Gaussian and tile) as moments of the pixel
offsets, left beside those of the Gaussian's other slots and gathered afterwards: no atomics, and the same sums for any
number of threads.

Three color channels, with or without depth, have kernels of their own; any other number goes through
`composite_features`, whose loops over the channels cost more.
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from .projection import (
    CONIC,
    DEPTH,
    EXTENT_X,
    EXTENT_Y,
    FALLOFF_U,
    FALLOFF_Y,
    LOG2_OPACITY,
    OPACITY,
    RECORD,
    RED,
    SHEAR,
    X,
    Y,
)
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

MOMENTS = 8
"""Floats per place for the geometry: sums of g, g u, g dy, g u u, g u dy, g dy dy and of the absolute gradients of the
center's x and y, where g = minus the gradient of half the squared distance."""
COLOR_PLACE = 16
"""Floats per place that `composite_backward` writes: the moments, the gradients of red, green, blue and depth, and four
zeros, so that a place is a cache line: threads that write neighboring places do not take it from each other."""


class Tiles(NamedTuple):
    """Where the Gaussians of one camera are."""

    records: NDArray[np.float32]
    """[N * 16], see `projection`."""
    ids: NDArray[np.int32]
    """[slots] The Gaussian of each slot."""
    offsets: NDArray[np.int64]
    """[tiles + 1] First slot of each tile."""
    blocks: NDArray[np.uint32]
    """[slots] The set of blocks where the Gaussian counts: written by forward, read by backward."""
    places: NDArray[np.int32]
    """[slots] Where backward leaves the sums of each slot; those of a Gaussian are neighbors."""
    tiles_x: int
    """Tiles in a row."""


class Frame(NamedTuple):
    """Size of an image and the distances of its channels and pixels in memory."""

    width: int
    height: int
    channel: int
    pixel: int


class Image(NamedTuple):
    """What is drawn, or its gradient; both flat."""

    color: NDArray[np.float32]
    """[channels H W]"""
    alpha: NDArray[np.float32]
    """[H W]; empty for a gradient that is zero."""


_f4 = np.float32
_i8 = np.int64
_ZERO, _HALF, _ONE = _f4(0), _f4(0.5), _f4(1)
_LAST = _f4(15)
_LN_2 = _f4(math.log(2))
_LOG2_ALPHA_MIN = _f4(math.log2(1 / 255))
_ALPHA_MAX = _f4(0.999)
_STOP = _f4(1e-4)
_TINY = _f4(1e-10)
"""Smallest alpha by which depth is divided."""
_ALL_BLOCKS = (1 << 32) - 1
_AHEAD = 6
"""How many slots ahead memory is fetched into the cache."""

_lane = np.arange(256)
_PIXELS = _HALF + np.concatenate([((_lane >> 3) & 3) * 4 + (_lane & 3), (_lane >> 5) * 2 + ((_lane >> 2) & 1)]).astype(
    _f4
)
"""Pixel centers in the tile, block by block: 256 x coordinates, then 256 y coordinates."""


@njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _pixel_lane(x, y, stride):
    """Place of pixel (x, y) of a tile in a state of ``stride`` floats per block."""
    return ((y >> 1) * 4 + (x >> 2)) * stride + (y & 1) * 4 + (x & 3)


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _tile_box(tile, tiles_x, frame):
    """Left, top, columns and rows of a tile, and its first pixel."""
    left, top = (tile % tiles_x) * 16, (tile // tiles_x) * 16
    return left, top, min(16, frame.width - left), min(16, frame.height - top), top * frame.width + left


@njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _touched_blocks(records, at, left, top):
    """Set of the tile's blocks with a pixel center in the Gaussian's box."""
    x, y, extent_x, extent_y = (
        records[at + X] - left,
        records[at + Y] - top,
        records[at + EXTENT_X],
        records[at + EXTENT_Y],
    )
    # clamped as floats: a float beyond int64 has no integer
    x0 = _i8(min(max(np.ceil(x - extent_x - _HALF), _ZERO), _LAST + _ONE))
    x1 = _i8(max(min(np.floor(x + extent_x - _HALF), _LAST), -_ONE))
    y0 = _i8(min(max(np.ceil(y - extent_y - _HALF), _ZERO), _LAST + _ONE))
    y1 = _i8(max(min(np.floor(y + extent_y - _HALF), _LAST), -_ONE))
    if (x0 > x1) | (y0 > y1):
        return _i8(0)
    columns = ((2 << (x1 >> 2)) - 1) & ~((1 << (x0 >> 2)) - 1)
    rows = ((1 << (4 * ((y1 >> 1) + 1))) - 1) & ~((1 << (4 * (y0 >> 1))) - 1)
    return (columns * 0x11111111) & rows


@njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _shape(records, at, left, top):
    """A Gaussian's center relative to the tile, falloff and opacity, each in all lanes."""
    return (
        splat(records[at + X] - left),
        splat(records[at + Y] - top),
        splat(records[at + FALLOFF_U]),
        splat(records[at + SHEAR]),
        splat(records[at + FALLOFF_Y]),
        splat(records[at + LOG2_OPACITY]),
    )


@njit(fastmath=True, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _offsets(block, shape):
    """Offsets u and dy of a block's pixels from a Gaussian's center, and log2 of opacity times falloff there."""
    x, y, falloff_u, shear, falloff_y, log2_opacity = shape
    dy = load(_PIXELS, block * 8 + 256) - y
    u = fma(shear, dy, load(_PIXELS, block * 8) - x)
    return u, dy, fnma(falloff_u * u, u, fnma(falloff_y * dy, dy, log2_opacity))


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _composite_tile(tile, tiles, frame, background, out, depth, expected, state):
    """One tile of `composite`; ``state`` [32 * 40] holds per block: transmittance, red, green, blue, depth."""
    left, top, columns, rows, corner = _tile_box(tile, tiles.tiles_x, frame)
    records, ids = tiles.records, tiles.ids
    first, last = tiles.offsets[tile], tiles.offsets[tile + 1]
    if first == last:
        for y in range(rows):
            for x in range(columns):
                at = corner + y * frame.width + x
                out.alpha[at] = _ZERO
                for c in range(3):
                    out.color[c * frame.channel + at * frame.pixel] = background[c]
                if depth is not None:
                    depth[at] = _ZERO
        return

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
            prefetch(records, _i8(ids[slot + _AHEAD]) * RECORD)
        at = _i8(ids[slot]) * RECORD
        todo = alive & _touched_blocks(records, at, origin_x, origin_y)
        shape = _shape(records, at, origin_x, origin_y)
        red, green, blue = splat(records[at + RED]), splat(records[at + RED + 1]), splat(records[at + RED + 2])
        z = splat(records[at + DEPTH])
        useful = _i8(0)
        while todo != 0:
            block = trailing_zeros(todo)
            todo &= todo - 1
            _, _, power = _offsets(block, shape)
            seen = power >= threshold
            alpha = select(seen, minimum(exp2(power), alpha_max), zero)
            s = block * 40
            transmittance = load(state, s)
            after = fnma(alpha, transmittance, transmittance)
            live = after > stop
            weight = select(live, alpha * transmittance, zero)
            rest = select(live, after, negative_absolute(transmittance))
            store(state, s, rest)
            store(state, s + 8, fma(weight, red, load(state, s + 8)))
            store(state, s + 16, fma(weight, green, load(state, s + 16)))
            store(state, s + 24, fma(weight, blue, load(state, s + 24)))
            if depth is not None:
                store(state, s + 32, fma(weight, z, load(state, s + 32)))
            useful |= any_lane(live & seen) << block
            alive &= ~(all_negative(rest) << block)
        tiles.blocks[slot] = useful
        slot += 1
    while slot < last:
        tiles.blocks[slot] = 0
        slot += 1

    for y in range(rows):
        for x in range(columns):
            s = _pixel_lane(x, y, 40)
            at = corner + y * frame.width + x
            through = abs(state[s])
            opaque = _ONE - through
            out.alpha[at] = opaque
            for c in range(3):
                out.color[c * frame.channel + at * frame.pixel] = state[s + 8 + c * 8] + through * background[c]
            if depth is not None:
                depth[at] = state[s + 32] / max(opaque, _TINY) if expected else state[s + 32]


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def composite(workers, tickets, tiles, frame, background, out, depth, expected):
    """Draw one camera's colors over ``background`` [3] and alpha into ``out``, and depth into ``depth``.

    ``depth`` [H W], or None where it is not wanted, is divided by alpha if ``expected``.
    ``workers`` threads take tiles by ``tickets`` (int64 [1], zero at the start).
    """
    count = tiles.offsets.shape[0] - 1
    for _ in prange(workers):
        state = np.empty(32 * 40, np.float32)
        tile = take_ticket(tickets)
        while tile < count:
            _composite_tile(tile, tiles, frame, background, out, depth, expected, state)
            tile = take_ticket(tickets)


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _composite_tile_backward(tile, tiles, frame, out, grad, depth, grad_depth, expected, sums, state):
    """One tile of `composite_backward`.

    ``state`` [32 * 48] holds per block: transmittance, what is behind, gradients of red, green, blue, depth.
    """
    left, top, columns, rows, corner = _tile_box(tile, tiles.tiles_x, frame)
    records, ids = tiles.records, tiles.ids
    first, last = tiles.offsets[tile], tiles.offsets[tile + 1]
    if first == last:
        return

    zero, one = splat(_ZERO), splat(_ONE)
    if columns * rows < 256:
        # pixels beyond the image count as finished
        state[:] = _ZERO
        for block in range(32):
            store(state, block * 48, negative_absolute(one))
    with_alpha = grad.alpha.shape[0] > 0
    for y in range(rows):
        for x in range(columns):
            s = _pixel_lane(x, y, 48)
            at = corner + y * frame.width + x
            behind = _ZERO
            for c in range(3):
                g = grad.color[c * frame.channel + at * frame.pixel]
                state[s + 16 + c * 8] = g
                behind += g * out.color[c * frame.channel + at * frame.pixel]
            opaque = out.alpha[at]
            grad_alpha = grad.alpha[at] if with_alpha else _ZERO
            if grad_depth is not None:
                g, d = grad_depth[at], depth[at]
                if expected:
                    norm = max(opaque, _TINY)
                    g /= norm
                    if opaque > _TINY:
                        grad_alpha -= g * d
                    d *= norm
                state[s + 40] = g
                behind += g * d
            # alpha = 1 - T at the end, so its gradient acts like a background of -1
            state[s + 8] = behind - grad_alpha * (_ONE - opaque)
            state[s] = _ONE

    threshold, alpha_max, stop = splat(_LOG2_ALPHA_MIN), splat(_ALPHA_MAX), splat(_STOP)
    origin_x, origin_y = _f4(left), _f4(top)
    for slot in range(first, last):
        todo = _i8(tiles.blocks[slot])
        to = _i8(tiles.places[slot]) * COLOR_PLACE
        if todo == 0:
            store(sums, to, zero)
            store(sums, to + 8, zero)
            continue
        if slot + _AHEAD < last:
            prefetch(records, _i8(ids[slot + _AHEAD]) * RECORD)
            prefetch(sums, _i8(tiles.places[slot + _AHEAD]) * COLOR_PLACE)
        at = _i8(ids[slot]) * RECORD
        shape = _shape(records, at, origin_x, origin_y)
        red, green, blue = splat(records[at + RED]), splat(records[at + RED + 1]), splat(records[at + RED + 2])
        z = splat(records[at + DEPTH])
        slope_u, slope_y, shear = shape[2] + shape[2], shape[4] + shape[4], shape[3]
        sum_r, sum_g, sum_b, sum_z = zero, zero, zero, zero
        sum_1, sum_u, sum_y, sum_uu, sum_uy, sum_yy, abs_x, abs_y = zero, zero, zero, zero, zero, zero, zero, zero
        while todo != 0:
            block = trailing_zeros(todo)
            todo &= todo - 1
            u, dy, power = _offsets(block, shape)
            unclamped = select(power >= threshold, exp2(power), zero)
            alpha = minimum(unclamped, alpha_max)
            s = block * 48
            transmittance = load(state, s)
            after = fnma(alpha, transmittance, transmittance)
            live = after > stop
            store(state, s, select(live, after, negative_absolute(transmittance)))
            weight = select(live, alpha * transmittance, zero)
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
            grad_alpha = fnma(behind, reciprocal(one - alpha), transmittance * value)
            # the gradient of log(alpha); none where alpha was clamped
            g = select(live & (unclamped <= alpha_max), unclamped * grad_alpha, zero)
            gu, gy = g * u, g * dy
            sum_1 = sum_1 + g
            sum_u = sum_u + gu
            sum_y = sum_y + gy
            sum_uu = fma(gu, u, sum_uu)
            sum_uy = fma(gu, dy, sum_uy)
            sum_yy = fma(gy, dy, sum_yy)
            grad_x = slope_u * gu
            abs_x = abs_x + absolute(grad_x)
            abs_y = abs_y + absolute(fma(shear, grad_x, slope_y * gy))
        store(sums, to, sums_of_eight(sum_1, sum_u, sum_y, sum_uu, sum_uy, sum_yy, abs_x, abs_y))
        store(sums, to + 8, sums_of_eight(sum_r, sum_g, sum_b, sum_z, zero, zero, zero, zero))


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def composite_backward(workers, tickets, tiles, frame, out, grad, depth, grad_depth, expected, sums):
    """Gradients per place from those of what `composite` drew.

    ``depth`` and ``grad_depth`` are None where there is no gradient of depth.
    Output: sums [places * COLOR_PLACE].
    """
    count = tiles.offsets.shape[0] - 1
    for _ in prange(workers):
        state = np.empty(32 * 48, np.float32)
        tile = take_ticket(tickets)
        while tile < count:
            _composite_tile_backward(tile, tiles, frame, out, grad, depth, grad_depth, expected, sums, state)
            tile = take_ticket(tickets)


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _composite_features_tile(tile, tiles, frame, features, background, out):
    """One tile of `composite_features`."""
    left, top, columns, rows, corner = _tile_box(tile, tiles.tiles_x, frame)
    records, ids = tiles.records, tiles.ids
    first, last = tiles.offsets[tile], tiles.offsets[tile + 1]
    channels = background.shape[0]
    # per block: transmittance, then the channels
    stride = 8 * (1 + channels)
    state = np.zeros(32 * stride, np.float32)
    zero, one = splat(_ZERO), splat(_ONE)
    threshold, alpha_max, stop = splat(_LOG2_ALPHA_MIN), splat(_ALPHA_MAX), splat(_STOP)
    for block in range(32):
        store(state, block * stride, one)
    origin_x, origin_y = _f4(left), _f4(top)
    alive = _i8(_ALL_BLOCKS)
    for slot in range(first, last):
        at = _i8(ids[slot]) * RECORD
        todo = alive & _touched_blocks(records, at, origin_x, origin_y)
        shape = _shape(records, at, origin_x, origin_y)
        feature = _i8(ids[slot]) * channels
        useful = _i8(0)
        while todo != 0:
            block = trailing_zeros(todo)
            todo &= todo - 1
            _, _, power = _offsets(block, shape)
            seen = power >= threshold
            alpha = select(seen, minimum(exp2(power), alpha_max), zero)
            s = block * stride
            transmittance = load(state, s)
            after = fnma(alpha, transmittance, transmittance)
            live = after > stop
            weight = select(live, alpha * transmittance, zero)
            rest = select(live, after, negative_absolute(transmittance))
            store(state, s, rest)
            for c in range(channels):
                s += 8
                store(state, s, fma(weight, splat(features[feature + c]), load(state, s)))
            useful |= any_lane(live & seen) << block
            alive &= ~(all_negative(rest) << block)
        tiles.blocks[slot] = useful

    for y in range(rows):
        for x in range(columns):
            s = _pixel_lane(x, y, stride)
            at = corner + y * frame.width + x
            through = abs(state[s])
            out.alpha[at] = _ONE - through
            for c in range(channels):
                s += 8
                out.color[c * frame.channel + at * frame.pixel] = state[s] + through * background[c]


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def composite_features(workers, tickets, tiles, frame, features, background, out):
    """`composite` for ``features`` [N * channels] instead of colors, over ``background`` [channels], without depth."""
    count = tiles.offsets.shape[0] - 1
    for _ in prange(workers):
        tile = take_ticket(tickets)
        while tile < count:
            _composite_features_tile(tile, tiles, frame, features, background, out)
            tile = take_ticket(tickets)


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _composite_features_tile_backward(tile, tiles, frame, features, channels, out, grad, sums):
    """One tile of `composite_features_backward`."""
    left, top, columns, rows, corner = _tile_box(tile, tiles.tiles_x, frame)
    records, ids = tiles.records, tiles.ids
    first, last = tiles.offsets[tile], tiles.offsets[tile + 1]
    # per block: transmittance, what is behind, gradients of the channels
    stride = 8 * (2 + channels)
    state = np.zeros(32 * stride, np.float32)
    zero, one = splat(_ZERO), splat(_ONE)
    for block in range(32):
        store(state, block * stride, negative_absolute(one))
    with_alpha = grad.alpha.shape[0] > 0
    for y in range(rows):
        for x in range(columns):
            s = _pixel_lane(x, y, stride)
            at = corner + y * frame.width + x
            behind = _ZERO
            for c in range(channels):
                g = grad.color[c * frame.channel + at * frame.pixel]
                state[s + 16 + c * 8] = g
                behind += g * out.color[c * frame.channel + at * frame.pixel]
            grad_alpha = grad.alpha[at] if with_alpha else _ZERO
            state[s + 8] = behind - grad_alpha * (_ONE - out.alpha[at])
            state[s] = _ONE

    threshold, alpha_max, stop = splat(_LOG2_ALPHA_MIN), splat(_ALPHA_MAX), splat(_STOP)
    origin_x, origin_y = _f4(left), _f4(top)
    sum_channels = np.empty(8 * channels, np.float32)
    for slot in range(first, last):
        todo = _i8(tiles.blocks[slot])
        to = _i8(tiles.places[slot]) * (MOMENTS + channels)
        at = _i8(ids[slot]) * RECORD
        feature = _i8(ids[slot]) * channels
        shape = _shape(records, at, origin_x, origin_y)
        slope_u, slope_y, shear = shape[2] + shape[2], shape[4] + shape[4], shape[3]
        sum_1, sum_u, sum_y, sum_uu, sum_uy, sum_yy, abs_x, abs_y = zero, zero, zero, zero, zero, zero, zero, zero
        sum_channels[:] = _ZERO
        while todo != 0:
            block = trailing_zeros(todo)
            todo &= todo - 1
            u, dy, power = _offsets(block, shape)
            unclamped = select(power >= threshold, exp2(power), zero)
            alpha = minimum(unclamped, alpha_max)
            s = block * stride
            transmittance = load(state, s)
            after = fnma(alpha, transmittance, transmittance)
            live = after > stop
            store(state, s, select(live, after, negative_absolute(transmittance)))
            weight = select(live, alpha * transmittance, zero)
            value = zero
            for c in range(channels):
                grad_c = load(state, s + 16 + c * 8)
                store(sum_channels, c * 8, fma(weight, grad_c, load(sum_channels, c * 8)))
                value = fma(splat(features[feature + c]), grad_c, value)
            behind = fnma(weight, value, load(state, s + 8))
            store(state, s + 8, behind)
            grad_alpha = fnma(behind, reciprocal(one - alpha), transmittance * value)
            g = select(live & (unclamped <= alpha_max), unclamped * grad_alpha, zero)
            gu, gy = g * u, g * dy
            sum_1 = sum_1 + g
            sum_u = sum_u + gu
            sum_y = sum_y + gy
            sum_uu = fma(gu, u, sum_uu)
            sum_uy = fma(gu, dy, sum_uy)
            sum_yy = fma(gy, dy, sum_yy)
            grad_x = slope_u * gu
            abs_x = abs_x + absolute(grad_x)
            abs_y = abs_y + absolute(fma(shear, grad_x, slope_y * gy))
        store(sums, to, sums_of_eight(sum_1, sum_u, sum_y, sum_uu, sum_uy, sum_yy, abs_x, abs_y))
        for c in range(channels):
            sums[to + MOMENTS + c] = sum_lanes(load(sum_channels, c * 8))


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def composite_features_backward(workers, tickets, tiles, frame, features, channels, out, grad, sums):
    """`composite_backward` for features; output: sums [places * (8 + channels)]."""
    count = tiles.offsets.shape[0] - 1
    for _ in prange(workers):
        tile = take_ticket(tickets)
        while tile < count:
            _composite_features_tile_backward(tile, tiles, frame, features, channels, out, grad, sums)
            tile = take_ticket(tickets)


@njit(fastmath=True, error_model="numpy", cache=True)
@no_type_check
def _gather_chunk(
    begin, end, sums, width, channels, first_places, records, grad_records, grad_means2d, absgrad, grad_colors, column
):
    """Gaussians ``begin`` to ``end`` of `gather_gradients`."""
    one_vector = width == MOMENTS + 8
    total = np.empty(MOMENTS + max(channels, 8), np.float32)
    for i in range(begin, end):
        moments, colors = splat(_ZERO), splat(_ZERO)
        total[:] = _ZERO
        for at in range(first_places[i] * width, first_places[i + 1] * width, width):
            moments = moments + load(sums, at)
            if one_vector:
                colors = colors + load(sums, at + MOMENTS)
            else:
                for k in range(MOMENTS, width):
                    total[k] += sums[at + k]
        if one_vector:
            store(total, MOMENTS, colors)
        store(total, 0, moments)
        for k in range(RECORD):
            grad_records[i, k] = _ZERO
        inverse_var_u, shear = records[i, CONIC], records[i, SHEAR]
        inverse_var_y = records[i, FALLOFF_Y] * (_LN_2 + _LN_2)
        grad_x = inverse_var_u * total[1]
        grad_means2d[i, 0] = grad_x
        grad_means2d[i, 1] = shear * grad_x + inverse_var_y * total[2]
        absgrad[i, 0] = _LN_2 * total[6]
        absgrad[i, 1] = _LN_2 * total[7]
        if first_places[i + 1] > first_places[i]:
            grad_records[i, FALLOFF_U] = -_HALF * total[3]
            grad_records[i, SHEAR] = -inverse_var_u * total[4]
            grad_records[i, FALLOFF_Y] = -_HALF * total[5]
            grad_records[i, OPACITY] = total[0] / records[i, OPACITY]
        for k in range(channels):
            grad_colors[i, column + k] = total[MOMENTS + k]


@njit(parallel=True, fastmath=True, error_model="numpy", cache=True)
@no_type_check
def gather_gradients(
    sums, width, channels, first_places, records, grad_records, grad_means2d, absgrad, grad_colors, column
):
    """Sum what the backward kernels left for each Gaussian and turn moments into gradients of its record.

    Inputs: sums [places * width], the moments and at least ``channels`` more; first_places [N + 1] of `binning`,
    records [N, 16]. Outputs: grad_records [N, 16], grad_means2d [N, 2], absgrad [N, 2], and the channels into
    grad_colors [N, any] from ``column`` on, which may be grad_records; zero for Gaussians that touch no tile.
    """
    n = records.shape[0]
    for chunk in prange((n + 1023) // 1024):
        _gather_chunk(
            chunk * 1024, min(n, (chunk + 1) * 1024), sums, width, channels, first_places, records, grad_records,
            grad_means2d, absgrad, grad_colors, column,
        )  # fmt: skip
