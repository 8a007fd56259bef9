"""Kernels that sort projected Gaussians by depth and deal them out to the image's tiles."""

from typing import no_type_check

import numpy as np
from numba import njit, prange

from .projection import DEPTH, EXTENT_X, EXTENT_Y, X, Y

TILE = 16
"""Side of a tile, pixels."""

_f4 = np.float32
_HALF, _INVERSE_TILE = _f4(0.5), _f4(1 / TILE)
_u4 = np.uint32
_DIGIT, _SHIFT_1, _SHIFT_2 = _u4(2047), _u4(11), _u4(22)


@njit(error_model="numpy", cache=True)
@no_type_check
def sort_by_depth(records, radii):
    """Indices (int32) of the Gaussians that are not culled, nearest first, equal depths by index.

    A radix sort of three passes on the bits of the depths, which are positive floats and so order like integers.
    """
    n = records.shape[0]
    count = 0
    for i in range(n):
        count += radii[i, 0] != 0
    keys, other_keys = np.empty(count, np.uint32), np.empty(count, np.uint32)
    order, other_order = np.empty(count, np.int32), np.empty(count, np.int32)
    depth_bits = records.view(np.uint32)
    starts = np.zeros((3, 2048), np.int32)
    k = 0
    for i in range(n):
        if radii[i, 0] != 0:
            key = depth_bits[i, DEPTH]
            other_keys[k] = key
            other_order[k] = i
            k += 1
            starts[0, key & _DIGIT] += 1
            starts[1, (key >> _SHIFT_1) & _DIGIT] += 1
            starts[2, key >> _SHIFT_2] += 1
    for digit in range(3):
        total = 0
        for value in range(2048):
            here = starts[digit, value]
            starts[digit, value] = total
            total += here
    for k in range(count):
        key = other_keys[k]
        at = starts[0, key & _DIGIT]
        starts[0, key & _DIGIT] = at + 1
        keys[at], order[at] = key, other_order[k]
    for k in range(count):
        key = keys[k]
        at = starts[1, (key >> _SHIFT_1) & _DIGIT]
        starts[1, (key >> _SHIFT_1) & _DIGIT] = at + 1
        other_keys[at], other_order[at] = key, order[k]
    for k in range(count):
        key = other_keys[k]
        at = starts[2, key >> _SHIFT_2]
        starts[2, key >> _SHIFT_2] = at + 1
        order[at] = other_order[k]
    return order


@njit(error_model="numpy", cache=True, inline="always")
@no_type_check
def _tile_span(centre, extent, tiles):
    """First and last tile (inclusive) with a pixel centre within ``extent`` of ``centre``; first > last if none."""
    # clamped as floats: a float beyond int64 has no integer
    limit = _f4(tiles)
    first = max(_f4(0), min(limit, np.floor((centre - extent - _HALF) * _INVERSE_TILE)))
    last = max(_f4(-1), min(limit - _f4(1), np.floor((centre + extent - _HALF) * _INVERSE_TILE)))
    return np.int32(first), np.int32(last)


@njit(parallel=True, error_model="numpy", cache=True)
@no_type_check
def count_tiles(records, order, tiles_x, tiles_y, spans, counts):
    """First pass of the counting sort into tiles, over ``counts.shape[0]`` runs of the depth order.

    Outputs: spans int32 [M, 4] (first and last tile in x, then in y), counts int64 [runs, tiles].
    """
    runs = counts.shape[0]
    m = order.shape[0]
    for run in prange(runs):
        for tile in range(tiles_x * tiles_y):
            counts[run, tile] = 0
        for rank in range(m * run // runs, m * (run + 1) // runs):
            g = order[rank]
            x0, x1 = _tile_span(records[g, X], records[g, EXTENT_X], tiles_x)
            y0, y1 = _tile_span(records[g, Y], records[g, EXTENT_Y], tiles_y)
            spans[rank, 0], spans[rank, 1], spans[rank, 2], spans[rank, 3] = x0, x1, y0, y1
            for ty in range(y0, y1 + 1):
                for tx in range(x0, x1 + 1):
                    counts[run, ty * tiles_x + tx] += 1


@njit(error_model="numpy", cache=True)
@no_type_check
def offsets_of(counts, spans, tile_offsets, first_slots):
    """Turn counts into the first slot of each run in each tile, in place; returns the number of slots.

    Outputs: tile_offsets int64 [tiles + 1]; first_slots int64 [M + 1], each Gaussian's first place in `fill_tiles`'s
    ``slots``.
    """
    total = 0
    for tile in range(counts.shape[1]):
        tile_offsets[tile] = total
        for run in range(counts.shape[0]):
            here = counts[run, tile]
            counts[run, tile] = total
            total += here
    tile_offsets[counts.shape[1]] = total
    place = 0
    for rank in range(spans.shape[0]):
        first_slots[rank] = place
        width = max(0, spans[rank, 1] - spans[rank, 0] + 1)
        place += width * max(0, spans[rank, 3] - spans[rank, 2] + 1)
    first_slots[spans.shape[0]] = place
    return total


@njit(parallel=True, error_model="numpy", cache=True)
@no_type_check
def fill_tiles(order, spans, counts, first_slots, tiles_x, ids, slots):
    """Second pass: each tile's Gaussians, nearest first.

    Outputs: ids int32 [slots], the Gaussian of each slot; slots int32 [slots], each Gaussian's slots one after another
    (left alone if empty: only the backward pass needs it).
    """
    runs = counts.shape[0]
    m = order.shape[0]
    both = slots.shape[0] > 0
    for run in prange(runs):
        for rank in range(m * run // runs, m * (run + 1) // runs):
            place = first_slots[rank]
            for ty in range(spans[rank, 2], spans[rank, 3] + 1):
                for tx in range(spans[rank, 0], spans[rank, 1] + 1):
                    tile = ty * tiles_x + tx
                    slot = counts[run, tile]
                    counts[run, tile] = slot + 1
                    ids[slot] = order[rank]
                    if both:
                        slots[place] = slot
                    place += 1
