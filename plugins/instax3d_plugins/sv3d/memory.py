"""How the networks are spread over memory: the ways there are, what each takes, and which one fits."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import torch

from instax3d.errors import IncompatiblePipelineError

from .checkpoint import Checkpoint
from .layout import Part

WayName = Literal["fast", "parts", "lean", "streamed"]
_HEADROOM = 0.9
"""Share of the free memory that is planned with: kernels need workspaces, allocators leave gaps."""
_GB = 1e9


@dataclass(frozen=True)
class Way:
    """One way to spread the networks."""

    name: WayName
    does: str
    resident: Literal["all", "one", "none"]
    """Which networks stay on the device: all, the one at work, or of the UNet only the layer at work."""
    together: bool
    """Whether the conditioned and the unconditioned branch run at once."""


WAYS: tuple[Way, ...] = (
    Way("fast", "all networks on the device, both branches of guidance at once", "all", together=True),
    Way("parts", "one network on the device at a time, both branches of guidance at once", "one", together=True),
    Way("lean", "one network on the device at a time, guidance in two runs", "one", together=False),
    Way("streamed", "the UNet brought to the device layer by layer, guidance in two runs", "none", together=False),
)
"""From the fastest to the leanest."""


@dataclass(frozen=True)
class Job:
    """What is to be made, as far as memory and time depend on it."""

    weights: Mapping[str, int]
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
    def of(cls, checkpoint: Checkpoint, *, size: int, steps: int, decode_chunk: int, dtype: torch.dtype) -> "Job":
        architecture = checkpoint.architecture
        parts: tuple[Part, ...] = ("unet", "vae", "image_encoder")
        weights = {part: sum(map(prod, checkpoint.part_shapes(part))) for part in parts}
        return cls(
            weights,
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


def bytes_needed(way: Way, job: Job) -> int:
    """Peak of the device's memory, estimated: weights, and the numbers alive at the worst moment."""
    branches = 2 if way.together else 1
    pixels = job.frames * job.side**2
    sampling = UNET_NUMBERS * job.width * branches * pixels * job.itemsize
    decoding = VAE_NUMBERS * job.vae_width * 64 * job.side**2 * job.decode_chunk * job.itemsize
    weights = {part: count * job.itemsize for part, count in job.weights.items()}
    if way.resident == "all":
        return round(sum(weights.values()) + max(sampling, decoding))
    unet = weights["unet"] if way.resident == "one" else weights["unet"] // 20
    return round(max(unet + sampling, weights["vae"] + decoding, weights["image_encoder"]))


def operations(job: Job) -> float:
    """Floating-point operations of the whole sampling; decoding adds a few per cent."""
    return UNET_OPERATIONS * job.width**2 * job.frames * job.side**2 * 2 * job.steps


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on the device now; for the CPU, of the machine."""
    if device.type == "cuda":
        # what the allocator holds back unused can be had as well
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        available = 8 * 2**30  # where the system does not tell
    return available


def choose(job: Job, wanted: str, free: int, device: torch.device) -> Way:
    """The way that was asked for, or with ``auto`` the fastest that fits.

    On the CPU, where networks lie in the same memory either way, only guidance is taken apart.

    Raises:
        IncompatiblePipelineError: no way fits, or the one asked for is for CUDA alone.
    """
    ways = [way for way in WAYS if device.type != "cpu" or way.name in ("fast", "lean")]
    if wanted != "auto":
        for way in ways:
            if way.name == wanted:
                return way
        raise IncompatiblePipelineError(f"memory={wanted} is for CUDA; on the CPU write memory=fast or memory=lean")
    for way in ways:
        if bytes_needed(way, job) <= _HEADROOM * free:
            return way
    least = min(bytes_needed(way, job) for way in ways)
    raise IncompatiblePipelineError(
        f"SV3D needs about {least / _GB:.1f} GB of memory on {device} even in its leanest way, and "
        f"{free / _GB:.1f} GB are free; close other programs, or use a smaller view_generator.size"
    )


def leaner(way: Way, device: torch.device) -> Way | None:
    """What to try when memory ran out."""
    later = WAYS[WAYS.index(way) + 1 :]
    return next((other for other in later if device.type != "cpu" or other.name == "lean"), None)


_EFFICIENCY = 0.4
"""Of the speed of plain matrix products, that a network with convolutions and attention reaches; rough."""


def matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of matrix products here, measured for a moment."""
    side = 4096 if device.type == "cuda" else 768
    a = torch.randn(side, side, device=device).to(dtype)
    best = float("inf")
    for _ in range(3):
        _wait(device)
        since = time.perf_counter()
        a @ a
        _wait(device)
        best = min(best, time.perf_counter() - since)
    return 2 * side**3 / max(best, 1e-9)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def announcement(way: Way, job: Job, free: int, device: torch.device, dtype: torch.dtype) -> str:
    """What is said before the start: what will be done, the memory it takes, and about how long."""
    seconds = operations(job) / (_EFFICIENCY * matrix_speed(device, dtype))
    said = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
    return (
        f"SV3D on {device} in {str(dtype).removeprefix('torch.')}: {job.frames} frames of {8 * job.side} pixels in "
        f"{job.steps} steps; {way.does}; about {bytes_needed(way, job) / _GB:.1f} GB of {free / _GB:.1f} GB that are "
        f"free, and very roughly {said}"
    )
