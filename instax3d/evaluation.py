"""Runs the metrics on a finished portrait."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .capture import load_frames
from .config import Choice
from .errors import AssetError
from .interfaces import LandmarkDetector, Metric
from .portrait import Portrait
from .types import Cameras, Capture, Evidence, Photo, Views

TURN_FRAMES = 21
"""Frames of the turn that metrics look at, as many as the paper's clips have."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and what was not."""

    figures: Mapping[str, float]
    missing: Mapping[str, str]
    """Metric to the reason why it was not measured."""


def gather(
    portrait: Portrait, given: Photo | Capture | None, views: Views, detector: LandmarkDetector[Any]
) -> Evidence:
    """What metrics look at: the portrait from all cameras that there are, beside what it should look like."""

    def render(cameras: Cameras) -> Any:
        return portrait.render(cameras)[0]

    truth = truth_rendered = None
    if isinstance(given, Capture) and given.test_cameras is not None:
        truth, _ = load_frames(given.test_cameras, given.test_files)
        truth_rendered = render(given.test_cameras)
    return Evidence(
        gaussians=portrait.gaussians,
        mesh=portrait.mesh,
        views=views,
        rendered=render(views.cameras),
        turn_cameras=portrait.orbit.turn(TURN_FRAMES),
        render=render,
        detector=detector,
        photo=given if isinstance(given, Photo) else None,
        truth=truth,
        truth_rendered=truth_rendered,
    )


def evaluate(evidence: Evidence, metrics: Iterable[Choice]) -> Evaluation:
    """Measure a portrait by every metric; one whose files are not here is told of and the rest go on."""
    figures: dict[str, float] = {}
    missing: dict[str, str] = {}
    for choice in metrics:
        metric: Metric[Any] = choice.entry.build(choice.config)
        try:
            figures |= metric.measure(evidence)
        except AssetError as error:
            missing[choice.entry.spec.name] = str(error)
    return Evaluation(figures, missing)
