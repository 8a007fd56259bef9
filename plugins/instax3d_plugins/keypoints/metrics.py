"""Keypoints detected in a portrait's renders against those of the fitted head and of the ground truth."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import MetricError
from instax3d.geometry.landmarks68 import INNER, OUTER_EYE_CORNERS
from instax3d.inputs.faces import five_of_landmarks68, five_points
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.io.images import to_uint8
from instax3d.registry import build
from instax3d.types import Cameras, EvaluationContext, Face

from .config import LandmarksConfig, PckConfig

ALPHAS = {"pck": 0.1, "pck_05": 0.05, "pck_02": 0.02}
"""Shares of the face's size within which a keypoint counts as correct, by figure."""


class Pck(Metric[PckConfig]):
    """Percentage of correct keypoints (Yang and Ramanan 2013), as the paper uses it: MTCNN's five points in rendered
    frames against those of the fitted head, projected.

    Frames: those of the turn within 40 degrees of the front (five of 21). The head's eyes are the means of the six
    landmarks around each, then come the tip of the nose and the corners of the mouth. A point is correct if it is
    detected within alpha times the longer side of the box around the head's 68 projected landmarks. The paper states
    neither alpha nor the size it multiplies: 0.1 of a box is Yang and Ramanan's choice, and 0.05 and 0.02 are reported
    beside it. In a frame without a face all five points are wrong; of several faces the one nearest to the head's
    points counts."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        head = _landmarks(context, "pck")
        detector: LandmarkDetector[Any] = build(LandmarkDetector, self.config.detector)
        frames = context.front
        errors, faces_detected = [], 0
        for index in frames:
            camera = context.turntable_cameras[index]
            projected = camera.project(head)[0, :, :2]
            expected, size = five_of_landmarks68(projected), (projected.amax(0) - projected.amin(0)).max()
            faces = detector.detect(to_uint8(context.turntable[index]))
            faces_detected += bool(faces)
            distances = [(five_points(face) - expected).norm(dim=1) / size for face in faces]
            errors.append(min(distances, key=lambda each: float(each.mean()), default=torch.full((5,), torch.inf)))
        relative = torch.cat(errors)
        figures = {name: 100 * float((relative <= alpha).float().mean()) for name, alpha in ALPHAS.items()}
        return {**figures, "pck_faces": faces_detected / len(frames)}


class Landmarks(Metric[LandmarksConfig]):
    """Mean distance of detected landmarks from their target, in percent of the distance of the outer eye corners.

    Of the 68 landmarks brows, nose, eyes and mouth count. The unit is the distance of the fitted head's outer eye
    corners (landmarks 37 and 46) as the camera would show it perpendicular to the viewing direction, so that a turned
    face has no smaller one. Three figures: against the fitted head's landmarks, projected, in frames of the turn within
    40 degrees of the front; against those detected in the view that is the photo, from its camera; against those
    detected in a capture's held-out frames, from theirs (the average keypoint distance of Siarohin et al. 2019). Frames
    in which the detector finds a face in one image only do not count; `landmarks_faces` is the share of those that
    should show one and do."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        head = _landmarks(context, "landmarks")
        detector: LandmarkDetector[Any] = build(LandmarkDetector, self.config.detector)

        def detect(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "68 2"] | None:
            faces: list[Face] = detector.detect(to_uint8(image))
            return faces[0].require_landmarks68() if faces else None

        expected = detected = 0
        figures: dict[str, float] = {}

        def compare(
            name: str, pairs: Iterable[tuple[Cameras, Float[Tensor, "3 h w"], Float[Tensor, "68 2"] | None]]
        ) -> None:
            """``pairs``: cameras, the portrait's renders from there, and the target landmarks."""
            nonlocal expected, detected
            errors = []
            for camera, image, target in pairs:
                if target is None:
                    continue
                expected += 1
                landmarks = detect(image)
                if landmarks is not None:
                    detected += 1
                    errors.append((landmarks - target)[INNER].norm(dim=1).mean() / _unit(head, camera))
            if errors:
                figures[name] = 100 * float(torch.stack(errors).mean())

        turn, views, photo = context.turntable_cameras, context.views, context.views.photo_index
        compare("landmarks", ((turn[k], context.turntable[k], turn[k].project(head)[0, :, :2]) for k in context.front))
        if photo is not None:
            compare("landmarks_photo", [(views.cameras[photo], context.rendered[photo], detect(views.images[photo]))])
        truth, rendered, cameras = context.test_images, context.test_rendered, context.test_cameras
        if truth is not None and rendered is not None and cameras is not None:
            compare("landmarks_test", ((cameras[k], rendered[k], detect(truth[k])) for k in range(len(cameras))))
        return {**figures, "landmarks_faces": detected / expected}


def _landmarks(context: EvaluationContext, name: str) -> Float[Tensor, "68 3"]:
    if context.mesh.landmarks is None:
        raise MetricError(
            f"{name} needs the landmarks of the fitted head, but this portrait keeps none; create it again with a mesh "
            "prior that has them"
        )
    return context.mesh.landmarks


def _unit(head: Float[Tensor, "68 3"], camera: Cameras) -> Float[Tensor, ""]:
    """Pixels of the distance of the outer eye corners, perpendicular to the viewing direction at their depth."""
    corners = head[list(OUTER_EYE_CORNERS)]
    depth = camera.project(corners)[0, :, 2].mean()
    distance: Tensor = (corners[0] - corners[1]).norm()
    return distance * camera.Ks[0, 0, 0] / depth
