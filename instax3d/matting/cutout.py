"""Cutting the person out: GrabCut seeded by the fitted head, refined to a soft matte in closed form.

GrabCut: Rother et al., SIGGRAPH 2004. Guided filter: He et al., PAMI 2013, eq. 14-16 (colour guide).
"""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from .closed_form import matte
from .square import WorkingSquare

_HAIR_ELLIPSES = (1.0, 1.2, 1.7)
"""Half widths of the hair ellipses that are tried, in half face widths: none, close-cropped and voluminous hair."""
_WHITE = 0.955
"""A studio background is at least this bright in every channel."""
_LAB_LEVELS = np.array([[2.0, 2.5, 2.5], [0, 128, 128]], np.float32)
"""Levels per unit of L*, a* and b*, and at zero, in what GrabCut gets: hue parts dark hair from a dark ground."""
_STEP_AT_RIM = 20.0
"""What counts as the outline's contrast where the photo's edge cuts the person."""
_NOT_HAIR, _GREENER, _REDDER, _TINT_COUNTS = 25.0, 0.1, 1.0, 2
"""What differs from the skin by so much (sum over L*a*b*) above the brows is hair; ground beside it shows by being
greener than nearly all of it, or redder (but ears are, too), by so much in log(R/G); the power with which such a share
counts against a cut-out."""
_COLOURS, _ALIKE, _FARTHER = 8, 16.0, 1.4
"""What has one of so many colours of the ground above, within so much in L*a*b*, and so many times farther from
those of the person, is more likely ground beside the shoulders: they may lean."""
_DIM = 25.0
"""Lightness below which colours are too alike for that."""
_ABOUT = 0.98
"""Share of the best quality from which on another is as good."""
_FOREIGN_PIECE = 0.05
"""Share of such a tint from which on a piece beside the head is ground."""
_FEW = 300
"""Pixels of hair, or beside the head, that tell nothing."""
_DARKEST = 0.008
"""Linear light below which tints are noise."""
_OUTWARDS, _INWARDS = 10, 5
"""Pixels about the outline in which the matte is soft: loose hair stands out further than skin shines through."""
_HELD = 0.02
"""Weight of the outline found by GrabCut where the colours tell nothing."""
_CERTAIN = 0.06
"""A matte this near to 0 or 1 is taken to be that."""
_BACKGROUND, _FOREGROUND = cv2.GC_BGD, cv2.GC_FGD
_PROBABLY_BACKGROUND, _PROBABLY_FOREGROUND = cv2.GC_PR_BGD, cv2.GC_PR_FGD


def polygon_mask(points: Float[ndarray, "n 2"], size: int) -> Bool[ndarray, "s s"]:
    """The convex hull of image points, filled."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1)
    return mask > 0


def erode(mask: Bool[ndarray, "s s"], pixels: int) -> Bool[ndarray, "s s"]:
    """Shrink a mask by a number of pixels."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1))) > 0


def dilate(mask: Bool[ndarray, "s s"], pixels: int) -> Bool[ndarray, "s s"]:
    """Grow a mask by a number of pixels."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1))) > 0


def signed_distance(mask: Bool[ndarray, "h w"]) -> Float[ndarray, "h w"]:
    """Pixels to the outline, positive inside."""
    inside = mask.astype(np.uint8)
    distance: ndarray = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 5
    )
    return distance


def cut_out(square: WorkingSquare, head: Bool[ndarray, "s s"]) -> Float[ndarray, "s s"]:
    """Soft matte of the person, 0 outside the photo.

    Transparency that came with the file is taken as it is. ``head`` is the outline of the roughly fitted head.
    """
    if square.alpha is not None:
        return np.asarray(square.alpha * square.valid)
    if _on_white(square):
        return _soften(square, _segment(square, _white_seeds(square)))
    foreign = foreign_tint(square, head)
    least, *others = (_segment(square, seeds_of(square, head, ellipse)) for ellipse in _HAIR_ELLIPSES)
    candidates = [least, *(without_foreign(square, foreign, least, person) for person in others)]
    qualities = [_quality(square, head, foreign, person) for person in candidates]
    # of about equal ones the one with more hair: what it has more is not foreign
    best = max(k for k, quality in enumerate(qualities) if quality >= _ABOUT * max(qualities))
    return _soften(square, candidates[best])


def _quality(
    square: WorkingSquare, head: Bool[ndarray, "s s"], foreign: Bool[ndarray, "s s"], person: Bool[ndarray, "s s"]
) -> float:
    """The better of two cut-outs has the sharper outline, holds the head (contrast alone would drop its hair) and
    little beside it that is ``foreign`` to its hair.
    """
    above_chin = _above_chin(square)
    inside = head & above_chin
    held = float(person[inside].mean()) if inside.any() else 1.0
    beside = person & ~dilate(head, 3) & above_chin
    tinted = float(foreign[beside].mean()) if beside.sum() > _FEW else 0.0
    return _outline_contrast(square, person) * held**10 * (1 - tinted) ** _TINT_COUNTS


def _above_chin(square: WorkingSquare) -> Bool[ndarray, "s s"]:
    return np.asarray(square.valid & (np.arange(square.crop.size)[:, None] < square.landmarks[8, 1]))


def foreign_tint(square: WorkingSquare, head: Bool[ndarray, "s s"]) -> Bool[ndarray, "s s"]:
    """What is greener, or much redder, than nearly all of the hair over the scalp.

    Contrast does not part dark hair from a dark ground, but melanin takes more of the green light than of the red.
    Where hair is hidden or not there, the skin above the brows is what the ground is compared with.
    """
    marks = square.landmarks
    face = erode(polygon_mask(marks[17:], len(head)), 8)
    over_scalp = head & square.valid & (np.arange(len(head))[:, None] < marks[17:27, 1].min())
    if not face.any() or over_scalp.sum() < _FEW:
        return np.zeros_like(head)
    light = np.where(square.rgb < 0.04045, square.rgb / 12.92, ((square.rgb + 0.055) / 1.055) ** 2.4)
    tint = cv2.GaussianBlur(np.log((light[..., 0] + _DARKEST) / (light[..., 1] + _DARKEST)), (0, 0), 1)
    lab = square.lab
    hair = over_scalp & (np.abs(lab - np.median(lab[face], 0)).sum(2) > _NOT_HAIR)
    known = tint[hair if hair.sum() > _FEW else over_scalp]
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
    core = dilate(erode(more, 2), 2) & more
    _, piece = cv2.connectedComponents(core.astype(np.uint8))
    upper = _above_chin(square)
    area, above, tinted = (
        np.bincount(piece.ravel(), weights.ravel()) for weights in (core, core & upper, core & upper & foreign)
    )
    ground = (above > 0.5 * area) & (area > _FEW) & (tinted > _FOREIGN_PIECE * above)
    return np.asarray(person & ~ground[piece])


def _upper_edge(square: WorkingSquare) -> Bool[ndarray, "s s"]:
    """The rim of the photo above the chin."""
    y, x = np.mgrid[: square.crop.size, : square.crop.size]
    rows, columns = np.nonzero(square.valid)
    rim = (x < columns.min() + 6) | (x > columns.max() - 6) | (y < rows.min() + 5)
    return np.asarray(rim & (y < square.landmarks[8, 1]) & square.valid)


def _on_white(square: WorkingSquare) -> bool:
    edge = square.rgb[_upper_edge(square)]
    return len(edge) > 0 and float(np.median(edge.min(1))) > 0.93


def _white_ground(square: WorkingSquare) -> Bool[ndarray, "s s"]:
    """White that hangs together with the rim of the photo above the chin."""
    white = square.rgb.min(2) > _WHITE
    _, component = cv2.connectedComponents(white.astype(np.uint8))
    at_rim = np.unique(component[_upper_edge(square) & white])
    ground = np.isin(component, at_rim) & white
    return np.asarray(ground & ~erode(polygon_mask(square.landmarks, square.crop.size), 2))


def _white_seeds(square: WorkingSquare) -> UInt8[ndarray, "s s"]:
    """Before plain white all that is not white is the person."""
    background = _white_ground(square)
    seeds = np.full(background.shape, _FOREGROUND, np.uint8)
    seeds[dilate(background, 3)] = _PROBABLY_FOREGROUND
    seeds[background | ~square.valid] = _BACKGROUND
    return seeds


def seeds_of(square: WorkingSquare, head: Bool[ndarray, "s s"], ellipse: float) -> UInt8[ndarray, "s s"]:
    """What surely and what probably belongs to the person, from the head's place and a guess of the hair's size."""
    marks, size = square.landmarks, square.crop.size
    y, x = np.mgrid[:size, :size]
    rows, columns = np.nonzero(head)
    top, chin = float(rows.min()), float(marks[8, 1])
    half = float(np.ptp(marks[:, 0]) / 2)
    below = y - chin

    seeds = np.full((size, size), _PROBABLY_BACKGROUND, np.uint8)
    hair = ((x - columns.mean()) / (half * ellipse)) ** 2 + (
        (y - (top + chin) / 2) / ((chin - top) * (0.52 + 0.12 * ellipse))
    ) ** 2 < 1
    seeds[hair] = _PROBABLY_FOREGROUND
    shoulders = np.minimum(1.5 * half + 1.6 * np.maximum(0, below - 0.3 * half), 3.0 * half)
    seeds[(below > 0.35 * half) & (np.abs(x - marks[27, 0]) < shoulders)] = _PROBABLY_FOREGROUND

    core = erode(head, 7)
    seeds[core & (below < 0)] = _FOREGROUND
    seeds[erode(polygon_mask(marks, size), 3)] = _FOREGROUND
    from_neck = np.abs(x - (marks[8, 0] + columns.mean()) / 2)  # a turned head's neck lies behind its chin
    seeds[(below > 0) & (below < 1.2 * half) & (from_neck < 0.4 * half)] = _FOREGROUND
    wedge = np.minimum(0.6 * half + 1.2 * (below - 0.6 * half), 1.5 * half)
    seeds[(below > 0.6 * half) & (from_neck < wedge)] = _FOREGROUND

    # the rim of the photo is background, unless hair may reach it: at the top where the photo cuts the head itself
    beside = np.abs(x - marks[27, 0])
    highest = np.flatnonzero(square.valid.any(1))[0]
    uncut = (top > highest + 8) & (y < highest + 5)
    clear = uncut | ~hair & ((beside > 2.0 * half) | (y < top - 0.4 * half))
    seeds[_upper_edge(square) & clear] = _BACKGROUND
    far = (y < top - 0.9 * half) | ((beside > 2.6 * half) & (below < 0.5 * half))
    seeds[far & ~core] = _BACKGROUND
    seeds[_white_ground(square)] = _BACKGROUND
    seeds[~square.valid] = _BACKGROUND
    beside_body = (seeds == _PROBABLY_FOREGROUND) & (below > 0)
    sure = [(seeds == kind) & square.valid for kind in (_BACKGROUND, _FOREGROUND)]
    if all(kind.sum() > _FEW for kind in sure):
        lab = square.lab
        colours = lab[beside_body]
        from_ground, from_person = (_from_colours(lab[kind], colours) for kind in sure)
        alike = (from_ground < _ALIKE) & (_FARTHER * from_ground < from_person)
        alike &= colours[:, 0] > _DIM
        seeds[beside_body] = np.where(alike, _PROBABLY_BACKGROUND, _PROBABLY_FOREGROUND)
    return seeds


def _from_colours(known: Float[ndarray, "n 3"], colours: Float[ndarray, "m 3"]) -> Float[ndarray, "m"]:
    """Distance in L*a*b* of colours to the nearest of a few that stand for the known ones."""
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    known = known[:: max(1, len(known) // 2000)].astype(np.float32)
    centres = cv2.kmeans(known, _COLOURS, None, stop, 1, cv2.KMEANS_PP_CENTERS)[2]  # type: ignore[call-overload]
    # |a - b|^2 = |a|^2 - 2 a b + |b|^2
    squared = (colours**2).sum(1) + np.min((centres**2).sum(1)[:, None] - 2 * centres @ colours.T, axis=0)
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _segment(square: WorkingSquare, seeds: UInt8[ndarray, "s s"]) -> Bool[ndarray, "s s"]:
    """GrabCut at half resolution on the valid part: the piece that holds the nose."""
    rows, columns = np.nonzero(square.valid)
    part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    levels = square.lab[part] * _LAB_LEVELS[0] + _LAB_LEVELS[1]
    half = np.ascontiguousarray(seeds[part][::2, ::2])
    # GrabCut fails where one side has no seed: then the seeds are the answer
    if np.isin(half, (_BACKGROUND, _PROBABLY_BACKGROUND)).any():
        small = cv2.resize(levels.clip(0, 255).astype(np.uint8), half.shape[::-1], interpolation=cv2.INTER_AREA)
        cv2.setRNGSeed(0)
        cv2.grabCut(small, half, None, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    person = np.isin(half, (_FOREGROUND, _PROBABLY_FOREGROUND)).astype(np.float32)
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
    """Smooth ``values`` along the edges of a colour image (He et al. 2013)."""

    def mean(image: ndarray) -> ndarray:
        return np.asarray(cv2.blur(image, (2 * radius + 1, 2 * radius + 1)))

    centre, average = mean(guide), mean(values)
    products = (guide[..., :, None] * guide[..., None, :]).reshape(*guide.shape[:2], 9)
    spread = mean(products).reshape(*guide.shape[:2], 3, 3) - centre[..., :, None] * centre[..., None, :]
    along = mean(guide * values[..., None]) - centre * average[..., None]
    slope = np.linalg.solve(spread + epsilon * np.eye(3, dtype=np.float32), along[..., None])[..., 0]
    level = average - (slope * centre).sum(2)
    return np.asarray(((mean(slope) * guide).sum(2) + mean(level)).astype(np.float32))


def _outline_contrast(square: WorkingSquare, person: Bool[ndarray, "s s"]) -> float:
    """Mean L*a*b* step across the outline above the chin: the better of two cut-outs has the sharper outline."""
    size = square.crop.size
    contours, _ = cv2.findContours(person.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = np.concatenate(contours)[:, 0]
    inside = erode(square.valid, 6)
    inside[:8] = inside[:, :8] = inside[:, -8:] = False
    outline = outline[outline[:, 1] < square.landmarks[8, 1]]
    if len(outline) <= 20:
        return 0.0
    within = inside[outline[:, 1], outline[:, 0]]
    at_rim = int((~within).sum())
    outline = outline[within]
    distance = cv2.GaussianBlur(signed_distance(person), (0, 0), 2)
    dy, dx = (slope[outline[:, 1], outline[:, 0]] for slope in np.gradient(distance))
    normal = np.stack([dx, dy], 1) / np.maximum(np.hypot(dx, dy), 1e-6)[:, None]
    lab = cv2.GaussianBlur(square.lab, (0, 0), 1)

    def at(points: ndarray) -> ndarray:
        x, y = np.clip(points.round().astype(int), 0, size - 1).T
        return np.asarray(lab[y, x])

    step = np.linalg.norm(at(outline + 4 * normal) - at(outline - 4 * normal), axis=1)
    return float((np.minimum(step, 40).sum() + _STEP_AT_RIM * at_rim) / (len(step) + at_rim))
