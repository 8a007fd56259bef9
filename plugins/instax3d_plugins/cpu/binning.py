"""Kernels that sort projected Gaussians by depth and deal them out to the image's tiles."""

from typing import no_type_check

import numpy as np
from numba import njit, prange

from .projection import DEPTH, EXTENT_X, EXTENT_Y, X, Y
from .simd import prefetch

TILE = 16
"""Side of a tile, pixels."""

_f4 = np.float32
_HALF, _INVERSE_TILE = _f4(0.5), _f4(1 / TILE)
_AHEAD = 8
"""How many Gaussians ahead a span is fetched into the cache."""
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


@njit(error_model="numpy", cache=True)
@no_type_check
def _tile_span(center, extent, tiles):
    """First tile with a pixel center within ``extent`` of ``center``, and the first one after it without."""
    # clamped as floats: a float beyond int64 has no integer
    limit = _f4(tiles)
    first = min(limit, max(_f4(0), np.floor((center - extent - _HALF) * _INVERSE_TILE)))
    end = min(limit, max(_f4(-1), np.floor((center + extent - _HALF) * _INVERSE_TILE)) + _f4(1))
    return np.int32(first), np.int32(max(first, end))


@njit(parallel=True, error_model="numpy", cache=True)
@no_type_check
def find_spans(records, radii, tiles_x, tiles_y, spans, first_places):
    """Which tiles each Gaussian touches.

    Outputs: spans int32 [N, 4] (first tile and end in x, then in y; unset where culled); first_places int64 [N + 1]:
    how many tiles each Gaussian touches, one element further on.
    """
    for i in prange(records.shape[0]):
        first_places[i + 1] = 0
        if radii[i, 0] != 0:
            x0, x1 = _tile_span(records[i, X], records[i, EXTENT_X], tiles_x)
            y0, y1 = _tile_span(records[i, Y], records[i, EXTENT_Y], tiles_y)
            spans[i, 0], spans[i, 1], spans[i, 2], spans[i, 3] = x0, x1, y0, y1
            first_places[i + 1] = (x1 - x0) * (y1 - y0)


@njit(error_model="numpy", cache=True)
@no_type_check
def number_places(first_places):
    """Sum up, in place, the numbers of `find_spans` to the first of each Gaussian's places."""
    first_places[0] = 0
    for i in range(1, first_places.shape[0]):
        first_places[i] += first_places[i - 1]


@njit(parallel=True, error_model="numpy", cache=True)
@no_type_check
def count_tiles(order, spans, tiles_x, counts):
    """First pass of the counting sort into tiles, over ``counts.shape[0]`` runs of the depth order.

    Output: counts int64 [runs, tiles], how many Gaussians of each run touch each tile.
    """
    runs = counts.shape[0]
    m = order.shape[0]
    for run in prange(runs):
        counts[run] = 0
        end = m * (run + 1) // runs
        for rank in range(m * run // runs, end):
            if rank + _AHEAD < end:
                prefetch(spans, np.int64(order[rank + _AHEAD]) * 4)
            g = order[rank]
            for ty in range(spans[g, 2], spans[g, 3]):
                for tx in range(spans[g, 0], spans[g, 1]):
                    counts[run, ty * tiles_x + tx] += 1


@njit(error_model="numpy", cache=True)
@no_type_check
def number_tiles(counts, tile_offsets):
    """Turn counts, in place, into the first slot of each run in each tile.

    Output: tile_offsets int64 [tiles + 1], the first slot of each tile.
    """
    total = 0
    for tile in range(counts.shape[1]):
        tile_offsets[tile] = total
        for run in range(counts.shape[0]):
            here = counts[run, tile]
            counts[run, tile] = total
            total += here
    tile_offsets[counts.shape[1]] = total


@njit(parallel=True, error_model="numpy", cache=True)
@no_type_check
def fill_tiles(order, spans, counts, first_places, tiles_x, ids, places):
    """Second pass: each tile's Gaussians, nearest first.

    Outputs: ids int32 [slots], the Gaussian of each slot; places int32 [slots], a numbering in which the slots of a
    Gaussian are neighbors (left alone if empty: only the backward pass needs it).
    """
    runs = counts.shape[0]
    m = order.shape[0]
    both = places.shape[0] > 0
    for run in prange(runs):
        end = m * (run + 1) // runs
        for rank in range(m * run // runs, end):
            if rank + _AHEAD < end:
                prefetch(spans, np.int64(order[rank + _AHEAD]) * 4)
                prefetch(first_places, order[rank + _AHEAD])
            g = order[rank]
            place = first_places[g]
            for ty in range(spans[g, 2], spans[g, 3]):
                for tx in range(spans[g, 0], spans[g, 1]):
                    tile = ty * tiles_x + tx
                    slot = counts[run, tile]
                    counts[run, tile] = slot + 1
                    ids[slot] = g
                    if both:
                        places[slot] = place
                    place += 1
