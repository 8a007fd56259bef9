"""Seconds and memory of SV3D's full-size networks on a machine with an NVIDIA GPU, with random weights.

    python benchmarks/gpu_sv3d.py           # one command; writes docs/gpu_sv3d.md with the hardware's name
    python benchmarks/gpu_sv3d.py --tiny --device cpu --out out/gpu_sv3d.md    # that the program itself runs

Speed and memory do not depend on the weights' values. A file in the official layout (float16, 4.5 GB) is written first
and read as a user's would be; 21 frames of 576 x 576 pixels are made from it in every way. "Sampling" and "decoding"
are the seconds of the denoising steps and of the decoder, with torch.compile the compilation among them; "whole" has
the reading of the file as well. The peak is the most that torch's allocator held.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from instax3d_plugins.sv3d.checkpoint import official_shapes, open_checkpoint
from instax3d_plugins.sv3d.embeddings import vector_condition
from instax3d_plugins.sv3d.layout import Architecture, NetworkSizes, Part, describe
from instax3d_plugins.sv3d.schedule import default_azimuths
from instax3d_plugins.sv3d.turntable import SamplingSettings, make_turntable
from safetensors.torch import save_file

from instax3d.io.progress import Silent, Stages

DOCS = Path(__file__).resolve().parent.parent / "docs"
PARTS: tuple[Part, ...] = ("unet", "vae", "image_encoder")


class Clock(Silent):
    """When each count was reported."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.times: dict[str, list[float]] = {}

    def count(self, done: int, total: int, what: str) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.times.setdefault(what, []).append(time.perf_counter())

    def seconds(self, what: str, since: float | None = None) -> float:
        times = self.times[what]
        return times[-1] - (times[0] if since is None else since)


def architecture(tiny: bool) -> Architecture:
    if not tiny:
        return describe("p")
    sizes = NetworkSizes(
        frames=3, unet_widths=(64,) * 4, vae_widths=(32,) * 4, clip_width=80, clip_hidden=80, clip_layers=1,
        clip_heads=1, context=16,
    )  # fmt: skip
    return describe("p", sizes)


def write_random(path: Path, sizes: Architecture) -> None:
    """A file in the official layout; deviations keep activations in float16's range."""
    generator, tensors = torch.Generator().manual_seed(0), {}
    for part in PARTS:
        for name, shape in official_shapes(sizes, part).items():
            deviation = 0.02 if len(shape) < 2 else 0.5 / max(1, int(torch.tensor(shape[1:]).prod())) ** 0.5
            drawn = torch.randn(shape, generator=generator) * deviation
            tensors[name] = (drawn + (1.0 if len(shape) == 1 and name.endswith("weight") else 0.0)).half()
    save_file(tensors, path, {"instax3d.frames": str(sizes.frames)})


def cases(device: torch.device, steps: list[int]) -> Iterator[SamplingSettings]:
    """Precisions in the fastest way, then the other ways in float16, then with torch.compile."""
    fast: dict[str, Any] = {"memory": "fast"}
    if device.type == "cpu":
        yield from (SamplingSettings(device, torch.float32, steps=count, **fast) for count in steps)
        return
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        yield from (SamplingSettings(device, dtype, steps=count, **fast) for count in steps)
    for way in ("parts", "lean", "streamed"):
        yield SamplingSettings(device, torch.float16, steps=steps[0], memory=way)
    yield from (SamplingSettings(device, torch.float16, steps=count, compile=True, **fast) for count in steps)


def measure(path: Path, settings: SamplingSettings, size: int) -> str:
    """One row of the table."""
    checkpoint, cuda = open_checkpoint(path), settings.device.type == "cuda"
    azimuths = default_azimuths(checkpoint.architecture.frames)
    vector = vector_condition("p", azimuths, [0.0] * len(azimuths))
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(settings.device)
    clock, since = Clock(settings.device), time.perf_counter()
    with Stages(clock).stage("views"):
        make_turntable(checkpoint, torch.full((3, size, size), 0.8), vector, settings, seed=0)
    whole = time.perf_counter() - since
    peak = f"{torch.cuda.max_memory_reserved(settings.device) / 1e9:.1f} GB" if cuda else "not measured"
    decoding = clock.seconds("frames decoded", clock.times["denoising steps"][-1])
    dtype, compiled = str(settings.dtype).removeprefix("torch."), "yes" if settings.compile else "no"
    row = (
        f"| {dtype} | {settings.memory} | {compiled} | {settings.steps} | {clock.seconds('denoising steps'):.1f} s | "
        f"{decoding:.1f} s | {whole:.1f} s | {peak} |"
    )
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="Small networks and frames.")
    parser.add_argument("--out", type=Path, default=DOCS / "gpu_sv3d.md")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here; run this on a machine with an NVIDIA GPU")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sv3d_p.safetensors"
        write_random(path, architecture(arguments.tiny))
        size = 64 if arguments.tiny else 576
        rows = [measure(path, settings, size) for settings in cases(device, arguments.steps)]
    head = [
        "# SV3D's networks on a GPU",
        "",
        f"{name}, torch {torch.__version__}; {'small' if arguments.tiny else 'full-size'} networks, random weights.",
        "Made by `python benchmarks/gpu_sv3d.py`, which says what the columns mean.",
        "",
        "| precision | memory | compiled | steps | sampling | decoding | whole | peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join([*head, *rows]) + "\n")
    print(arguments.out)


if __name__ == "__main__":
    main()
