"""Where an image shows eyes, for landmarks that glasses have led astray, and how much they look like eyes."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from instax3d.geometry.landmarks68 import BROWS, EYES

MIN_OPENING, WIDE_OPENING = 0.17, 0.22
"""Height over width of an eye whose iris is just visible, and of one in which it shows well."""
MAX_SHIFT = 0.5
"""Eye widths up or down within which eyes are sought from their landmarks."""

_WIDTH = 32
"""Pixels between an eye's corners in the patch that is searched."""
_MARGIN = 10
"""Pixels beside the corners, and above and below the lids: room for the skin around them."""
_SKIN = 9
"""Kernel that makes the ring of skin around the lids, pixels: twice the ring's width plus one."""
_RADII = (0.17, 0.2, 0.23)
"""Tried for an iris, in eye widths."""
_OPENINGS = (1.0, 1.4)
"""Heights of the lids tried, relative to the landmarks', which are often too close when misplaced."""
_ACROSS, _DOWN = np.arange(-5, 6) * 0.052, np.arange(-3, 2) * 0.05
"""Offsets of an iris tried from the middle of its eye's corners, in eye widths."""
_SIDE_CONTRAST = 0.15
"""Least contrast of an iris to each side, relative to that of iris and white: lashes and folds are dark, too."""
_MIN_SIDE = 8
"""Pixels that a side needs for this test; fewer of the white remain where the iris is in the corner."""
_NOISE = 3e-4
"""Variance of intensities that is taken for noise."""
_OFFSET_PENALTY = 0.5 * np.repeat(_ACROSS, len(_DOWN)) ** 2
"""Likeness that an eye loses by its iris's offset across."""
_SHIFT_SIGMA = 0.2
"""Standard deviation of misplaced landmarks from their eyes, in eye widths ..."""
_SHIFT_PENALTY = 0.05
"""... and twice the likeness that is taken off at that distance."""
_BETTER, _MUCH_BETTER = 0.05, 0.1
"""Landmarks move only where the likeness elsewhere is higher: by the first they begin to, by the second they move
fully, ..."""
_LIKELY, _LIKE_EYES = 0.25, 0.32
"""... and only to what looks like eyes, which the rims of dark lenses do less; from the first in part, from the second
fully."""


@dataclass(frozen=True, eq=False)
class EyeLikeness:
    """How much an image looks like two eyes that look the same way: the share of the variance around the lids that is
    explained by a dark disc, the white around it and the skin around that.
    """

    score: Float[ndarray, "shifts"]
    """By shift of the eyes; mean of both, at most 1."""
    irises: Float[ndarray, "shifts 2 2"]
    """Approximate irises at each shift (the subject's right and left), pixels."""
    shifts: Float[ndarray, "shifts 2"]
    """From the landmarks, pixels."""
    down: Float[ndarray, "shifts"]
    """The same, in eye widths downwards."""


def openness(lids: Float[ndarray, "6 2"]) -> float:
    """From 0 for an eye that is closed, or too small to measure, to 1 for one whose iris shows well.

    ``lids``: the six landmarks of an eye, pixels.
    """
    width = float(np.linalg.norm(lids[3] - lids[0]))
    height = float(np.linalg.norm((lids[1] + lids[2]) - (lids[4] + lids[5]))) / 2
    if width < 4:
        return 0.0
    return float(np.clip((height / width - MIN_OPENING) / (WIDE_OPENING - MIN_OPENING), 0, 1))


def refine_eye_landmarks(image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"]) -> Float[Tensor, "68 2"]:
    """The landmarks, with those of eyes and brows moved up or down to where the image shows eyes.

    Detectors mistake the rims of glasses for lids and brows. Nothing is moved sideways: there an eye beside its
    landmarks cannot be told from one that looks aside. Closed eyes stay, and so do landmarks that are about right.
    """
    opened = min(openness(landmarks[range_].double().numpy()) for range_ in EYES.values())
    if opened == 0:
        return landmarks
    likeness = eye_likeness(image, landmarks, MAX_SHIFT)
    score = likeness.score - _SHIFT_PENALTY * (likeness.down / _SHIFT_SIGMA) ** 2 / 2
    best, unmoved = int(score.argmax()), len(score) // 2
    better = np.clip((score[best] - score[unmoved] - _BETTER) / (_MUCH_BETTER - _BETTER), 0, 1)
    like_eyes = np.clip((likeness.score[best] - _LIKELY) / (_LIKE_EYES - _LIKELY), 0, 1)
    share = opened * float(better * like_eyes)
    moved = landmarks.clone()
    for range_ in (BROWS, *EYES.values()):
        moved[range_] += torch.from_numpy(share * likeness.shifts[best]).float()
    return moved


def eye_likeness(image: Float[Tensor, "3 h w"], landmarks: Float[Tensor, "68 2"], reach: float) -> EyeLikeness:
    """How much an sRGB image looks like eyes, ``reach`` eye widths up and down from their landmarks."""
    points = landmarks.double().numpy()
    eyes = [points[range_] for range_ in EYES.values()]
    width = float(np.mean([np.linalg.norm(lids[3] - lids[0]) for lids in eyes]))
    level = eyes[1].mean(0) - eyes[0].mean(0)
    level /= np.linalg.norm(level)
    # to a patch in which the eyes lie level
    rotation = np.array([level, [-level[1], level[0]]]) * (_WIDTH / width)
    steps = round(reach * _WIDTH)
    # channels in which iris and white, and white and skin differ
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
    return EyeLikeness(both.max(1), middles + (shifts + aside)[:, None], shifts, down)


def _likeness_of_one(
    image: Float[ndarray, "h w c"], lids: Float[ndarray, "6 2"], rotation: Float[ndarray, "2 2"], steps: int
) -> Float[ndarray, "shifts across down"]:
    """Of one eye, by its shift and its iris's offset; the highest over radii and openings.

    Args:
        rotation: from the image to a patch in which the eye is level and `_WIDTH` pixels wide.
        steps: pixels of the patch up and down.
    """
    half = np.array([_WIDTH / 2 + _MARGIN, _WIDTH / 4 + _MARGIN]).astype(int)
    middle = half + np.array([0, steps])
    shift = middle - rotation @ ((lids[0] + lids[3]) / 2)
    size = (int(2 * middle[0]), int(2 * middle[1]))
    patch = cut_patch(image, rotation, shift, size)
    patch = patch.reshape(size[1], size[0], -1).transpose(2, 0, 1)
    windows = sliding_window_view(np.concatenate([patch, patch**2]), 2 * half[1], axis=1)
    windows = windows.transpose(0, 1, 3, 2).reshape(2 * len(patch), 2 * steps + 1, -1)
    channels = len(patch)
    best = np.zeros((2 * steps + 1, _OFFSET_PENALTY.size), np.float32)
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
            dark &= (of_side - of_disc[0] > _SIDE_CONTRAST * contrast) | (size < _MIN_SIDE)
        likeness = np.where(dark, explained / (in_eye + in_skin) / total, 0) - _OFFSET_PENALTY[areas.place]
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


@dataclass(frozen=True, eq=False)
class _Areas:
    """Masks of an eye and its surroundings, 1 inside, for each iris tried."""

    eye: Float[ndarray, "h w"]
    """Between the lids."""
    skin: Float[ndarray, "h w"]
    """Around them."""
    discs: Float[ndarray, "n h w"]
    """The part of an iris's disc that lies between the lids."""
    radius: Int[ndarray, "n"]
    """Index of its radius in `_RADII`."""
    place: Int[ndarray, "n"]
    """Index of its offset."""
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
    visible = discs.sum((1, 2))
    # little of a disc under the lids, and some white beside it
    usable = (visible > 0.4 * whole) & (visible < between.sum() - 10)
    discs, radius, place = discs[usable], radius[usable], place[usable]
    beside = x - half[0] - right[place] * _WIDTH
    white = (between > 0) & ~discs
    over_iris = (around > 0) & (np.abs(beside) < _WIDTH * np.array(_RADII)[radius][:, None, None])
    sides = (white & (beside < 0), white & (beside > 0), over_iris & (y < half[1]), over_iris & (y > half[1]))
    eye, skin, discs = (area.astype(np.float32) for area in (between, around, discs))
    return _Areas(eye, skin, discs, radius, place, [side.astype(np.float32) for side in sides])
