"""Differentiable 3D Gaussian splatting on the CPU; see README.md.

    from instax3d_plugins.cpu import rasterization   # gsplat's function, on CPU tensors

Nothing heavy is imported before a name is asked for.
"""

from typing import Any

__all__ = ["rasterization", "warmup"]


def __getattr__(name: str) -> Any:
    if name == "rasterization":
        from .api import rasterization

        return rasterization
    if name == "warmup":
        from .ahead_of_time import warmup

        return warmup
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
