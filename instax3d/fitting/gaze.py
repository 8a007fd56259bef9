"""Gaze: finds irises in images, and turns the model's eyeballs to them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from instax3d.geometry.landmarks68 import EYES
from instax3d.headmodel import HeadModel
from instax3d.types import Cameras

from .eyes import cut_patch, eye_likeness, openness
from .landmarks import face_size
from .solver import soft_l1
from .terms import Correspondences

IRIS_SIGMA = 0.006
"""Standard deviation of an iris center relative to the middle of its eye's corners, in face sizes: about 1 mm."""
IRIS_THRESHOLD = 2.0
"""Standard deviations beyond which an iris counts linearly."""
OCCLUSION = torch.tensor([1.2, 1.0])
"""Factors of an iris's offset in x and y: turned to the side it goes under the lids, so the middle of its visible part
lags behind its own by a sixth, measured on drawn eyes of known gaze."""
NO_LIKENESS, CLEAR_LIKENESS = 0.1, 0.25
"""Likeness to eyes (`eye_likeness`) of plain, dark and mirroring glasses, and of eyes that are clearly visible, if only
through tinted ones. In between, irises count less, and the prior that eyes look ahead more."""
AGREEMENT, AGREEMENT_SIGMA = 0.1, 0.2
"""Eye widths between an iris and where both eyes together put it: up to the first it keeps its confidence; beyond, that
falls off with the second as standard deviation."""

_WIDTH = 60
"""Pixels between an eye's corners in the patch that is searched."""
_MARGIN = 12
"""Pixels around the eye in the patch."""
_RADII = (0.17, 0.195, 0.22)
"""Of an iris, in eye widths: 11.7 mm of diameter in a fissure of 30 mm, more where the eye is foreshortened."""
_RING = 1.45
"""Outer radius of the ring that is compared with the iris, in its radii."""
_MIN_CONTRAST, _MIN_RELATIVE_CONTRAST = 0.01, 0.08
"""By which an iris must be darker than its surroundings: absolute, and relative to the brightest between the lids."""
_NEAR = 0.1
"""Eye widths up and down from the landmarks within which an eye must look like one for its iris to be used."""
_OFF_CENTER = 0.35
"""Standard deviation of an iris about the eye's middle, in eye widths: a prior against lashes in the corners."""


@dataclass(frozen=True, eq=False)
class Iris:
    """An iris in an image."""

    center: Float[Tensor, "2"]
    """Pixels."""
    confidence: float
    """From 0 to 1."""


def find_irises(image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"]) -> dict[str, Iris]:
    """The irises in an sRGB image, by eye (the subject's ``right`` and ``left``); closed and hidden eyes have none.

    An iris is the disc between the lids that is darkest against the ring around it, in the red light in which blue and
    brown irises alike are darker than skin and white. Its confidence is high where both eyes look like eyes, look the
    same way and are open.
    """
    lids = {side: landmarks[range_].double().numpy() for side, range_ in EYES.items()}
    opened = {side: openness(points) for side, points in lids.items()}
    if not any(opened.values()):
        return {}
    likeness = eye_likeness(image, landmarks, _NEAR)
    best = int(likeness.score.argmax())
    clarity = float(np.clip((likeness.score[best] - NO_LIKENESS) / (CLEAR_LIKENESS - NO_LIKENESS), 0, 1))
    red, irises = image[0].numpy(), {}
    for (side, points), expected in zip(lids.items(), likeness.irises[best], strict=True):
        if opened[side] * clarity == 0 or (center := _find_iris(red, points)) is None:
            continue
        apart = float(np.linalg.norm(center - expected) / np.linalg.norm(points[3] - points[0]))
        confidence = opened[side] * clarity * math.exp(-((max(apart - AGREEMENT, 0) / AGREEMENT_SIGMA) ** 2) / 2)
        irises[side] = Iris(torch.tensor(center, dtype=torch.float32), confidence)
    return irises


def _find_iris(red: Float[ndarray, "h w"], lids: Float[ndarray, "6 2"]) -> Float[ndarray, "2"] | None:
    """The iris between the lids, pixels; None where nothing there is dark enough."""
    across = lids[3] - lids[0]
    width = float(np.linalg.norm(across))
    # to a patch in which the corners lie level, and back
    axis = across / width
    rotation = np.array([axis, [-axis[1], axis[0]]]) * (_WIDTH / width)
    middle = np.array([_WIDTH / 2 + _MARGIN, _WIDTH / 3 + _MARGIN])
    shift = middle - rotation @ ((lids[0] + lids[3]) / 2)
    size = (round(2 * middle[0]), round(2 * middle[1]))
    if width > _WIDTH:
        red = cv2.GaussianBlur(red, (0, 0), 0.4 * width / _WIDTH)
    patch = cut_patch(red, rotation, shift, size)
    between = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(between, [(lids @ rotation.T + shift).round().astype(np.int32)], 1)
    between = cv2.dilate(between, np.ones((5, 3))).astype(np.float32)

    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    expected = np.exp(-(((x - middle[0]) / (_OFF_CENTER * _WIDTH)) ** 2) / 2)
    best = np.zeros(size[::-1])
    for radius in _RADII:
        inner, inner_share = _mean_over(patch, between, 0, radius * _WIDTH)
        outer, outer_share = _mean_over(patch, between, radius * _WIDTH, _RING * radius * _WIDTH)
        darker = np.where((inner_share > 0.4) & (outer_share > 0.2), outer - inner, 0)
        best = np.maximum(best, darker * np.sqrt(inner_share) * expected)
    best[between == 0] = 0
    peak = float(best.max())
    if peak < max(_MIN_CONTRAST, _MIN_RELATIVE_CONTRAST * float(patch[between > 0].max())):
        return None
    weight = np.clip(best - 0.9 * peak, 0, None)
    in_patch = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    center: Float[ndarray, "2"] = np.linalg.solve(rotation, in_patch - shift)
    return center


def _mean_over(
    patch: Float[ndarray, "h w"], between: Float[ndarray, "h w"], low: float, high: float
) -> tuple[Float[ndarray, "h w"], Float[ndarray, "h w"]]:
    """Mean of a ring about each pixel over what lies between the lids, and the share of the ring that does.

    ``low`` and ``high``: radii of the ring, pixels.
    """
    reach = math.ceil(high)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    ring = ((np.hypot(x, y) >= low) & (np.hypot(x, y) < high)).astype(np.float32)
    share = cv2.filter2D(between, -1, ring / ring.sum(), borderType=cv2.BORDER_CONSTANT)
    total = cv2.filter2D(patch * between, -1, ring / ring.sum(), borderType=cv2.BORDER_CONSTANT)
    share = share.clip(0)  # filtering by FFT leaves a little below zero
    return total / np.maximum(share, 1e-6), share


class GazeTerm:
    """The irises in some views, compared relative to their eye's corners, as the lids need not fit.

    Args:
        irises: by view and eye.
        landmarks: by view, pixels.
        confidence: of all views.
        weight: together the irises count as so many views.
    """

    def __init__(
        self,
        model: HeadModel,
        irises: Mapping[int, Mapping[str, Iris]],
        landmarks: Mapping[int, Float[Tensor, "68 2"]],
        confidence: Float[Tensor, "views"],
        *,
        weight: float,
    ) -> None:
        neutral = model(model.neutral())
        self._model, self._landmarks = model, landmarks
        self._pupils = {"right": _foremost(model, neutral, -1), "left": _foremost(model, neutral, 1)}
        self._irises = [(view, side, iris) for view, eyes in irises.items() for side, iris in eyes.items()]
        share = math.sqrt(weight / max(len(irises), 1))
        self._weight = torch.tensor(
            [
                iris.confidence * float(confidence[view]) * share / (IRIS_SIGMA * face_size(landmarks[view]))
                for view, _, iris in self._irises
            ]
        )

    def find_correspondences(self, vertices: Float[Tensor, "vertices 3"], cameras: Cameras) -> Correspondences:
        """Find the pupils of the current head (world), and where they should be relative to its eyes' corners."""
        points = cameras.project(self._model.landmarks(vertices))[..., :2]
        view = torch.tensor([view for view, _, _ in self._irises])
        centers = [
            _middle(points[view], side) + OCCLUSION * (iris.center - _middle(self._landmarks[view], side))
            for view, side, iris in self._irises
        ]
        targets, weight = torch.stack(centers), self._weight[:, None]
        triangles = torch.tensor([self._pupils[side] for _, side, _ in self._irises])[:, None].expand(-1, 3)

        def compare(pixels: Tensor) -> Tensor:
            return soft_l1((pixels - targets) * weight, IRIS_THRESHOLD).flatten()

        return Correspondences(triangles, torch.tensor([1.0, 0.0, 0.0]).expand(len(triangles), 3), view, compare)


def gaze_term(
    model: HeadModel,
    images: Mapping[int, Float[Tensor, "3 h w"]],
    landmarks: Mapping[int, Float[Tensor, "68 2"]],
    confidence: Float[Tensor, "views"],
    *,
    weight: float,
) -> GazeTerm | None:
    """The term of all irises in some views; None where there are none, or the model's eyes do not turn.

    Args:
        images: by view, sRGB in [0, 1].
        landmarks: by view, pixels.
        confidence: of all views.
        weight: together the irises count as so many views.
    """
    if not any("eye" in name for name in model.joint_names):
        return None
    irises = {view: find_irises(image, landmarks[view]) for view, image in images.items()}
    irises = {view: eyes for view, eyes in irises.items() if eyes}
    return GazeTerm(model, irises, landmarks, confidence, weight=weight) if irises else None


def _foremost(model: HeadModel, neutral: Float[Tensor, "vertices 3"], side: int) -> int:
    """The vertex of an eyeball that is its pupil: farthest to the front at rest. ``side``: 1 left, -1 right."""
    on_side = model.regions["eyeballs"] & (side * neutral[:, 0] > 0)
    return int(torch.where(on_side, neutral[:, 2], -math.inf).argmax())


def _middle(points: Float[Tensor, "68 2"], side: str) -> Float[Tensor, "2"]:
    """Midpoint between the corners of an eye."""
    lids = points[EYES[side]]
    return (lids[0] + lids[3]) / 2
