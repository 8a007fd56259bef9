"""Times the CPU rasterizer: inference, forward, backward and whole steps, by Gaussians, size, threads and SH degree.

    python benchmarks/rasterizer.py                 # all cases, some minutes; tables, JSON and plot into docs/
    python benchmarks/rasterizer.py --repeat 3      # the same on a shared machine: of each case the least disturbed run
    python benchmarks/rasterizer.py --threads       # one thread and all, interleaved, beside a loop of pure arithmetic
    python benchmarks/rasterizer.py --sketch DIR    # side by side with a prototype of base.py, raster.py and train.py

Every case runs in a process of its own, so that its peak memory is its own. Times are medians over a few seconds;
"forward" and "backward" are those of one training step through torch's autograd, from means, quaternions, logarithmic
scales, logits and coefficients to their gradients; "inference" is the same without autograd. Where they are installed,
other rasterizers run on the same scene: plain torch (instax3d_plugins.cpu.reference), and gsplat on a GPU.

matplotlib, if installed, draws the plot.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"


@dataclass(frozen=True)
class Case:
    """One row of the tables."""

    gaussians: int = 40_000
    width: int = 512
    height: int = 512
    threads: int = os.cpu_count() or 1
    degree: int = 0
    renderer: str = "cpu"
    seconds: float = 4.0
    """Time to spend on it."""


def cases() -> dict[str, list[Case]]:
    """All tables: each varies one thing from the default case."""
    threads = sorted({1, 2, os.cpu_count() or 1} & set(range(1, (os.cpu_count() or 1) + 1)))
    return {
        "Gaussians": [Case(n) for n in (10_000, 40_000, 100_000, 400_000, 1_000_000)],
        "Image size": [Case(width=w, height=h) for w, h in ((256, 256), (512, 512), (1024, 1024), (1920, 1080))],
        "Threads": [Case(threads=n) for n in threads],
        "SH degree": [Case(degree=d) for d in range(4)],
        "Large": [Case(1_000_000, 1920, 1080, seconds=10)],
        "Others": [
            Case(renderer="cpu"),
            Case(renderer="torch", seconds=0),
            Case(renderer="gsplat"),
        ],
    }


def head_scene(count: int, degree: int) -> dict[str, Any]:
    """Parameters of Gaussians on a bumpy, head-shaped ellipsoid that covers about half of a square image.

    Their size goes with their spacing (0.7 of it, thin along the normal), so the overlap is the same for any number;
    opacities are sigmoids of N(1, 1.8).
    """
    import torch
    from torch.nn.functional import normalize

    generator = torch.Generator().manual_seed(0)
    index = torch.arange(count) + 0.5
    polar, turn = torch.arccos(1 - 2 * index / count), math.pi * (1 + 5**0.5) * index.double()
    unit = torch.stack([polar.sin() * turn.sin().float(), polar.cos(), polar.sin() * turn.cos().float()], 1)
    axes = torch.tensor([0.78, 1.05, 0.88])
    nose = torch.exp(-(unit - torch.tensor([0, -0.05, 1])).square().sum(1) / 0.02)
    bumps = 1 + 0.18 * nose + 0.02 * torch.sin(5 * unit[:, 0]) * torch.sin(6 * unit[:, 1])
    means = unit * bumps[:, None] * axes + 0.01 * torch.randn(count, 3, generator=generator)
    # the rotation that takes the z axis, where the Gaussian is thin, to the normal
    normal = normalize(unit / axes, dim=1)
    half = normalize(normal + torch.tensor([1e-6, 0, 1]), dim=1)
    quats = torch.stack([half[:, 2], -half[:, 1], half[:, 0], torch.zeros(count)], 1)
    spacing = (9.6 / count) ** 0.5
    scales = math.log(0.7 * spacing) + 0.35 * torch.randn(count, 3, generator=generator)
    scales[:, 2] += math.log(0.3)
    sh = 0.2 * torch.randn(count, (degree + 1) ** 2, 3, generator=generator)
    sh[:, 0] = 1.5 * torch.sin(9 * unit + torch.tensor([0.0, 1.0, 2.0]))
    opacities = 1 + 1.8 * torch.randn(count, generator=generator)
    return {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "sh": sh}


def head_camera(width: int, height: int) -> tuple[Any, Any]:
    """View matrix and intrinsics: 0.1 rad above the face, 3.2 away."""
    import torch

    tilt = 0.1
    view = torch.eye(4)
    view[1, 1:3] = torch.tensor([-math.cos(tilt), math.sin(tilt)])
    view[2, 1:3] = torch.tensor([-math.sin(tilt), -math.cos(tilt)])
    view[0, 0], view[2, 3] = 1, 3.2
    focal = 700 / 512 * height
    return view[None], torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])[None]


def drawer(case: Case) -> tuple[Callable[[dict[str, Any]], Any], str]:
    """A function from parameters to an image [1, H, W, 3], and the device it runs on.

    Raises:
        RuntimeError: the renderer cannot run here.
    """
    import torch

    view, K = head_camera(case.width, case.height)
    white = torch.ones(1, 3)
    if case.renderer == "torch":
        from instax3d_plugins.cpu.reference import rasterize

        def draw_torch(p: dict[str, Any]) -> Any:
            args = (p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), p["sh"], view[0], K[0])
            return rasterize(*args, case.width, case.height, background=white[0], sh_degree=case.degree).image[None]

        return draw_torch, "cpu"
    if case.renderer == "gsplat":
        if not torch.cuda.is_available():
            raise RuntimeError("no GPU")
        from gsplat import rasterization

        device = "cuda"
    else:
        from instax3d_plugins.cpu import rasterization

        device = "cpu"
    view, K, white = view.to(device), K.to(device), white.to(device)

    def draw(p: dict[str, Any]) -> Any:
        args = (p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), p["sh"], view, K)
        options = {"sh_degree": case.degree, "backgrounds": white, "packed": False}
        return rasterization(*args, case.width, case.height, **options)[0]

    return draw, device


def measure(case: Case) -> dict[str, float]:
    """Medians in milliseconds, and memory in MiB; for a fresh process."""
    import numba
    import torch
    from instax3d_plugins.measures.cost import peak_memory

    numba.set_num_threads(case.threads)
    torch.set_num_threads(case.threads)
    draw, device = drawer(case)

    def wait() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def parameters(scene: dict[str, Any]) -> dict[str, Any]:
        return {name: t.to(device).requires_grad_() for name, t in scene.items()}

    # compile and load on a small scene, so that neither is in the times or in the memory of the case
    if device == "cpu" and case.renderer == "cpu":
        draw(parameters(head_scene(100, case.degree))).sum().backward()
    base = peak_memory() or math.nan
    params = parameters(head_scene(case.gaussians, case.degree))
    weights = torch.randn(1, case.height, case.width, 3, generator=torch.Generator().manual_seed(1)).to(device)
    times: dict[str, list[float]] = {"inference": [], "forward": [], "backward": [], "step": []}
    end = time.perf_counter() + case.seconds
    while len(times["step"]) < 4 or time.perf_counter() < end:
        start = wait()
        with torch.no_grad():
            draw(params)
        drawn = wait()
        image = draw(params)
        forward = wait()
        image.backward(weights)
        backward = wait()
        for t in params.values():
            t.grad = None
        times["inference"].append(drawn - start)
        times["forward"].append(forward - drawn)
        times["backward"].append(backward - forward)
        times["step"].append(backward - drawn)
        if case.seconds == 0:
            break
    peak = peak_memory() or math.nan
    # the first rounds still fault memory in
    result = {name: 1000 * statistics.median(values[1:] or values) for name, values in times.items()}
    return {**result, "rounds": len(times["step"]), "peak": peak / 2**20, "memory": (peak - base) / 2**20}


def run(case: Case) -> dict[str, Any]:
    """Measure in a process of its own; ``skipped`` says why not."""
    command = [sys.executable, __file__, "--case", json.dumps(asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {**asdict(case), "skipped": done.stderr.strip().splitlines()[-1]}
    return {**asdict(case), **json.loads(done.stdout.splitlines()[-1])}


def thread_gain() -> dict[str, dict[str, float]]:
    """How many times faster all threads are than one: of a step, of inference, and of a loop that only calculates.

    The loop says what this machine has to give. One thread and all take turns; "gain" is the median of the turns.
    """
    import numba
    import numpy as np
    import torch

    @numba.njit(parallel=True)  # type: ignore[untyped-decorator]
    def calculate(out: Any) -> None:
        for i in numba.prange(len(out)):
            x = 1.0
            for _ in range(2000):
                x = x * 1.0000001 + 0.5
            out[i] = x

    draw, _ = drawer(Case())
    scene = {name: t.requires_grad_() for name, t in head_scene(40_000, 0).items()}
    weights, out = torch.randn(1, 512, 512, 3), np.zeros(6000)

    def infer() -> None:
        with torch.no_grad():
            draw(scene)

    timed: Timed = {
        "step": lambda: draw(scene).backward(weights),
        "inference": infer,
        "arithmetic": lambda: calculate(out),
    }
    most = numba.get_num_threads()
    times: dict[tuple[str, int], list[float]] = {(name, threads): [] for name in timed for threads in (1, most)}
    for round_ in range(100):
        for threads in (1, most):
            numba.set_num_threads(threads)
            torch.set_num_threads(threads)
            for name, function in timed.items():
                start = time.perf_counter()
                function()
                if round_ > 4:
                    times[name, threads].append(1000 * (time.perf_counter() - start))
    return {
        name: {
            "threads": most,
            "one, ms": statistics.median(times[name, 1]),
            "all, ms": statistics.median(times[name, most]),
            "gain": statistics.median(a / b for a, b in zip(times[name, 1], times[name, most])),
            "gain of smallest": min(times[name, 1]) / min(times[name, most]),
        }
        for name in timed
    }


Timed = dict[str, Callable[[], object]]
"""Named calls whose time is taken."""


def side_by_side(folder: Path) -> dict[str, Any]:
    """Our kernels and whole step against a prototype's, interleaved in one process on the prototype's own scene."""
    sys.path.insert(0, str(folder))
    import numpy as np
    import scene

    size, count = 512, 40_000
    raw, camera = scene.scene(count), scene.cam()
    weights = np.random.default_rng(0).normal(size=(3, size, size)).astype(np.float32)
    theirs = prototype_calls(raw, camera, weights, size)
    ours = own_calls(raw, camera, weights, size)
    timed = {}
    for name in ("forward", "backward", "whole"):
        timed |= {f"prototype {name}": theirs[name], name: ours[name]}
    return interleaved({**timed, "inference": ours["inference"]})


def prototype_calls(raw: Any, camera: Any, weights: Any, size: int) -> Timed:
    """The prototype's kernels and its whole step, whose modules are on the path."""
    import numba
    import numpy as np
    import raster
    import train

    state = train.R(len(raw[0]), size, size)
    raw_grads = [np.zeros_like(array) for array in raw]
    state.fwd(raw, camera)
    state.bwd(raw, weights, raw_grads)
    shared = (state.G, state.Gf, state.ids, state.off, state.ntx, state.nty, size, size)

    def kernel(function: Any, *arguments: Any) -> None:
        numba.set_parallel_chunksize(16)
        function(*shared, *arguments, state.ord, state.mk, raster.XY)
        numba.set_parallel_chunksize(0)

    return {
        "forward": lambda: kernel(raster.fwdE, state.bg, state.img, state.T),
        "backward": lambda: kernel(raster.bwdE, state.img, weights, state.gf),
        "whole": lambda: (state.fwd(raw, camera), state.bwd(raw, weights, raw_grads)),
    }


def own_calls(raw: Any, camera: Any, weights: Any, size: int) -> Timed:
    """Our whole step and inference through torch, and the two compositing kernels alone."""
    import torch
    from instax3d_plugins.cpu import rasterization
    from instax3d_plugins.cpu.autograd import RasterSettings, project

    means, quats, scales, opacities, sh = leaves = [torch.tensor(array, requires_grad=True) for array in raw]
    view = torch.tensor(camera[0])[None]
    fx, fy, cx, cy = (float(x) for x in camera[1:])
    K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])[None]
    white, grad = torch.ones(1, 3), torch.from_numpy(weights.transpose(1, 2, 0).copy())[None]

    def splats() -> tuple[Any, ...]:
        return means, quats, scales.exp(), opacities.sigmoid(), sh[:, None], view, K

    def draw() -> Any:
        return rasterization(*splats(), size, size, sh_degree=0, backgrounds=white)[0]

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        draw().backward(grad)

    def infer() -> None:
        with torch.no_grad():
            draw()

    return {**own_kernels(project(*splats(), RasterSettings(size, size)), weights), "whole": step, "inference": infer}


def own_kernels(projected: Any, weights: Any) -> Timed:
    """The two compositing kernels for one camera."""
    import numba
    import numpy as np
    import torch
    from instax3d_plugins.cpu import compositing

    size, bins = projected.settings.width, projected.bins[0]
    records, blocks = projected.records[0].detach().numpy().reshape(-1), np.zeros(len(bins.ids), np.uint32)
    tiles = compositing.Tiles(records, bins.ids, bins.tile_offsets, blocks, bins.places, size // 16)
    frame = compositing.Frame(size, size, size * size, 1)
    out = compositing.Image(np.zeros(3 * size * size, np.float32), np.zeros(size * size, np.float32))
    out_grad = compositing.Image(weights.reshape(-1), np.zeros(0, np.float32))
    ones = np.ones(3, np.float32)
    sums = torch.zeros(len(bins.ids) * compositing.COLOR_PLACE).numpy()

    def tickets() -> tuple[int, Any]:
        return numba.get_num_threads(), np.zeros(1, np.int64)

    return {
        "forward": lambda: compositing.composite(*tickets(), tiles, frame, ones, out, None, False),
        "backward": lambda: compositing.composite_backward(
            *tickets(), tiles, frame, out, out_grad, None, None, False, sums
        ),
    }


def interleaved(timed: Timed) -> dict[str, Any]:
    """Milliseconds of calls that take turns, on one thread and on all."""
    import numba
    import torch

    result: dict[str, Any] = {}
    for threads in sorted({1, numba.get_num_threads()}):
        numba.set_num_threads(threads)
        torch.set_num_threads(threads)
        times: dict[str, list[float]] = {name: [] for name in timed}
        for round_ in range(100):
            for name, function in timed.items():
                start = time.perf_counter()
                function()
                if round_ > 4:
                    times[name].append(1000 * (time.perf_counter() - start))
        result[str(threads)] = {
            name: {"median": statistics.median(values), "min": min(values)} for name, values in times.items()
        }
    return result


def tables(results: dict[str, list[dict[str, Any]]]) -> str:
    """All results in Markdown."""
    parts = []
    for title, rows in results.items():
        lines = [
            f"### {title}",
            "",
            "| renderer | Gaussians | image | SH | threads | inference | forward | backward | step | memory |",
            "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in rows:
            name = (
                f"| {row['renderer']} | {row['gaussians']:,} | {row['width']}x{row['height']} | {row['degree']} "
                f"| {row['threads']} |"
            )
            if "skipped" in row:
                lines.append(f"{name} not run: {row['skipped']} | | | | |")
            else:
                times = " | ".join(f"{row[key]:.1f} ms" for key in ("inference", "forward", "backward", "step"))
                lines.append(f"{name} {times} | {row['memory']:.0f} MiB |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def plot(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Step time over Gaussians and over pixels, with lines of proportional cost."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, title, key in ((axes[0], "Gaussians", "gaussians"), (axes[1], "Image size", "pixels")):
        rows = [{**row, "pixels": row["width"] * row["height"]} for row in results[title]]
        x = [row[key] for row in rows]
        for part in ("inference", "forward", "backward", "step"):
            axis.loglog(x, [row[part] for row in rows], "o-", label=part)
        first = rows[0]["step"]
        axis.loglog(x, [first * a / x[0] for a in x], ":", color="gray", label="proportional")
        axis.set_xlabel(
            f"{key}, at {rows[0]['width']}x{rows[0]['height']}" if key == "gaussians" else "pixels, 40,000 Gaussians"
        )
        axis.set_ylabel("milliseconds")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DOCS, help="folder for rasterizer_benchmark.{md,json,png}")
    parser.add_argument("--repeat", type=int, default=1, help="how often to go through all cases; the fastest counts")
    parser.add_argument("--sketch", type=Path, help="folder of a prototype to compare with")
    parser.add_argument("--threads", action="store_true", help="measure what more threads bring")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(Case(**json.loads(arguments.case)))))
        return
    if arguments.threads:
        print(json.dumps(thread_gain(), indent=1))
        return
    if arguments.sketch:
        print(json.dumps(side_by_side(arguments.sketch), indent=1))
        return
    known: dict[Case, dict[str, Any]] = {}
    for _ in range(arguments.repeat):
        for case in dict.fromkeys(case for rows in cases().values() for case in rows):
            found = run(case)
            print(found, flush=True)
            if case not in known or found.get("step", 0) < known[case].get("step", 0):
                known[case] = found
    results = {title: [known[case] for case in rows] for title, rows in cases().items()}
    import numba
    import torch

    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "rasterizer_benchmark.json"
    path.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    path.with_suffix(".md").write_text(tables(results))
    try:
        plot(results, path.with_suffix(".png"))
    except ImportError:
        print("matplotlib is not installed: no plot")


if __name__ == "__main__":
    main()
