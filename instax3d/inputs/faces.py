"""Finds faces however a head is tilted, with any landmark detector."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from instax3d.interfaces import LandmarkDetector
from instax3d.types import FIVE_POINTS, Face

TURNS = (0.0, 30.0, -30.0)
"""Degrees by which copies are turned, clockwise; detectors trained on upright faces bear about this much tilt."""
_UPRIGHT = 5.0
"""Landmarks are sharpest where the face stands upright within so many degrees."""
_CLEAR = 0.5
"""A detection of this share of the person's best score is trusted to tell the tilt."""
EYES = {"right": slice(36, 42), "left": slice(42, 48)}
"""Landmarks around the subject's eyes."""
NOSE_TIP = 30
MOUTH_CORNERS = (48, 54)
"""Of the subject's right and left."""


@dataclass(frozen=True)
class Person:
    """One face with all that the copies say of it."""

    face: Face
    """As the copy shows it in which the face stands most upright, in pixels of the image."""
    tilt: float
    """Degrees by which it is tilted there."""
    support: float
    """Sum over the copies of the detector's scores: real faces are found in several, chance patterns in one."""


def detect_any_roll(image: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any]) -> list[Person]:
    """The faces that the detector finds in the image and in turned copies of it, the best supported one first."""
    found: list[tuple[float, Face]] = [(turn, face) for turn in TURNS for face in detect_turned(image, detector, turn)]
    found.sort(key=lambda pair: -pair[1].score)
    groups: list[list[tuple[float, Face]]] = []
    for turn, face in found:
        group = next((g for g in groups if overlap(g[0][1], face)), None)
        if group is None:
            groups.append([(turn, face)])
        else:
            group.append((turn, face))
    return sorted(map(_person, groups), key=lambda person: -person.support)


def refine_face(image: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any], person: Person) -> Face | None:
    """The person's face with the landmarks that the detector finds in a copy in which it stands upright.

    None where it is not found there: what looks like a face at a tilt only is a chance pattern.
    """
    face, tilt = person.face, person.tilt
    for _ in range(2):  # landmarks of a strongly tilted face underrate its tilt
        if abs(tilt) < _UPRIGHT:
            break
        roll = face_roll(face.require_landmarks68())
        again = [found for found in detect_turned(image, detector, -roll) if overlap(found, face)]
        if not again:
            return None
        best = max(again, key=lambda found: found.score)
        tilt = face_roll(best.require_landmarks68()) - roll
        face = replace(best, score=max(best.score, face.score))
    return face


def face_roll(landmarks: Float[Tensor, "68 2"]) -> float:
    """Degrees by which a face is tilted clockwise in its image."""
    across = landmarks[EYES["left"]].mean(0) - landmarks[EYES["right"]].mean(0)
    return math.degrees(math.atan2(float(across[1]), float(across[0])))


def five_of(landmarks: Float[Tensor, "68 d"]) -> Float[Tensor, "5 d"]:
    """`FIVE_POINTS` of the 68 landmarks: the middle of an eye is the mean of those around it."""
    eyes = [landmarks[EYES[side]].mean(0) for side in ("right", "left")]
    return torch.stack([*eyes, *landmarks[[NOSE_TIP, *MOUTH_CORNERS]]])


def five_points(face: Face) -> Float[Tensor, "5 2"]:
    """A face's `FIVE_POINTS`, as its detector found them, or else by its 68 landmarks.

    Raises:
        FitError: the detector found neither.
    """
    return face.points[FIVE_POINTS] if FIVE_POINTS in face.points else five_of(face.require_landmarks68())


def overlap(first: Face, second: Face) -> bool:
    """Whether the middle of either box lies in the other: two finds of one face."""

    def holds(outer: Face, inner: Face) -> bool:
        left, top, right, bottom = outer.box
        x, y = (inner.box[0] + inner.box[2]) / 2, (inner.box[1] + inner.box[3]) / 2
        return left <= x <= right and top <= y <= bottom

    return holds(first, second) or holds(second, first)


def detect_turned(image: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any], turn: float) -> list[Face]:
    """The faces of a copy that was turned clockwise by ``turn`` degrees, in pixels of the image.

    Boxes keep their size and stay parallel to the image's sides.
    """
    if abs(turn) < 0.5:
        return detector.detect(image)
    copy, back = _turned(image.numpy(), turn)
    return [_moved(face, back) for face in detector.detect(torch.from_numpy(copy))]


def _turned(
    pixels: UInt8[np.ndarray, "h w 3"], turn: float
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], Callable[[Tensor], Tensor]]:
    """A turned copy that holds the whole image, and the map from its points to those of the image."""
    height, width = pixels.shape[:2]
    angle = math.radians(turn)
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])  # clockwise, as y points down
    size = np.ceil(np.abs(rotation) @ [width, height]).astype(int)
    middle, goal = np.array([width, height]) / 2, size / 2
    # OpenCV counts pixel centers at whole numbers, we at halves
    shift = goal - rotation @ middle
    matrix = np.c_[rotation, shift + rotation @ [0.5, 0.5] - 0.5]
    copy = cv2.warpAffine(
        pixels, matrix, (int(size[0]), int(size[1])), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inverse, offset = torch.tensor(rotation.T, dtype=torch.float32), torch.tensor(shift, dtype=torch.float32)
    return copy, lambda points: (points - offset) @ inverse.T


def _moved(face: Face, move: Callable[[Tensor], Tensor]) -> Face:
    left, top, right, bottom = face.box
    x, y = move(torch.tensor([[(left + right) / 2, (top + bottom) / 2]]))[0].tolist()
    half_width, half_height = (right - left) / 2, (bottom - top) / 2
    box = (x - half_width, y - half_height, x + half_width, y + half_height)
    landmarks = None if face.landmarks is None else move(face.landmarks)
    return replace(face, box=box, landmarks=landmarks, points={name: move(at) for name, at in face.points.items()})


def _person(group: list[tuple[float, Face]]) -> Person:
    """Of detections of one face, surest first."""
    best: dict[float, float] = {}
    for turn, face in group:
        best[turn] = max(best.get(turn, 0.0), face.score)
    surest = group[0][1].score
    clear = [
        (face_roll(face.require_landmarks68()) + turn, face) for turn, face in group if face.score >= _CLEAR * surest
    ]
    tilt, chosen = min(clear, key=lambda pair: abs(pair[0]))
    return Person(replace(chosen, score=surest), tilt, sum(best.values()))
