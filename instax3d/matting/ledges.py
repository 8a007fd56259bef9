"""Hair that reaches the photo's side and cannot be told from the ground there must not end in a ledge."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .masks import dilate, erode, polygon_mask, signed_distance, touching
from .seeds import FEW, above_chin
from .square import WorkingSquare

_UNCLEAR = 15.0
"""Step in L*a*b* across an outline below which it may be anywhere."""
_END = 0.3
"""How much of an outline that leaves the photo's side is looked at, and how much ground is taken from there, in half
widths of the face."""
_THICK, _FALLS_OFF = 0.2, 0.1
"""Likely thickness of hair beside the head, and what outweighs one unit of log-odds, in half widths of the face."""
_MOST = 3.0
"""Log-odds of colors count for so much at most."""
_OTHER = 30.0
"""What differs by so much in L*a*b* from both hair and ground is neither."""
_NOISE = 2.0
"""Standard deviation that colors of hair have at least, L*a*b*."""


def outline_steps(
    square: WorkingSquare, person: Bool[ndarray, "s s"], margin: int
) -> tuple[Int[ndarray, "n 2"], Float[ndarray, "n"]]:
    """The outline's pixels (x, y), and the L*a*b* step across each, NaN at the photo's edges."""
    size = square.crop.size
    contours, _ = cv2.findContours(person.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)[:, 0]
    inside = erode(square.valid, margin)
    inside[:8] = inside[:, :8] = inside[:, -8:] = False
    distance = cv2.GaussianBlur(signed_distance(person), (0, 0), 2)
    dy, dx = (slope[outline[:, 1], outline[:, 0]] for slope in np.gradient(distance))
    normal = np.stack([dx, dy], 1) / np.maximum(np.hypot(dx, dy), 1e-6)[:, None]
    lab = cv2.GaussianBlur(square.lab, (0, 0), 1)

    def at(points: ndarray) -> ndarray:
        x, y = np.clip(points.round().astype(int), 0, size - 1).T
        return np.asarray(lab[y, x])

    step = np.linalg.norm(at(outline + 4 * normal) - at(outline - 4 * normal), axis=1)
    return outline, np.where(inside[outline[:, 1], outline[:, 0]], step, np.nan)


def without_ledges(
    square: WorkingSquare, head: Bool[ndarray, "s s"], person: Bool[ndarray, "s s"]
) -> Bool[ndarray, "s s"]:
    """Where the person reaches the photo's side and ends there without contrast beside the face, hair is told anew: by
    how far it is from the head, and by its colors as far as they differ from those at the photo's side.

    Long hair ends lower than that, and what begins at the side is a hand or a shoulder.
    """
    marks = square.landmarks
    half = square.half_width
    columns = np.flatnonzero(square.valid.any(0))
    upper = above_chin(square)
    outline, step = outline_steps(square, person, 2)
    free = ~np.isnan(step) & ~dilate(head, 4)[outline[:, 1], outline[:, 0]]
    x = np.arange(len(head))
    result = person
    for side in (columns[2], columns[-3]):
        ends = np.flatnonzero(person[:-1, side] & ~person[1:, side])
        ends = ends[upper[ends, side] & (ends < marks[30, 1])]
        near = [free & (np.hypot(*(outline - [side, end]).T) < _END * half) for end in ends]
        if any(part.any() and np.median(step[part]) < _UNCLEAR for part in near):
            beyond = upper & (np.abs(x - side) < np.abs(x - marks[27, 0]))
            result = _modest(square, head, result, beyond, upper & person & (np.abs(x - side) < 0.5 * _END * half))
    return result


def _modest(
    square: WorkingSquare,
    head: Bool[ndarray, "s s"],
    person: Bool[ndarray, "s s"],
    place: Bool[ndarray, "s s"],
    ground: Bool[ndarray, "s s"],
) -> Bool[ndarray, "s s"]:
    """The person, in a ``place`` beside the head told anew."""
    marks = square.landmarks
    half = square.half_width
    lab = cv2.GaussianBlur(square.lab, (0, 0), 0.03 * half)
    face = polygon_mask(marks, len(head))
    y = np.arange(len(head))[:, None]
    hair = head & square.valid & ~face & (y < marks[27, 1])
    odds = np.zeros(head.shape, np.float32)
    if min(hair.sum(), ground.sum()) > FEW:
        means = [np.median(lab[kind], 0) for kind in (hair, ground)]
        spread = np.cov(lab[ground].T) + _NOISE**2 * np.eye(3)
        weights = np.linalg.solve(spread, means[0] - means[1])
        odds = ((lab - np.mean(means, 0)) @ weights).clip(-_MOST, _MOST)
        place &= np.min([np.linalg.norm(lab - mean, axis=2) for mean in means], 0) < _OTHER
    # it ends at the ears: what is dark beside the jaw may as well be shadow
    share = np.clip((marks[30, 1] - y) / (marks[30, 1] - marks[27, 1]), 0, 1)
    odds = share * (odds + _THICK / _FALLS_OFF) + signed_distance(head | face) / (_FALLS_OFF * half)
    likely = cv2.GaussianBlur(odds.astype(np.float32), (0, 0), 0.05 * half) > 0
    result = np.where(place & (y < marks[30, 1]), likely, person)
    return touching(result, result & head)
