"""Compiles every kernel ahead of its first use."""

import time

import torch

from .api import rasterization


def warmup() -> float:
    """Draw and differentiate two Gaussians in all ways that have kernels of their own; returns the seconds it took.

    Compiled kernels are kept on disk (next to the package, or in the user's cache folder if that is read-only), so a
    second call, also in another process, takes about a second.
    """
    start = time.perf_counter()
    means = torch.tensor([[0.0, 0.0, 1.0], [0.1, 0.0, 2.0]], requires_grad=True)
    camera = (torch.eye(4)[None], torch.tensor([[[20.0, 0, 8], [0, 20, 8], [0, 0, 1]]]), 16, 16)
    for channels, mode in ((3, "RGB"), (3, "RGB+D"), (1, "RGB")):
        image, _, _ = rasterization(
            means,
            torch.ones(2, 4),
            torch.full((2, 3), 0.1),
            torch.full((2,), 0.5),
            torch.ones(2, channels),
            *camera,
            render_mode=mode,
        )
        image.sum().backward()
    return time.perf_counter() - start
