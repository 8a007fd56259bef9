"""Memory plans: how the networks are spread over memory, what each plan needs, and which one fits."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch

from instax3d.errors import IncompatiblePipelineError

from .checkpoint import Checkpoint
from .layout import Part

_HEADROOM = 0.9
"""Share of the free memory that plans may use: kernels need workspaces, allocators leave gaps."""
_GB = 1e9


@dataclass(frozen=True)
class MemoryPlan:
    """One way to spread the networks."""

    name: Literal["fast", "parts", "lean", "streamed"]
    description: str
    resident: Literal["all", "one", "none"]
    """Which networks stay on the device: all, the active one, or of the UNet only the active layer."""
    together: bool
    """Whether the conditioned and the unconditioned branch run in one batch."""


MEMORY_PLANS: tuple[MemoryPlan, ...] = (
    MemoryPlan("fast", "all networks on the device, both branches of guidance at once", "all", together=True),
    MemoryPlan("parts", "one network on the device at a time, both branches of guidance at once", "one", together=True),
    MemoryPlan("lean", "one network on the device at a time, guidance in two runs", "one", together=False),
    MemoryPlan("streamed", "the UNet moved to the device layer by layer, guidance in two runs", "none", together=False),
)
"""From the fastest to the leanest."""


@dataclass(frozen=True)
class Workload:
    """What is sampled, as far as memory and time depend on it."""

    weights: Mapping[Part, int]
    """Parameters of ``unet``, ``vae`` and ``image_encoder``."""
    width: int
    """Channels of the UNet's finest level."""
    vae_width: int
    frames: int
    side: int
    """Of the latents."""
    steps: int
    decode_chunk: int
    itemsize: int
    """Bytes to a number in the networks."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, size: int, steps: int, decode_chunk: int, dtype: torch.dtype) -> "Workload":
        """Of a turntable of ``size`` pixels with this model."""
        architecture = checkpoint.architecture
        parts: tuple[Part, ...] = ("unet", "vae", "image_encoder")
        return cls(
            {part: sum(map(prod, checkpoint.part_shapes(part))) for part in parts},
            architecture.unet["block_out_channels"][0],
            architecture.vae["block_out_channels"][0],
            architecture.frames,
            size // 8,
            steps,
            min(decode_chunk, architecture.frames),
            dtype.itemsize,
        )


UNET_NUMBERS = 28.0
"""Most numbers alive at once in a run of the UNet, for each channel of its finest level and latent pixel of all frames
and branches; weights left out. Counted, like those below, on the full-size network without computing it."""
VAE_NUMBERS = 6.0
"""The same of the decoder, for each channel of its finest level and pixel."""
UNET_OPERATIONS = 2730.0
"""Floating-point operations of one run for each latent pixel of a frame, per squared channel of the finest level."""


def bytes_needed(plan: MemoryPlan, workload: Workload) -> int:
    """Estimated peak of the device's memory: weights, and the numbers alive at the worst moment."""
    branches = 2 if plan.together else 1
    pixels = workload.frames * workload.side**2
    sampling = UNET_NUMBERS * workload.width * branches * pixels * workload.itemsize
    decoding = VAE_NUMBERS * workload.vae_width * 64 * workload.side**2 * workload.decode_chunk * workload.itemsize
    weights = {part: count * workload.itemsize for part, count in workload.weights.items()}
    if plan.resident == "all":
        return round(sum(weights.values()) + max(sampling, decoding))
    unet = weights["unet"] if plan.resident == "one" else weights["unet"] // 20
    return round(max(unet + sampling, weights["vae"] + decoding, weights["image_encoder"]))


def operations(workload: Workload) -> float:
    """Floating-point operations of the whole sampling; decoding adds a few per cent."""
    return UNET_OPERATIONS * workload.width**2 * workload.frames * workload.side**2 * 2 * workload.steps


def choose_plan(workload: Workload, requested: str, free: int, device: torch.device) -> MemoryPlan:
    """The requested plan, or with ``auto`` the fastest that fits.

    On the CPU, where networks lie in the same memory either way, plans differ only in how guidance runs.

    Args:
        requested: a plan's name, or ``auto``.
        free: bytes that can still be allocated.

    Raises:
        IncompatiblePipelineError: no plan fits, or the requested one is for CUDA alone.
    """
    plans = [plan for plan in MEMORY_PLANS if device.type != "cpu" or plan.name in ("fast", "lean")]
    if requested != "auto":
        for plan in plans:
            if plan.name == requested:
                return plan
        raise IncompatiblePipelineError(f"memory={requested} is for CUDA; on the CPU write memory=fast or memory=lean")
    for plan in plans:
        if bytes_needed(plan, workload) <= _HEADROOM * free:
            return plan
    least = min(bytes_needed(plan, workload) for plan in plans)
    raise IncompatiblePipelineError(
        f"SV3D needs about {least / _GB:.1f} GB of memory on {device} even with its leanest plan, and "
        f"{free / _GB:.1f} GB are free; close other programs, or use a smaller view_generator.size"
    )


def leaner(plan: MemoryPlan, device: torch.device) -> MemoryPlan | None:
    """What to try after running out of memory."""
    later = MEMORY_PLANS[MEMORY_PLANS.index(plan) + 1 :]
    return next((other for other in later if device.type != "cpu" or other.name == "lean"), None)


_EFFICIENCY = 0.4
"""Share of the speed of plain matrix products that a network with convolutions and attention reaches; rough."""


def matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of matrix products here, measured for a moment."""
    side = 4096 if device.type == "cuda" else 768
    a = torch.randn(side, side, device=device).to(dtype)
    best = float("inf")
    for _ in range(3):
        _synchronize(device)
        start = time.perf_counter()
        a @ a
        _synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / max(best, 1e-9)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def announcement(plan: MemoryPlan, workload: Workload, free: int, device: torch.device, dtype: torch.dtype) -> str:
    """Logged before the start: what will be sampled, the memory it needs, and about how long it takes."""
    seconds = operations(workload) / (_EFFICIENCY * matrix_speed(device, dtype))
    duration = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return (
        f"SV3D on {device} in {str(dtype).removeprefix('torch.')}: {workload.frames} frames of {8 * workload.side} "
        f"pixels in {workload.steps} steps; {plan.description}; about {bytes_needed(plan, workload) / _GB:.1f} GB of "
        f"{free / _GB:.1f} GB that are free, and very roughly {duration}"
    )
