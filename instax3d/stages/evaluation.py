"""Runs the metrics on a finished portrait."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from instax3d.config import PluginChoice
from instax3d.errors import Instax3DError
from instax3d.inputs.capture import load_frames
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.portrait.portrait import Portrait
from instax3d.types import Cameras, Capture, EvaluationContext, Photo, Views

TURNTABLE_FRAMES = 21
"""Frames of the turn that metrics look at, as many as the paper's clips have."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and what was not."""

    figures: Mapping[str, float]
    missing: Mapping[str, str]
    """Metric to the reason why it was not measured."""


def collect(
    portrait: Portrait,
    views: Views,
    detector: LandmarkDetector[Any],
    *,
    photo: Photo | None = None,
    capture: Capture | None = None,
) -> EvaluationContext:
    """What metrics look at: the portrait from all cameras that there are, beside what it should look like.

    Args:
        portrait: what is measured.
        views: what it was made from.
        detector: the run's.
        photo: what it was made from, if that was one.
        capture: in the portrait's world; its held-out frames and its surface are the test_images.
    """

    def render(cameras: Cameras) -> Any:
        return portrait.render(cameras)[0]

    test_images = test_rendered = test_cameras = None
    if capture is not None and capture.test_cameras is not None:
        test_cameras = capture.test_cameras
        test_images, _ = load_frames(test_cameras, capture.test_files)
        test_rendered = render(test_cameras)
    return EvaluationContext(
        gaussians=portrait.gaussians,
        mesh=portrait.mesh,
        views=views,
        rendered=render(views.cameras),
        turntable_cameras=portrait.orbit.turn(TURNTABLE_FRAMES),
        render=render,
        detector=detector,
        photo=photo,
        test_images=test_images,
        test_rendered=test_rendered,
        test_cameras=test_cameras,
        surface=None if capture is None else capture.surface,
    )


def evaluate(context: EvaluationContext, metrics: Iterable[PluginChoice]) -> Evaluation:
    """Measure a portrait by every metric; one that cannot be measured is told of and the rest go on."""
    figures: dict[str, float] = {}
    missing: dict[str, str] = {}
    for choice in metrics:
        try:
            metric: Metric[Any] = choice.build()
            figures |= metric.measure(context)
        except Instax3DError as error:
            missing[choice.entry.spec.name] = str(error)
    return Evaluation(figures, missing)
