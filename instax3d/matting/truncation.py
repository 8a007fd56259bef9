"""Hair truncated by the photo's side, hardly distinct from the background there, must not end in a straight edge."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from instax3d.geometry.landmarks68 import NOSE_BRIDGE, NOSE_TIP

from .head_crop import HeadCrop
from .masks import dilate, erode, polygon_mask, signed_distance, touching
from .trimap import MIN_PIXELS, above_chin

# Chosen by eye on the eight photos of docs/template_views.md.
_UNCLEAR = 15.0
"""Step in L*a*b* across an outline below which it may be anywhere."""
_END = 0.3
"""Length of an outline that is examined where it leaves the photo's side, and twice the width of the background that is
sampled there, in half face widths."""
_THICKNESS, _FALL_OFF = 0.2, 0.1
"""Likely thickness of hair beside the head, and the distance that outweighs one unit of log-odds, in half face
widths."""
_MAX_ODDS = 3.0
"""Limit of the colors' log-odds."""
_NEITHER = 30.0
"""What differs by this in L*a*b* from both hair and background is neither."""
_NOISE = 2.0
"""Least standard deviation of the background's colors, L*a*b*."""


def outline_steps(
    head_crop: HeadCrop, person: Bool[ndarray, "s s"], margin: int
) -> tuple[Int[ndarray, "n 2"], Float[ndarray, "n"]]:
    """Pixels (x, y) of the outline, and the L*a*b* step across each, NaN closer than ``margin`` to the photo's edge."""
    size = head_crop.crop.size
    contours, _ = cv2.findContours(person.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)[:, 0]
    inside = erode(head_crop.valid, margin)
    inside[:8] = inside[:, :8] = inside[:, -8:] = False
    distance = cv2.GaussianBlur(signed_distance(person), (0, 0), 2)
    dy, dx = (slope[outline[:, 1], outline[:, 0]] for slope in np.gradient(distance))
    normal = np.stack([dx, dy], 1) / np.maximum(np.hypot(dx, dy), 1e-6)[:, None]
    lab = cv2.GaussianBlur(head_crop.lab, (0, 0), 1)

    def at(points: ndarray) -> ndarray:
        x, y = np.clip(points.round().astype(int), 0, size - 1).T
        return np.asarray(lab[y, x])

    step = np.linalg.norm(at(outline + 4 * normal) - at(outline - 4 * normal), axis=1)
    return outline, np.where(inside[outline[:, 1], outline[:, 0]], step, np.nan)


def remove_truncation_edges(
    head_crop: HeadCrop, head: Bool[ndarray, "s s"], person: Bool[ndarray, "s s"]
) -> Bool[ndarray, "s s"]:
    """The person with hair relabeled where it reaches the photo's side beside the face and ends there without contrast:
    by its distance from the head, and by its colors as far as they differ from those at the photo's side.

    Long hair ends lower than that, and what begins at the side is a hand or a shoulder.
    """
    landmarks = head_crop.landmarks
    half_width = head_crop.face_half_width
    columns = np.flatnonzero(head_crop.valid.any(0))
    upper = above_chin(head_crop)
    outline, step = outline_steps(head_crop, person, 2)
    free = ~np.isnan(step) & ~dilate(head, 4)[outline[:, 1], outline[:, 0]]
    x = np.arange(len(head))
    result = person
    for side in (columns[2], columns[-3]):
        ends = np.flatnonzero(person[:-1, side] & ~person[1:, side])
        ends = ends[upper[ends, side] & (ends < landmarks[NOSE_TIP, 1])]
        near = [free & (np.hypot(*(outline - [side, end]).T) < _END * half_width) for end in ends]
        if any(part.any() and np.median(step[part]) < _UNCLEAR for part in near):
            nearer_side = upper & (np.abs(x - side) < np.abs(x - landmarks[NOSE_BRIDGE, 0]))
            at_side = upper & person & (np.abs(x - side) < 0.5 * _END * half_width)
            result = _relabel_beside_head(head_crop, head, result, nearer_side, at_side)
    return result


def _relabel_beside_head(
    head_crop: HeadCrop,
    head: Bool[ndarray, "s s"],
    person: Bool[ndarray, "s s"],
    region: Bool[ndarray, "s s"],
    background: Bool[ndarray, "s s"],
) -> Bool[ndarray, "s s"]:
    """The person, relabeled in a ``region`` beside the head; ``background`` samples the background's colors."""
    landmarks = head_crop.landmarks
    half_width = head_crop.face_half_width
    lab = cv2.GaussianBlur(head_crop.lab, (0, 0), 0.03 * half_width)
    face = polygon_mask(landmarks, len(head))
    y = np.arange(len(head))[:, None]
    hair = head & head_crop.valid & ~face & (y < landmarks[NOSE_BRIDGE, 1])
    odds = np.zeros(head.shape, np.float32)
    if min(hair.sum(), background.sum()) > MIN_PIXELS:
        means = [np.median(lab[kind], 0) for kind in (hair, background)]
        spread = np.cov(lab[background].T) + _NOISE**2 * np.eye(3)
        weights = np.linalg.solve(spread, means[0] - means[1])
        odds = ((lab - np.mean(means, 0)) @ weights).clip(-_MAX_ODDS, _MAX_ODDS)
        region &= np.min([np.linalg.norm(lab - mean, axis=2) for mean in means], 0) < _NEITHER
    # it ends at the ears: what is dark beside the jaw may as well be shadow
    share = np.clip((landmarks[NOSE_TIP, 1] - y) / (landmarks[NOSE_TIP, 1] - landmarks[NOSE_BRIDGE, 1]), 0, 1)
    odds = share * (odds + _THICKNESS / _FALL_OFF) + signed_distance(head | face) / (_FALL_OFF * half_width)
    likely = cv2.GaussianBlur(odds.astype(np.float32), (0, 0), 0.05 * half_width) > 0
    result = np.where(region & (y < landmarks[NOSE_TIP, 1]), likely, person)
    return touching(result, result & head)
