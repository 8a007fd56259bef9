"""Finds faces at any roll, with any landmark detector."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instax3d.geometry.landmarks68 import EYES, MOUTH_CORNERS, NOSE_TIP
from instax3d.interfaces import LandmarkDetector
from instax3d.types import FIVE_POINTS, Face

ROTATIONS_DEG = (0.0, 30.0, -30.0)
"""Clockwise rotations of the copies that are searched; detectors trained on upright faces tolerate about this roll."""
_UPRIGHT_DEG = 5.0
"""Roll up to which landmarks are as precise as on an upright face."""
_RELIABLE = 0.5
"""Share of the best score of a face from which a detection may determine its roll."""


@dataclass(frozen=True, eq=False)
class FaceCandidate:
    """One face that was detected in the image or in rotated copies of it."""

    face: Face
    """As detected in the copy in which it is most upright, in pixels of the image."""
    roll: float
    """Of the face in that copy, degrees clockwise."""
    score: float
    """Sum of the detector's scores over the copies: real faces are found in several, chance patterns in one."""


def detect_any_roll(image: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any]) -> list[FaceCandidate]:
    """The faces that the detector finds in the image and in rotated copies of it, highest score first.

    Raises:
        FitError: the detector gives no 68 landmarks.
    """
    detections: list[tuple[float, Face]] = [
        (angle, face) for angle in ROTATIONS_DEG for face in detect_rotated(image, detector, angle)
    ]
    detections.sort(key=lambda pair: -pair[1].score)
    groups: list[list[tuple[float, Face]]] = []
    for angle, face in detections:
        group = next((g for g in groups if overlap(g[0][1], face)), None)
        if group is None:
            groups.append([(angle, face)])
        else:
            group.append((angle, face))
    return sorted(map(_candidate, groups), key=lambda candidate: -candidate.score)


def refine_face(
    image: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any], candidate: FaceCandidate
) -> Face | None:
    """The candidate's face with the landmarks that the detector finds in a copy in which it is upright.

    None where it is not found there: what looks like a face only at a roll is a chance pattern.
    """
    face, remaining = candidate.face, candidate.roll
    for _ in range(2):  # landmarks of a face at a strong roll underestimate it
        if abs(remaining) < _UPRIGHT_DEG:
            break
        roll = face_roll(face.require_landmarks68())
        upright = [other for other in detect_rotated(image, detector, -roll) if overlap(other, face)]
        if not upright:
            return None
        best = max(upright, key=lambda other: other.score)
        remaining = face_roll(best.require_landmarks68()) - roll
        face = replace(best, score=max(best.score, face.score))
    return face


def face_roll(landmarks: Float[Tensor, "68 2"]) -> float:
    """Roll of a face in its image, degrees clockwise."""
    across = landmarks[EYES["left"]].mean(0) - landmarks[EYES["right"]].mean(0)
    return math.degrees(math.atan2(float(across[1]), float(across[0])))


def five_of_landmarks68(landmarks: Float[Tensor, "68 d"]) -> Float[Tensor, "5 d"]:
    """`FIVE_POINTS` by the 68 landmarks: the middle of an eye is the mean of those around it."""
    eyes = [landmarks[EYES[side]].mean(0) for side in ("right", "left")]
    return torch.stack([*eyes, *landmarks[[NOSE_TIP, *MOUTH_CORNERS]]])


def five_points(face: Face) -> Float[Tensor, "5 2"]:
    """A face's `FIVE_POINTS`, pixels: the detector's own, or else by its 68 landmarks.

    Raises:
        FitError: the detector gives neither.
    """
    return face.points[FIVE_POINTS] if FIVE_POINTS in face.points else five_of_landmarks68(face.require_landmarks68())


def overlap(first: Face, second: Face) -> bool:
    """Whether the center of either box lies in the other: then they are detections of one face."""

    def holds(outer: Face, inner: Face) -> bool:
        left, top, right, bottom = outer.box
        x, y = (inner.box[0] + inner.box[2]) / 2, (inner.box[1] + inner.box[3]) / 2
        return left <= x <= right and top <= y <= bottom

    return holds(first, second) or holds(second, first)


def detect_rotated(image: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any], angle: float) -> list[Face]:
    """The faces of a copy that was rotated clockwise by ``angle`` degrees, in pixels of the image.

    Boxes keep their size and stay parallel to the image's sides.
    """
    if abs(angle) < 0.5:
        return detector.detect(image)
    copy, to_image = _rotated(image.numpy(), angle)
    return [_moved(face, to_image) for face in detector.detect(torch.from_numpy(copy))]


def _rotated(
    pixels: UInt8[np.ndarray, "h w 3"], angle: float
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], Callable[[Tensor], Tensor]]:
    """A rotated copy that holds the whole image, and the map from its points to those of the image."""
    height, width = pixels.shape[:2]
    radians = math.radians(angle)
    cos, sin = math.cos(radians), math.sin(radians)
    rotation = np.array([[cos, -sin], [sin, cos]])  # clockwise, as y points down
    size = np.ceil(np.abs(rotation) @ [width, height]).astype(int)
    center, new_center = np.array([width, height]) / 2, size / 2
    # OpenCV counts pixel centers at whole numbers, we at halves
    shift = new_center - rotation @ center
    matrix = np.c_[rotation, shift + rotation @ [0.5, 0.5] - 0.5]
    copy = cv2.warpAffine(
        pixels, matrix, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inverse, offset = torch.tensor(rotation.T, dtype=torch.float32), torch.tensor(shift, dtype=torch.float32)
    return copy, lambda points: (points - offset) @ inverse.T


def _moved(face: Face, move: Callable[[Tensor], Tensor]) -> Face:
    """The face with its points moved, and its box by its center."""
    left, top, right, bottom = face.box
    x, y = move(torch.tensor([[(left + right) / 2, (top + bottom) / 2]]))[0].tolist()
    half_width, half_height = (right - left) / 2, (bottom - top) / 2
    box = (x - half_width, y - half_height, x + half_width, y + half_height)
    landmarks = None if face.landmarks is None else move(face.landmarks)
    return replace(face, box=box, landmarks=landmarks, points={name: move(at) for name, at in face.points.items()})


def _candidate(group: list[tuple[float, Face]]) -> FaceCandidate:
    """From the detections of one face, highest score first, each with the rotation of its copy."""
    best: dict[float, float] = {}
    for angle, face in group:
        best[angle] = max(best.get(angle, 0.0), face.score)
    highest = group[0][1].score
    reliable = [
        (face_roll(face.require_landmarks68()) + angle, face)
        for angle, face in group
        if face.score >= _RELIABLE * highest
    ]
    roll, most_upright = min(reliable, key=lambda pair: abs(pair[0]))
    return FaceCandidate(replace(most_upright, score=highest), roll, sum(best.values()))
