"""Time to quality of the construction: seconds until the held-out cameras of a capture reach 30, 33, 36 and 38 dB.

    python benchmarks/construction.py CAPTURE                # presets draft and standard, three runs each
    python benchmarks/construction.py CAPTURE --sketch DIR   # beside an equal loop over a prototype (its train.py)
    python benchmarks/construction.py CAPTURE --profile      # also what each part of a step takes, in a run of its own

The head is fitted by the product itself, from the capture's own frames. The clock runs while the optimization does and
stands still while held-out views are measured, every tenth step. "equal" is the preset without densification, started
from the same Gaussians and run for as many steps, at the same resolutions, as the prototype's loop beside it; they take
turns. Frames per second are those of the finished portrait from the held-out cameras, 512 pixels wide. Kernels are
compiled before. Medians of three runs; a table goes to docs/construction_benchmark.md, with JSON.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Idle OpenMP threads sleep, as in the program itself; torch reads it when it is imported.
os.environ["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from step_profile import WORK, StepProfile

from instax3d.config import RunConfig, load_config
from instax3d.inputs.capture import load_frames, read_capture
from instax3d.interfaces import LandmarkDetector, MeshPrior, Renderer, Representation, ViewGenerator
from instax3d.io.artifacts import quantized
from instax3d.io.processors import available_processors
from instax3d.splats.photometric import psnr
from instax3d.stages.making import with_faces
from instax3d.stages.pipeline import resolve_device
from instax3d.stages.training import assemble, train
from instax3d.types import Cameras, Gaussians, Views

DOCS = Path(__file__).resolve().parent.parent / "docs"
LEVELS = (30, 33, 36, 38)
SHOWN = 512
"""Pixels of the longer side of a frame whose speed is measured."""
HOT = (1e-3, 1e-2, 2e-2, 5e-2, 6e-2)
"""The prototype's rates."""


@dataclass
class Run:
    """One optimization."""

    seconds: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    """PSNR of the held-out views at those seconds, dB."""
    gaussians: int = 0
    steps: int = 0
    frames_per_second: float | None = None
    """Of the finished portrait; None where it was not measured."""

    def reaches(self, level: float) -> float:
        """Seconds until held-out views reach a level; infinite if they never do."""
        return next((s for s, quality in zip(self.seconds, self.held_out) if quality >= level), float("inf"))


@dataclass(frozen=True, eq=False)
class Scene:
    """A capture, its fitted head and its held-out views."""

    views: Views
    mesh: Any
    truth: torch.Tensor
    test: Any
    config: RunConfig
    device: str


def prepare(folder: Path, preset: str, overrides: tuple[str, ...] = ()) -> Scene:
    """Views, faces and the fitted head, as the pipeline makes them."""
    config = load_config(preset=preset, source="capture", overrides=overrides)
    device = resolve_device(config.device)
    config = config.resolved_for(device)
    capture = read_capture(folder)
    if capture.test_cameras is None:
        raise SystemExit(f"{folder} has no transforms_test.json: nothing is held out")
    truth, _ = load_frames(capture.test_cameras, capture.test_files)
    views = quantized(config.build(ViewGenerator).generate(capture, seed=0))
    views = with_faces(views, config.build(LandmarkDetector))
    return Scene(views, config.build(MeshPrior).fit(views), truth, capture.test_cameras, config, device)


def ours(scene: Scene) -> Run:
    """The product's own loop."""
    config, run = scene.config, Run()
    torch.manual_seed(config.seed)
    since = time.perf_counter()
    renderer = config.build(Renderer)
    test, truth = scene.test.to(scene.device), scene.truth.to(scene.device)
    paused = 0.0

    def measure(report: Any) -> None:
        nonlocal paused
        if scene.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        with torch.no_grad():
            shown = [
                renderer.render(
                    module.representation.gaussians(), test[index], background=torch.ones(3, device=scene.device)
                ).image
                for index in range(len(test))
            ]
            run.held_out.append(float(psnr(torch.cat(shown), truth).mean()))
        run.seconds.append(now - since - paused)
        run.gaussians, run.steps = report.gaussians, report.step + 1
        paused += time.perf_counter() - now

    module, order = assemble(config, scene.mesh, scene.views, renderer, on_step=measure)
    train(module, order, device=scene.device)
    run.frames_per_second = frames_per_second(module.representation.gaussians().detach(), test, renderer)
    return run


def frames_per_second(gaussians: Gaussians, cameras: Cameras, renderer: Any, rounds: int = 10) -> float:
    """Median over frames of ``SHOWN`` pixels, drawn one by one without gradients."""
    cameras = cameras.scaled(SHOWN / max(cameras.width, cameras.height))
    background, seconds = torch.ones(3, device=gaussians.means.device), []
    for index in [*range(len(cameras))] * rounds:
        since = time.perf_counter()
        with torch.no_grad():
            renderer.render(gaussians, cameras[index], background=background)
        if gaussians.means.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - since)
    return 1 / statistics.median(seconds)


def profile(scene: Scene) -> dict[str, tuple[float, float]]:
    """Milliseconds and share of a step, by part, of a whole run."""
    torch.manual_seed(scene.config.seed)
    module, order = assemble(scene.config, scene.mesh, scene.views, scene.config.build(Renderer))
    watched = StepProfile(module)
    train(module, order, device=scene.device)
    return watched.table()


def prototype(scene: Scene, folder: Path) -> Callable[[], Run]:
    """The prototype's loop over the same views, from the same Gaussians."""
    sys.path.insert(0, str(folder))
    import train as loop

    config = scene.config
    representation = config.build(Representation)
    representation.initialize(scene.mesh, scene.views, seed=config.seed)
    start = representation.gaussians().detach()
    images = [image.numpy() for image in torch.cat([scene.views.images, scene.truth])]
    cameras = []
    for group in (scene.views.cameras, scene.test):
        for viewmat, K in zip(group.viewmats.numpy(), group.Ks.numpy()):
            cameras.append((viewmat, *(np.float32(K[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))))
    held_out = range(len(scene.views), len(images))
    half = config.training.half_resolution
    schedule = ((0, 2), (half, 1)) if half else ((0, 1),)

    def run() -> Run:
        arrays = [start.means, start.quats, start.scales.log(), start.opacities.logit(), start.sh[:, 0]]
        state = [np.ascontiguousarray(array.numpy().copy()) for array in arrays]
        _, history, _, _, steps = loop.train(
            images, cameras, config.training.iterations, n=len(start), lrs=HOT, sched=schedule, log=10, verbose=False,
            start=state, hold=held_out,
        )  # fmt: skip
        return Run([h[1] for h in history], [h[3] for h in history], len(start), steps)

    return run


def summary(runs: list[Run]) -> dict[str, Any]:
    """Medians of some runs."""

    def median(values: list[float]) -> float | None:
        found = statistics.median(values)
        return None if found == float("inf") else round(found, 2)

    drawn = [run.frames_per_second for run in runs if run.frames_per_second]
    return {
        "seconds": median([run.seconds[-1] for run in runs]),
        "ms per step": median([1000 * run.seconds[-1] / run.steps for run in runs]),
        "steps": runs[0].steps,
        "gaussians": runs[0].gaussians,
        "held-out PSNR": median([run.held_out[-1] for run in runs]),
        "frames/s": round(statistics.median(drawn)) if drawn else "not measured",
        **{f"{level} dB after": median([run.reaches(level) for run in runs]) for level in LEVELS},
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    keys = list(next(iter(rows.values())))
    lines = [f"| | {' | '.join(keys)} |", f"|---|{'---:|' * len(keys)}"]
    for name, row in rows.items():
        cells = (
            "never" if row[key] is None else row[key] if isinstance(row[key], str) else f"{row[key]:,}" for key in keys
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def profile_table(found: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Markdown: one column for each run."""
    lines = [f"| ms and share of a step | {' | '.join(found)} |", f"|---|{'---:|' * len(found)}"]
    for part in next(iter(found.values())):
        cells = (f"{columns[part][0]:.2f} ({columns[part][1]:.1%})" for columns in found.values())
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--presets", nargs="+", default=["draft", "standard"])
    parser.add_argument("--sketch", type=Path, help="folder of a prototype to compare with")
    parser.add_argument("--profile", action="store_true", help="measure the parts of a step as well")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=DOCS, help="folder for construction_benchmark.{md,json}")
    arguments = parser.parse_args()

    scenes = {preset: prepare(arguments.capture, preset) for preset in arguments.presets}
    timed: dict[str, Callable[[], Run]] = {
        preset: lambda scene=scene: ours(scene)  # type: ignore[misc]
        for preset, scene in scenes.items()
    }
    if arguments.sketch:
        equal = prepare(arguments.capture, "draft", ("densifier=none",))
        timed["draft, equal"] = lambda: ours(equal)
        timed["prototype, equal"] = prototype(equal, arguments.sketch)
    warm = prepare(arguments.capture, arguments.presets[0], ("training.iterations=12",))
    ours(warm)
    if arguments.sketch:
        prototype(warm, arguments.sketch)()
    runs: dict[str, list[Run]] = {name: [] for name in timed}
    for _ in range(arguments.runs):
        for name, function in timed.items():
            runs[name].append(function())
            print(name, runs[name][-1].seconds[-1], runs[name][-1].held_out[-1], flush=True)
    rows = {name: summary(found) for name, found in runs.items()}
    text = table(rows)
    if arguments.sketch:
        pairs = zip(runs["draft, equal"], runs["prototype, equal"])
        ratio = statistics.median(a.seconds[-1] / b.seconds[-1] for a, b in pairs)
        text += f"\nSeconds of the equal loops, ours over the prototype's, median of the turns: {ratio:.2f}\n"
        rows["ratio"] = {"seconds, ours over prototype": round(ratio, 3)}
    if arguments.profile:
        parts = {preset: profile(scene) for preset, scene in scenes.items()}
        text += f"\nParts of a step; all but {', '.join(WORK)} is overhead:\n\n{profile_table(parts)}"
        rows["profile"] = {
            preset: {part: round(ms, 3) for part, (ms, _) in found.items()} for preset, found in parts.items()
        }
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    machine = {"device": device, "processors": available_processors(), "torch": torch.__version__}
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "construction_benchmark.json"
    path.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    path.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
