"""Keeps small work on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch

from instax3d.geometry.numba_threads import start_numba_threads


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of numba and of torch meanwhile.

    The steps of a fit take less than a millisecond each, which is less than it takes to wake other threads and wait
    for them; on a busy machine that waiting makes a fit ten times as long.
    """
    start_numba_threads()
    of_numba, of_torch = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(of_numba)
        torch.set_num_threads(of_torch)
