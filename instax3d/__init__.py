"""One headshot photo in, a full-head 3D Gaussian portrait out, from parts that anyone can swap.

import instax3d
portrait = instax3d.create("me.jpg")
portrait.save("out/me")
"""

import os
from typing import TYPE_CHECKING, Any

# The OpenMP runtime that torch and numba share reads this when it is first loaded. By default its idle threads spin,
# and where threads outnumber free processors every small torch operation then costs a time slice: one optimization
# step was measured at 930 ms instead of 82 ms on two busy cores. Import instax3d before torch to profit from it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from ._version import __version__

__all__ = ["Portrait", "__version__", "create"]

if TYPE_CHECKING:
    from .portrait.portrait import Portrait
    from .stages.pipeline import create


def __getattr__(name: str) -> Any:
    # Late, so that `import instax3d` and the command line's help do not import torch.
    if name == "create":
        from .stages.pipeline import create

        return create
    if name == "Portrait":
        from .portrait.portrait import Portrait

        return Portrait
    raise AttributeError(f"module 'instax3d' has no attribute {name!r}")
