"""Checks whether gsplat's CUDA kernels can be used here, and if not, what is missing."""

import contextlib
import importlib
import io

import torch

from instax3d.errors import RenderError


def require_kernels() -> None:
    """Load gsplat's CUDA kernels, building them if necessary (some minutes, once).

    Raises:
        RenderError: they cannot be used here; the message names the missing piece.
    """
    if torch.version.cuda is None:
        raise RenderError(
            f"The gsplat renderer needs CUDA, but torch {torch.__version__} was built without it: "
            "install a CUDA build of torch, or choose renderer=cpu"
        )
    if not torch.cuda.is_available():
        raise RenderError(
            f"The gsplat renderer needs an NVIDIA GPU, but torch (built for CUDA {torch.version.cuda}) finds none: "
            "check the driver with nvidia-smi, or choose renderer=cpu"
        )
    output = io.StringIO()
    try:
        # gsplat prints what is missing instead of raising
        with contextlib.redirect_stdout(output):
            kernels = importlib.import_module("gsplat.cuda._backend")._C
    except Exception as error:
        raise RenderError(
            f"The gsplat renderer could not build its CUDA kernels ({type(error).__name__}: {error}): "
            f"install a CUDA toolkit {torch.version.cuda} and a C++ compiler that fit torch, or choose renderer=cpu"
        ) from error
    if kernels is None:
        raise RenderError(
            f"The gsplat renderer needs nvcc to build its CUDA kernels, but no CUDA toolkit was found: install CUDA "
            f"{torch.version.cuda} and set CUDA_HOME, or install a gsplat wheel with kernels, or choose renderer=cpu"
        )
