"""Where a picture shows eyes, for landmarks that spectacles have put beside them, and how much they look like eyes."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from instax3d.inputs.faces import EYES

from .landmarks import BROWS

LEAST_OPENING, WIDE_OPENING = 0.17, 0.22
"""Height over width of an eye whose iris can just be seen, and of one in which it shows well."""
FARTHEST = 0.5
"""Eye widths up or down that eyes are sought from their landmarks."""

_WIDTH = 32
"""Pixels between an eye's corners in the patch that is searched."""
_MARGIN = 10
"""Pixels beside the corners, and above and below the lids: room for the skin around them."""
_SKIN = 9
"""Twice the width in pixels of the skin around the lids that an eye is compared with, and one."""
_RADII = (0.17, 0.2, 0.23)
"""Of an iris, in eye widths."""
_OPENINGS = (1.0, 1.4)
"""Heights of the lids, in those of the landmarks, which misplaced are often too close."""
_ACROSS, _DOWN = np.arange(-5, 6) * 0.052, np.arange(-3, 2) * 0.05
"""Places of an iris beside the middle of its eye's corners, in eye widths."""
_SIDE_CONTRAST = 0.15
"""Between an iris and what lies on one side of it, in that between iris and white: lashes and folds are dark, too."""
_LEAST_SIDE = 8
"""Pixels from which it can be told; fewer of the white are left where the iris is in the corner."""
_NOISE = 3e-4
"""Variance of intensities that says nothing."""
_ASIDE_AT = 0.5 * np.repeat(_ACROSS, len(_DOWN)) ** 2
"""How much less likely such an eye is."""
_BESIDE = 0.2
"""Standard deviation in eye widths by which misplaced landmarks are beside their eyes ..."""
_STEADY = 0.05
"""... and how much more an eye must look like one that far away."""
_BETTER, _MUCH_BETTER = 0.05, 0.1
"""Landmarks stay unless the picture looks more like eyes elsewhere: from the first on they follow in part, from the
second on wholly, ..."""
_LIKELY, _LIKE_EYES = 0.25, 0.32
"""... and unless what is there looks like eyes, which the rims of dark lenses do less."""


@dataclass(frozen=True)
class Likeness:
    """How much a picture looks like two eyes that look the same way: the share of the variance about the lids that is
    explained by a dark disc, the white around it and the skin around that.
    """

    shared: Float[ndarray, "shifts"]
    """By place of the eyes; mean of both."""
    irises: Float[ndarray, "shifts 2 2"]
    """About where their irises are then (right and left eye of the subject), pixels."""
    shifts: Float[ndarray, "shifts 2"]
    """From the landmarks to these places, pixels."""
    down: Float[ndarray, "shifts"]
    """The same, in eye widths downwards."""


def openness(lids: Float[ndarray, "6 2"]) -> float:
    """From 0 for an eye that is closed, or too small to tell, to 1 for one whose iris shows well."""
    width = float(np.linalg.norm(lids[3] - lids[0]))
    height = float(np.linalg.norm((lids[1] + lids[2]) - (lids[4] + lids[5]))) / 2
    if width < 4:
        return 0.0
    return float(np.clip((height / width - LEAST_OPENING) / (WIDE_OPENING - LEAST_OPENING), 0, 1))


def refine_eye_landmarks(image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"]) -> Float[Tensor, "68 2"]:
    """The landmarks, those of eyes and brows moved up or down by what brings the eyes to where the picture shows eyes.

    Detectors mistake the rims of spectacles for lids and brows. Sideways nothing is moved: there an eye beside its
    landmarks cannot be told from one that looks aside. Closed eyes stay, and so do landmarks that are about right.
    """
    opened = min(openness(landmarks[range_].double().numpy()) for range_ in EYES.values())
    if opened == 0:
        return landmarks
    found = eye_likeness(image, landmarks, FARTHEST)
    worth = found.shared - _STEADY * (found.down / _BESIDE) ** 2 / 2
    best, stay = int(worth.argmax()), len(worth) // 2
    better = np.clip((worth[best] - worth[stay] - _BETTER) / (_MUCH_BETTER - _BETTER), 0, 1)
    like_eyes = np.clip((found.shared[best] - _LIKELY) / (_LIKE_EYES - _LIKELY), 0, 1)
    share = opened * float(better * like_eyes)
    moved = landmarks.clone()
    for range_ in (BROWS, *EYES.values()):
        moved[range_] += torch.from_numpy(share * found.shifts[best]).float()
    return moved


def eye_likeness(image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"], reach: float) -> Likeness:
    """How much the eyes' surroundings look like eyes, ``reach`` eye widths up and down from their landmarks."""
    marks = landmarks.double().numpy()
    eyes = [marks[range_] for range_ in EYES.values()]
    width = float(np.mean([np.linalg.norm(lids[3] - lids[0]) for lids in eyes]))
    level = eyes[1].mean(0) - eyes[0].mean(0)
    level /= np.linalg.norm(level)
    # to a patch in which the eyes lie level
    rotation = np.array([level, [-level[1], level[0]]]) * (_WIDTH / width)
    steps = round(reach * _WIDTH)
    # intensities in which iris and white, and white and skin differ
    red_and_blue = image[[0, 2]].permute(1, 2, 0).numpy()
    if width > _WIDTH:
        red_and_blue = cv2.GaussianBlur(red_and_blue, (0, 0), 0.4 * width / _WIDTH)
    each = [_likeness_of_one(red_and_blue, lids, rotation, steps) for lids in eyes]
    # the second eye may differ by a step, as irises are seen in perspective
    padded = np.pad(each[1], [(0, 0), (1, 1), (1, 1)])
    tolerant = sliding_window_view(padded, (3, 3), axis=(1, 2)).max((3, 4))
    both = ((each[0] + tolerant) / 2).reshape(2 * steps + 1, -1)
    down = np.arange(-steps, steps + 1) / _WIDTH
    shifts = down[:, None] * width * np.array([-level[1], level[0]])
    across, below = np.unravel_index(both.argmax(1), each[0].shape[1:])
    aside = np.stack([_ACROSS[across], _DOWN[below]], 1) * width @ np.array([level, [-level[1], level[0]]])
    middles = np.stack([(lids[0] + lids[3]) / 2 for lids in eyes])
    return Likeness(both.max(1), middles + (shifts + aside)[:, None], shifts, down)


def _likeness_of_one(
    image: Float[ndarray, "h w c"], lids: Float[ndarray, "6 2"], rotation: Float[ndarray, "2 2"], steps: int
) -> Float[ndarray, "shifts across down"]:
    """By place of the eye and of the iris in it, the most over radii and openings."""
    half = np.array([_WIDTH / 2 + _MARGIN, _WIDTH / 4 + _MARGIN]).astype(int)
    middle = half + np.array([0, steps])
    shift = middle - rotation @ ((lids[0] + lids[3]) / 2)
    size = (int(2 * middle[0]), int(2 * middle[1]))
    patch = cut_patch(image, rotation, shift, size)
    patch = patch.reshape(size[1], size[0], -1).transpose(2, 0, 1)
    windows = sliding_window_view(np.concatenate([patch, patch**2]), 2 * half[1], axis=1)
    windows = windows.transpose(0, 1, 3, 2).reshape(2 * len(patch), 2 * steps + 1, -1)
    channels = len(patch)
    best = np.zeros((2 * steps + 1, _ASIDE_AT.size), np.float32)
    for height in _OPENINGS:
        areas = _areas((lids @ rotation.T + shift - middle) * [1, height] + half, half)
        if not len(areas.place):
            continue
        # sums of intensities and of their squares over the areas
        over_eye, over_skin = windows @ areas.eye.ravel(), windows @ areas.skin.ravel()
        over_disc = windows[:channels] @ areas.discs.reshape(len(areas.discs), -1).T
        in_disc, in_eye, in_skin = areas.discs.sum((1, 2)), areas.eye.sum(), areas.skin.sum()
        in_white = in_eye - in_disc
        of_disc = over_disc / in_disc
        of_white = (over_eye[:channels, :, None] - over_disc) / in_white
        of_skin = (over_skin[:channels] / in_skin)[..., None]
        mean, square = np.split((over_eye + over_skin) / (in_eye + in_skin), 2)
        total = (square - mean**2).sum(0)[:, None] + _NOISE
        parts = ((in_disc, of_disc), (in_white, of_white), (in_skin, of_skin))
        explained = sum((count * (level - mean[..., None]) ** 2).sum(0) for count, level in parts)
        # whatever its color, an iris is darker in red light than what surrounds it, on each of its sides alone: at the
        # rim of a dark lens, one of these is as dark
        contrast = of_white[0] - of_disc[0]
        dark = contrast > 0
        for side in areas.sides:
            size = side.sum((1, 2))
            of_side = windows[0] @ side.reshape(len(side), -1).T / np.maximum(size, 1)
            dark &= (of_side - of_disc[0] > _SIDE_CONTRAST * contrast) | (size < _LEAST_SIDE)
        likeness = np.where(dark, explained / (in_eye + in_skin) / total, 0) - _ASIDE_AT[areas.place]
        for radius in np.unique(areas.radius):
            of_radius = areas.radius == radius
            at = areas.place[of_radius]
            best[:, at] = np.maximum(best[:, at], likeness[:, of_radius])
    return best.reshape(-1, len(_ACROSS), len(_DOWN))


def cut_patch(
    image: Float[ndarray, "h w *c"], rotation: Float[ndarray, "2 2"], shift: Float[ndarray, "2"], size: tuple[int, int]
) -> Float[ndarray, "ph pw *c"]:
    """The patch of ``size`` (width, height) whose points are ``rotation`` @ (points of the image) + ``shift``."""
    matrix = np.c_[rotation, shift + rotation @ [0.5, 0.5] - 0.5]  # pixel centers are at +0.5
    patch: ndarray = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return patch


@dataclass(frozen=True)
class _Areas:
    """Parts of the surroundings of an eye, 1 inside."""

    eye: Float[ndarray, "h w"]
    """Between the lids."""
    skin: Float[ndarray, "h w"]
    """Around them."""
    discs: Float[ndarray, "n h w"]
    """What of a disc, which may be the iris, lies between the lids."""
    radius: Int[ndarray, "n"]
    """Its number."""
    place: Int[ndarray, "n"]
    """The number of its middle."""
    sides: list[Float[ndarray, "n h w"]]
    """The white to its left and right, and the skin above and below it."""


def _areas(outline: Float[ndarray, "6 2"], half: Int[ndarray, "2"]) -> _Areas:
    between = np.zeros((2 * half[1], 2 * half[0]), np.uint8)
    cv2.fillPoly(between, [(outline * 16 - 8).round().astype(np.int32)], 1, shift=4)
    around = cv2.dilate(between, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_SKIN, _SKIN))) - between
    y, x = np.mgrid[: 2 * half[1], : 2 * half[0]] + 0.5
    right, below = (places.ravel()[:, None, None] for places in np.meshgrid(_ACROSS, _DOWN, indexing="ij"))
    distance = np.hypot(x - half[0] - right * _WIDTH, y - half[1] - below * _WIDTH)
    discs = np.concatenate([(distance < radius * _WIDTH) & (between > 0) for radius in _RADII])
    radius, place = np.divmod(np.arange(len(discs)), len(distance))
    whole = np.repeat(np.pi * (np.array(_RADII) * _WIDTH) ** 2, len(distance))
    seen = discs.sum((1, 2))
    # little of a disc under the lids, and some white beside it
    usable = (seen > 0.4 * whole) & (seen < between.sum() - 10)
    discs, radius, place = discs[usable], radius[usable], place[usable]
    beside = x - half[0] - right[place] * _WIDTH
    white = (between > 0) & ~discs
    over_iris = (around > 0) & (np.abs(beside) < _WIDTH * np.array(_RADII)[radius][:, None, None])
    sides = (white & (beside < 0), white & (beside > 0), over_iris & (y < half[1]), over_iris & (y > half[1]))
    eye, skin, discs = (area.astype(np.float32) for area in (between, around, discs))
    return _Areas(eye, skin, discs, radius, place, [side.astype(np.float32) for side in sides])
