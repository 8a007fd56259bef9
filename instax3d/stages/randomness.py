"""The global random generators: seeded for a stage, and given back to the caller as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved_generators(device: str) -> Iterator[None]:
    """Restore the global generators of torch, numpy and Python in the end, whatever happens in between.

    Args:
        device: ``cpu`` or ``cuda``; only with the latter are CUDA's generators touched, which initializes CUDA.
    """
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if device == "cuda" else ()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def seed_torch(seed: int, device: str) -> None:
    """Seed torch's global generators within `preserved_generators`.

    Not ``torch.manual_seed``: where CUDA is not in use that leaves a seed for later, beyond the end of the block.
    """
    torch.default_generator.manual_seed(seed)
    if device == "cuda":
        torch.cuda.manual_seed_all(seed)
