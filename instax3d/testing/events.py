"""A toy run, as callbacks hear of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from instax3d.interfaces import Callback
from instax3d.stages.callbacks import HOOKS, Event
from instax3d.types import (
    Cameras,
    CheckpointEvent,
    DensifyReport,
    Render,
    RunResult,
    RunStart,
    StageEvent,
    StepEvent,
)

from .context import toy_context
from .fakes import DenseRenderer
from .toys import toy_gaussians, toy_views


def tell(callback: Callback[Any], event: Event) -> None:
    """Call the method of a callback that hears of such an event."""
    getattr(callback, HOOKS[type(event)])(event)


def toy_run(steps: int = 3, *, source: str = "photo") -> Iterator[Event]:
    """All events of a run from beginning to end: views reused, a head fitted, ``steps`` steps with a checkpoint after
    the second, the toy portrait measured.

    In each step a Gaussian is cloned and a faint one removed. The PSNR is known in the first step alone.
    """
    config = {"seed": 0, "densifier": {"plugin": "toy", "grow": 0.5}, "losses": [{"plugin": "toy", "weight": 1.0}]}
    yield RunStart("toy.png", source, config, "cpu", (source, "views", "prior", "construct", "evaluate"))
    yield StageEvent(source, "started")
    yield StageEvent(source, "done", 0.25)
    yield StageEvent("views", "reused", 2.0)
    yield StageEvent("prior", "started")
    yield StageEvent("prior", "done", 0.5)
    yield StageEvent("construct", "started")
    for step in range(steps):
        yield toy_step(step, steps, source=source)
        if step == 1:
            yield CheckpointEvent(Path("toy_checkpoint.pt"), step + 1)
    yield StageEvent("construct", "done", 1.5)
    yield StageEvent("evaluate", "started")
    yield StageEvent("evaluate", "done", 0.125)
    manifest = {"status": "done", "seconds": {"prior": 0.5}, "gaussians": 40, "metrics": {"psnr": 31.5, "ssim": 0.9}}
    yield RunResult(manifest, toy_context())


def toy_step(step: int, total_steps: int, *, source: str = "photo") -> StepEvent:
    """One step of `toy_run`."""
    gaussians, views = toy_gaussians(), toy_views(2, 16)

    def draw(cameras: Cameras) -> Render:
        return DenseRenderer().render(gaussians, cameras, background=torch.ones(3))

    return StepEvent(
        step=step,
        total_steps=total_steps,
        loss=0.5 / (1 + step),
        losses={"photometric": 0.4 / (1 + step), "alpha": 0.1 / (1 + step)},
        psnr=20.0 if step == 0 else None,
        gaussians=len(gaussians),
        report=DensifyReport(born=1, died=1, reasons={"cloned": 1, "faint": 1}),
        current=lambda: gaussians,
        draw=draw,
        views=replace(views, photo_index=0 if source == "photo" else None),
    )
