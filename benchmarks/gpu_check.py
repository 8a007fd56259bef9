"""Compares the cpu and the gsplat renderer on a machine with an NVIDIA GPU: images, gradients, absgrad, and times.

    python benchmarks/gpu_check.py          # one command; writes docs/gpu_check.md with the hardware's name

Two errors are reported: the norm of the difference over the norm, which decides, and the largest difference over the
largest value. A pixel whose alpha lies within float32's rounding of a threshold (1/255, or a transmittance of
1e-4) may be decided differently on the two sides and then differs by up to 1/255, which shows in the second.
"""

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from instax3d_plugins.cpu.config import CpuConfig
from instax3d_plugins.cpu.renderer import CpuRenderer
from instax3d_plugins.gsplat.config import GsplatConfig
from instax3d_plugins.gsplat.renderer import GsplatRenderer
from rasterizer import DOCS, head_camera, head_scene

from instax3d.errors import RenderError
from instax3d.interfaces import Renderer
from instax3d.types import Cameras, Gaussians

TOLERANCE = 1e-3
NAMES = ("means", "quats", "scales", "opacities", "sh")


def draw(
    renderer: Renderer[Any], case: tuple[int, int, int, int], device: str
) -> tuple[dict[str, torch.Tensor], float]:
    """Everything that is compared, on the CPU, and the median milliseconds of a step (forward and backward)."""
    count, width, height, degree = case
    raw = head_scene(count, degree)
    leaves = {name: tensor.to(device).requires_grad_() for name, tensor in raw.items()}
    view, K = head_camera(width, height)
    cameras = Cameras(view, K, width, height).to(device)
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(1, channels, height, width, generator=generator).to(device) for channels in (3, 1)]
    times = []
    for _ in range(6):
        for leaf in leaves.values():
            leaf.grad = None
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        gaussians = Gaussians(
            leaves["means"], leaves["quats"], leaves["scales"].exp(), leaves["opacities"].sigmoid(), leaves["sh"]
        )
        render = renderer.render(gaussians, cameras, background=torch.ones(3, device=device), absgrad=True)
        render.info["means2d"].retain_grad()
        ((render.image * weights[0]).sum() + (render.alpha * weights[1]).sum()).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    result = {"image": render.image, "alpha": render.alpha, "depth": render.depth}
    result |= {f"gradient of {name}": leaves[name].grad for name in NAMES}
    means2d = render.info["means2d"]
    result |= {"means2d.grad": means2d.grad, "means2d.absgrad": means2d.absgrad}
    return {name: tensor.detach().cpu() for name, tensor in result.items()}, statistics.median(times[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DOCS / "gpu_check.md")
    arguments = parser.parse_args()
    try:
        gpu = GsplatRenderer(GsplatConfig())
    except RenderError as error:
        print(error, file=sys.stderr)
        return 2
    cpu = CpuRenderer(CpuConfig())
    lines = [
        "# The cpu and the gsplat renderer on one machine",
        "",
        f"{torch.cuda.get_device_name()} with CUDA {torch.version.cuda}; "
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads; torch {torch.__version__}.",
    ]
    worst = 0.0
    for case in ((1_000, 128, 96, 3), (40_000, 512, 512, 0), (40_000, 512, 512, 3), (400_000, 1920, 1080, 0)):
        ours, cpu_time = draw(cpu, case, "cpu")
        theirs, gpu_time = draw(gpu, case, "cuda")
        differing = ((ours["image"] - theirs["image"]).abs().amax(1) > 1e-3).sum()
        lines += ["", f"## {case[0]:,} Gaussians, {case[1]}x{case[2]}, SH degree {case[3]}", ""]
        lines += [
            f"Step: cpu {cpu_time:.1f} ms, gsplat {gpu_time:.1f} ms. Pixels that differ by more than 1e-3: {differing}."
        ]
        lines += ["", "| | norm | largest |", "| --- | ---: | ---: |"]
        for name, tensor in ours.items():
            difference, reference = tensor - theirs[name], theirs[name]
            error = float(difference.norm() / reference.norm().clamp_min(1e-12))
            largest = float(difference.abs().max() / reference.abs().max().clamp_min(1e-12))
            worst = max(worst, error)
            lines.append(f"| {name} | {error:.1e} | {largest:.1e} |")
    arguments.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"\nlargest error {worst:.1e}: {'agree' if worst < TOLERANCE else 'DISAGREE'} at {TOLERANCE:.0e}")
    return 0 if worst < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
