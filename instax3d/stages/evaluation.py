"""Runs the metrics on a finished portrait."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from instax3d.config import Choice
from instax3d.errors import Instax3DError
from instax3d.inputs.capture import load_frames
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.portrait.portrait import Portrait
from instax3d.types import Cameras, Capture, Evidence, Photo, Views

TURN_FRAMES = 21
"""Frames of the turn that metrics look at, as many as the paper's clips have."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and what was not."""

    figures: Mapping[str, float]
    missing: Mapping[str, str]
    """Metric to the reason why it was not measured."""


def gather(
    portrait: Portrait,
    views: Views,
    detector: LandmarkDetector[Any],
    *,
    photo: Photo | None = None,
    capture: Capture | None = None,
) -> Evidence:
    """What metrics look at: the portrait from all cameras that there are, beside what it should look like.

    Args:
        portrait: what is measured.
        views: what it was made from.
        detector: the run's.
        photo: what it was made from, if that was one.
        capture: in the portrait's world; its held-out frames and its surface are the truth.
    """

    def render(cameras: Cameras) -> Any:
        return portrait.render(cameras)[0]

    truth = truth_rendered = truth_cameras = None
    if capture is not None and capture.test_cameras is not None:
        truth_cameras = capture.test_cameras
        truth, _ = load_frames(truth_cameras, capture.test_files)
        truth_rendered = render(truth_cameras)
    return Evidence(
        gaussians=portrait.gaussians,
        mesh=portrait.mesh,
        views=views,
        rendered=render(views.cameras),
        turn_cameras=portrait.orbit.turn(TURN_FRAMES),
        render=render,
        detector=detector,
        photo=photo,
        truth=truth,
        truth_rendered=truth_rendered,
        truth_cameras=truth_cameras,
        surface=None if capture is None else capture.surface,
    )


def evaluate(evidence: Evidence, metrics: Iterable[Choice]) -> Evaluation:
    """Measure a portrait by every metric; one that cannot be measured is told of and the rest go on."""
    figures: dict[str, float] = {}
    missing: dict[str, str] = {}
    for choice in metrics:
        try:
            metric: Metric[Any] = choice.entry.build(choice.config)
            figures |= metric.measure(evidence)
        except Instax3DError as error:
            missing[choice.entry.spec.name] = str(error)
    return Evaluation(figures, missing)
