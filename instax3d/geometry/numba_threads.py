"""Keeps numba's threads and torch's out of each other's way."""

import functools

import numba
import torch


@functools.cache
def start_numba_threads() -> None:
    """Start numba's threads, once, and leave torch's number of threads as it is.

    Call it before the first parallel kernel. Where both use OpenMP they share one pool, and numba sets its size for
    torch as well when it starts.
    """
    before = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(before)
