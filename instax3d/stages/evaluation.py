"""Runs the metrics on a finished portrait."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from instax3d.config import PluginChoice
from instax3d.errors import Instax3DError
from instax3d.inputs.capture import load_frames
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.portrait.gaussian_head import GaussianHead
from instax3d.types import Cameras, Capture, EvaluationContext, Photo, Views

TURNTABLE_FRAMES = 21
"""Frames of the turntable that metrics look at, as many as the clips of the paper's view generator (SV3D) have."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and what was not."""

    metrics: Mapping[str, float]
    """Values by name; one metric may give several."""
    missing: Mapping[str, str]
    """Metric to the reason why it was not measured."""


def collect(
    head: GaussianHead,
    views: Views,
    detector: LandmarkDetector[Any],
    *,
    photo: Photo | None = None,
    capture: Capture | None = None,
) -> EvaluationContext:
    """What metrics look at: the portrait from all cameras that there are, beside what it should look like.

    Args:
        head: what is measured.
        views: what it was made from.
        detector: the run's.
        photo: what it was made from, if that was one.
        capture: in the portrait's world; its held-out frames and its surface are the ground truth.

    Raises:
        CaptureError: a held-out frame cannot be read.
    """

    def render(cameras: Cameras) -> Float[Tensor, "_ 3 _ _"]:
        return head.render(cameras)[0]

    test_images = test_rendered = test_cameras = None
    if capture is not None and capture.test_cameras is not None:
        test_cameras = capture.test_cameras
        test_images, _ = load_frames(test_cameras, capture.test_files)
        test_rendered = render(test_cameras)
    return EvaluationContext(
        gaussians=head.gaussians,
        mesh=head.mesh,
        views=views,
        rendered=render(views.cameras),
        turntable_cameras=head.orbit.turn(TURNTABLE_FRAMES),
        render=render,
        detector=detector,
        photo=photo,
        test_images=test_images,
        test_rendered=test_rendered,
        test_cameras=test_cameras,
        surface=None if capture is None else capture.surface,
    )


def evaluate(context: EvaluationContext, metrics: Iterable[PluginChoice]) -> Evaluation:
    """Measure a portrait by every metric; one that cannot be measured is reported and the others are still measured."""
    measured: dict[str, float] = {}
    missing: dict[str, str] = {}
    for choice in metrics:
        try:
            metric: Metric[Any] = choice.build()
            measured |= metric.measure(context)
        except Instax3DError as error:
            missing[choice.entry.spec.name] = str(error)
    return Evaluation(measured, missing)
