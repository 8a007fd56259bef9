"""Cutting the person out: GrabCut seeded by the fitted head, refined to a soft matte in closed form.

GrabCut: Rother et al., SIGGRAPH 2004. Guided filter: He et al., PAMI 2013, eq. 14-16 (color guide).
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from .closed_form import matte
from .ledges import outline_steps, without_ledges
from .masks import dilate, erode, opened, polygon_mask
from .seeds import (
    BACKGROUND,
    FEW,
    FOREGROUND,
    HAIR_ELLIPSES,
    PROBABLY_BACKGROUND,
    PROBABLY_FOREGROUND,
    above_chin,
    by_colors,
    from_places,
    plain_seeds,
    upper_edge,
    white_seeds,
    with_colors,
)
from .square import WorkingSquare

_LAB_LEVELS = np.array([[2.0, 2.5, 2.5], [0, 128, 128]], np.float32)
"""Levels per unit of L*, a* and b*, and at zero, in what GrabCut gets: hue parts dark hair from a dark ground."""
_STEP_AT_RIM = 20.0
"""What counts as the outline's contrast where the photo's edge cuts the person."""
_NOT_HAIR, _GREENER, _REDDER, _TINT_COUNTS = 25.0, 0.1, 1.0, 2
"""What differs from the skin by so much (sum over L*a*b*) above the brows is hair; ground beside it shows by being
greener than nearly all of it, or redder (but ears are, too), by so much in log(R/G); the power with which such a share
counts against a cut-out."""
_ABOUT = 0.98
"""Share of the best quality from which on another is as good."""
_FOREIGN_PIECE = 0.05
"""Share of such a tint from which on a piece beside the head is ground."""
_DARKEST = 0.008
"""Linear light below which tints are noise."""
_OUTWARDS, _INWARDS = 10, 5
"""Pixels about the outline in which the matte is soft: loose hair stands out further than skin shines through."""
_HELD = 0.02
"""Weight of the outline found by GrabCut where the colors tell nothing."""
_CERTAIN = 0.06
"""A matte this near to 0 or 1 is taken to be that."""


def cut_out(square: WorkingSquare, head: Bool[ndarray, "s s"]) -> Float[ndarray, "s s"]:
    """Soft matte of the person, 0 outside the photo.

    Transparency that came with the file is taken as it is. ``head`` is the outline of the roughly fitted head.
    """
    if square.alpha is not None:
        return np.asarray(square.alpha * square.valid)
    if _on_white(square):
        return _soften(square, _segment(square, white_seeds(square)))
    places = [from_places(square, head, ellipse) for ellipse in HAIR_ELLIPSES]
    told = by_colors(square, head, places[-1])
    if (seeds := plain_seeds(square, places[0], places[-1], told)) is not None:
        return _soften(square, _segment(square, seeds))
    foreign = foreign_tint(square, head)
    least, *others = (_segment(square, with_colors(seeds, told)) for seeds in places)
    candidates = [least, *(without_foreign(square, foreign, least, person) for person in others)]
    qualities = [_quality(square, head, foreign, person) for person in candidates]
    # of about equal ones the one with more hair: what it has more is not foreign
    good = [person for person, quality in zip(candidates, qualities, strict=True) if quality >= _ABOUT * max(qualities)]
    # below the chin they differ by chance
    person = np.where(above_chin(square), good[-1], np.logical_or.reduce(good))
    return _soften(square, without_ledges(square, head, person))


def _quality(
    square: WorkingSquare, head: Bool[ndarray, "s s"], foreign: Bool[ndarray, "s s"], person: Bool[ndarray, "s s"]
) -> float:
    """The better of two cut-outs has the sharper outline, holds the head (contrast alone would drop its hair) and
    little beside it that is ``foreign`` to its hair.
    """
    upper = above_chin(square)
    inside = head & upper
    held = float(person[inside].mean()) if inside.any() else 1.0
    beside = person & ~dilate(head, 3) & upper
    tinted = float(foreign[beside].mean()) if beside.sum() > FEW else 0.0
    return _outline_contrast(square, person) * held**10 * (1 - tinted) ** _TINT_COUNTS


def foreign_tint(square: WorkingSquare, head: Bool[ndarray, "s s"]) -> Bool[ndarray, "s s"]:
    """What is greener, or much redder, than nearly all of the hair over the scalp.

    Contrast does not part dark hair from a dark ground, but melanin takes more of the green light than of the red.
    Where hair is hidden or not there, the skin above the brows is what the ground is compared with.
    """
    marks = square.landmarks
    face = erode(polygon_mask(marks[17:], len(head)), 8)
    over_scalp = head & square.valid & (np.arange(len(head))[:, None] < marks[17:27, 1].min())
    if not face.any() or over_scalp.sum() < FEW:
        return np.zeros_like(head)
    light = np.where(square.rgb < 0.04045, square.rgb / 12.92, ((square.rgb + 0.055) / 1.055) ** 2.4)
    tint = cv2.GaussianBlur(np.log((light[..., 0] + _DARKEST) / (light[..., 1] + _DARKEST)), (0, 0), 1)
    lab = square.lab
    hair = over_scalp & (np.abs(lab - np.median(lab[face], 0)).sum(2) > _NOT_HAIR)
    known = tint[hair if hair.sum() > FEW else over_scalp]
    low, high = np.percentile(known, [5, 98])
    return np.asarray((tint < low - _GREENER) | (tint > high + _REDDER))


def without_foreign(
    square: WorkingSquare,
    foreign: Bool[ndarray, "s s"],
    least: Bool[ndarray, "s s"],
    person: Bool[ndarray, "s s"],
) -> Bool[ndarray, "s s"]:
    """A cut-out without the pieces above the chin by which it exceeds the ``least`` one and that are partly foreign."""
    more = person & ~least
    core = opened(more, 2)
    _, piece = cv2.connectedComponents(core.astype(np.uint8))
    upper = above_chin(square)
    area, above, tinted = (
        np.bincount(piece.ravel(), weights.ravel()) for weights in (core, core & upper, core & upper & foreign)
    )
    ground = (above > 0.5 * area) & (area > FEW) & (tinted > _FOREIGN_PIECE * above)
    return np.asarray(person & ~ground[piece])


def _on_white(square: WorkingSquare) -> bool:
    edge = square.rgb[upper_edge(square)]
    return len(edge) > 0 and float(np.median(edge.min(1))) > 0.93


def _segment(square: WorkingSquare, seeds: UInt8[ndarray, "s s"]) -> Bool[ndarray, "s s"]:
    """GrabCut at half resolution on the valid part: the piece that holds the nose."""
    rows, columns = np.nonzero(square.valid)
    part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    levels = square.lab[part] * _LAB_LEVELS[0] + _LAB_LEVELS[1]
    half = np.ascontiguousarray(seeds[part][::2, ::2])
    # GrabCut fails where one side has no seed: then the seeds are the answer
    if np.isin(half, (BACKGROUND, PROBABLY_BACKGROUND)).any():
        small = cv2.resize(levels.clip(0, 255).astype(np.uint8), half.shape[::-1], interpolation=cv2.INTER_AREA)
        cv2.setRNGSeed(0)
        cv2.grabCut(small, half, None, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    person = np.isin(half, (FOREGROUND, PROBABLY_FOREGROUND)).astype(np.float32)
    full = np.zeros(seeds.shape, np.uint8)
    full[part] = cv2.GaussianBlur(cv2.resize(person, levels.shape[1::-1]), (0, 0), 2) > 0.5
    return np.asarray(_one_piece(full, square) & square.valid)


def _one_piece(person: UInt8[ndarray, "s s"], square: WorkingSquare) -> Bool[ndarray, "s s"]:
    """Drop specks, fill holes."""
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3)))
    person = cv2.morphologyEx(person, cv2.MORPH_CLOSE, np.ones((7, 7)))
    _, component = cv2.connectedComponents(person)
    nose = np.clip(square.landmarks[30].astype(int), 0, square.crop.size - 1)
    piece = component == component[nose[1], nose[0]]
    count, hole, stats, _ = cv2.connectedComponentsWithStats((~piece).astype(np.uint8))
    for k in range(1, count):
        left, top, width, _, area = stats[k]
        if area < 0.05 * piece.size and left > 0 and top > 0 and left + width < square.crop.size:
            piece |= hole == k
    return np.asarray(piece)


def _soften(square: WorkingSquare, person: Bool[ndarray, "s s"]) -> Float[ndarray, "s s"]:
    """The matte follows the picture's edges and hairs within a few pixels of the outline."""
    band = dilate(person, _OUTWARDS) & ~erode(person | ~square.valid, _INWARDS) & square.valid
    guess = person.astype(np.float32)
    guess = np.where(band, cv2.GaussianBlur(guess, (0, 0), 2), guess)
    alpha = matte(square.rgb, guess, band, _HELD)
    clear = np.clip((alpha - _CERTAIN) / (1 - 2 * _CERTAIN), 0, 1)
    return np.asarray(clear * square.valid, np.float32)


def guided_filter(
    guide: Float[ndarray, "h w 3"], values: Float[ndarray, "h w"], radius: int, epsilon: float
) -> Float[ndarray, "h w"]:
    """Smooth ``values`` along the edges of a color image (He et al. 2013)."""

    def mean(image: ndarray) -> ndarray:
        return np.asarray(cv2.blur(image, (2 * radius + 1, 2 * radius + 1)))

    center, average = mean(guide), mean(values)
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*guide.shape[:2], 9)
    spread = mean(products).reshape(*guide.shape[:2], 3, 3) - center[..., :, None] * center[..., None, :]
    along = mean(guide * values[..., None]) - center * average[..., None]
    slope = np.linalg.solve(spread + epsilon * np.eye(3, dtype=np.float32), along[..., None])[..., 0]
    level = average - (slope * center).sum(2)
    return np.asarray(((mean(slope) * guide).sum(2) + mean(level)).astype(np.float32))


def _outline_contrast(square: WorkingSquare, person: Bool[ndarray, "s s"]) -> float:
    """Mean L*a*b* step across the outline above the chin."""
    outline, step = outline_steps(square, person, 6)
    upper = outline[:, 1] < square.landmarks[8, 1]
    if upper.sum() <= 20:
        return 0.0
    at_rim = int(np.isnan(step[upper]).sum())
    within = step[upper & ~np.isnan(step)]
    return float((np.minimum(within, 40).sum() + _STEP_AT_RIM * at_rim) / (len(within) + at_rim))
