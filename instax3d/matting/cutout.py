"""The person's matte: GrabCut from a trimap of the fitted head, refined in closed form.

GrabCut: Rother et al., SIGGRAPH 2004. Guided filter: He et al., PAMI 2013, eq. 14-16 (color guide).
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from instax3d.geometry.landmarks68 import BROWS, CHIN, INNER, NOSE_TIP

from .closed_form import matte
from .head_crop import HeadCrop
from .masks import dilate, erode, opened, polygon_mask
from .trimap import (
    BACKGROUND,
    FOREGROUND,
    HAIR_ELLIPSES,
    MIN_PIXELS,
    PROBABLY_BACKGROUND,
    PROBABLY_FOREGROUND,
    above_chin,
    color_cues,
    shape_trimap,
    uniform_trimap,
    upper_edge,
    white_trimap,
    with_color_cues,
)
from .truncation import outline_steps, remove_truncation_edges

# Chosen by eye on the eight photos of docs/template_views.md and on the variants of docs/photo_variants.md.
_LAB_LEVELS = np.array([[2.0, 2.5, 2.5], [0, 128, 128]], np.float32)
"""Levels per unit of L*, a* and b*, and at zero, in GrabCut's input: hue separates dark hair from a dark background."""
_STUDIO_WHITE = 0.93
"""A background is white if half of its border is at least this bright in every channel."""
_STEP_AT_EDGE = 20.0
"""Assumed contrast of the outline where the photo's edge cuts the person."""
_NOT_SKIN, _GREENER, _REDDER, _TINT_POWER = 25.0, 0.1, 1.0, 2
"""What differs from the skin by this (sum over L*a*b*) above the brows is hair. Background beside it is greener than
nearly all of it, or redder (but ears are, too), by these in log(R/G). Such a share counts against a cut-out with this
power."""
_ABOUT = 0.98
"""Share of the best quality from which on another is as good."""
_TINTED_PIECE = 0.05
"""Share of such a tint from which on a piece beside the head is background."""
_DARKEST = 0.008
"""Linear light below which tints are noise."""
_OUTWARDS, _INWARDS = 10, 5
"""Pixels about the outline in which the matte is soft: loose hair stands out further than skin shines through."""
_GUESS_WEIGHT = 0.02
"""Weight of GrabCut's outline where the colors are ambiguous."""
_CERTAIN = 0.06
"""A matte this near to 0 or 1 is set to it."""


def cut_out(head_crop: HeadCrop, head: Bool[ndarray, "s s"]) -> Float[ndarray, "s s"]:
    """Soft matte of the person, in [0, 1], 0 outside the photo.

    Transparency that came with the file is used as it is.

    Args:
        head_crop: the photo around the head.
        head: the outline of the roughly fitted head.
    """
    if head_crop.alpha is not None:
        return np.asarray(head_crop.alpha * head_crop.valid)
    if _on_white(head_crop):
        return _soften(head_crop, _segment(head_crop, white_trimap(head_crop)))
    shapes = [shape_trimap(head_crop, head, ellipse) for ellipse in HAIR_ELLIPSES]
    cues = color_cues(head_crop, head, shapes[-1])
    if (trimap := uniform_trimap(head_crop, shapes[0], shapes[-1], cues)) is not None:
        return _soften(head_crop, _segment(head_crop, trimap))
    tinted = background_tint(head_crop, head)
    least_hair, *others = (_segment(head_crop, with_color_cues(shape, cues)) for shape in shapes)
    candidates = [least_hair, *(remove_tinted_pieces(head_crop, tinted, least_hair, person) for person in others)]
    qualities = [_quality(head_crop, head, tinted, person) for person in candidates]
    # of about equal ones the one with more hair: the surplus is not tinted like background
    good = [person for person, quality in zip(candidates, qualities, strict=True) if quality >= _ABOUT * max(qualities)]
    # below the chin they differ by chance
    person = np.where(above_chin(head_crop), good[-1], np.logical_or.reduce(good))
    return _soften(head_crop, remove_truncation_edges(head_crop, head, person))


def _quality(
    head_crop: HeadCrop, head: Bool[ndarray, "s s"], tinted: Bool[ndarray, "s s"], person: Bool[ndarray, "s s"]
) -> float:
    """The better of two cut-outs has the sharper outline, includes the head (contrast alone would drop its hair) and
    little beside it that is ``tinted`` like background.
    """
    upper = above_chin(head_crop)
    inside = head & upper
    included = float(person[inside].mean()) if inside.any() else 1.0
    beside = person & ~dilate(head, 3) & upper
    share = float(tinted[beside].mean()) if beside.sum() > MIN_PIXELS else 0.0
    return _outline_contrast(head_crop, person) * included**10 * (1 - share) ** _TINT_POWER


def background_tint(head_crop: HeadCrop, head: Bool[ndarray, "s s"]) -> Bool[ndarray, "s s"]:
    """What is greener, or much redder, than nearly all of the hair over the scalp.

    Contrast does not separate dark hair from a dark background, but melanin absorbs more green light than red. Where
    hair is hidden or absent, the background is compared with the skin above the brows.
    """
    landmarks = head_crop.landmarks
    face = erode(polygon_mask(landmarks[INNER], len(head)), 8)
    over_scalp = head & head_crop.valid & (np.arange(len(head))[:, None] < landmarks[BROWS, 1].min())
    if not face.any() or over_scalp.sum() < MIN_PIXELS:
        return np.zeros_like(head)
    light = np.where(head_crop.rgb < 0.04045, head_crop.rgb / 12.92, ((head_crop.rgb + 0.055) / 1.055) ** 2.4)
    tint = cv2.GaussianBlur(np.log((light[..., 0] + _DARKEST) / (light[..., 1] + _DARKEST)), (0, 0), 1)
    lab = head_crop.lab
    hair = over_scalp & (np.abs(lab - np.median(lab[face], 0)).sum(2) > _NOT_SKIN)
    known = tint[hair if hair.sum() > MIN_PIXELS else over_scalp]
    low, high = np.percentile(known, [5, 98])
    return np.asarray((tint < low - _GREENER) | (tint > high + _REDDER))


def remove_tinted_pieces(
    head_crop: HeadCrop,
    tinted: Bool[ndarray, "s s"],
    least_hair: Bool[ndarray, "s s"],
    person: Bool[ndarray, "s s"],
) -> Bool[ndarray, "s s"]:
    """A cut-out without the pieces above the chin by which it exceeds the one of the ``least_hair`` and that are partly
    ``tinted`` like background.
    """
    more = person & ~least_hair
    core = opened(more, 2)
    _, piece = cv2.connectedComponents(core.astype(np.uint8))
    upper = above_chin(head_crop)
    area, above, share = (
        np.bincount(piece.ravel(), weights.ravel()) for weights in (core, core & upper, core & upper & tinted)
    )
    background = (above > 0.5 * area) & (area > MIN_PIXELS) & (share > _TINTED_PIECE * above)
    return np.asarray(person & ~background[piece])


def _on_white(head_crop: HeadCrop) -> bool:
    edge = head_crop.rgb[upper_edge(head_crop)]
    return len(edge) > 0 and float(np.median(edge.min(1))) > _STUDIO_WHITE


def _segment(head_crop: HeadCrop, trimap: UInt8[ndarray, "s s"]) -> Bool[ndarray, "s s"]:
    """GrabCut at half resolution on the valid part: the piece that contains the nose."""
    rows, columns = np.nonzero(head_crop.valid)
    part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    levels = head_crop.lab[part] * _LAB_LEVELS[0] + _LAB_LEVELS[1]
    half_width = np.ascontiguousarray(trimap[part][::2, ::2])
    # GrabCut fails where the trimap has only one side: then it is the answer
    if np.isin(half_width, (BACKGROUND, PROBABLY_BACKGROUND)).any():
        small = cv2.resize(levels.clip(0, 255).astype(np.uint8), half_width.shape[::-1], interpolation=cv2.INTER_AREA)
        cv2.setRNGSeed(0)
        cv2.grabCut(small, half_width, None, np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    person = np.isin(half_width, (FOREGROUND, PROBABLY_FOREGROUND)).astype(np.float32)
    full = np.zeros(trimap.shape, np.uint8)
    full[part] = cv2.GaussianBlur(cv2.resize(person, levels.shape[1::-1]), (0, 0), 2) > 0.5
    return np.asarray(_one_piece(full, head_crop) & head_crop.valid)


def _one_piece(person: UInt8[ndarray, "s s"], head_crop: HeadCrop) -> Bool[ndarray, "s s"]:
    """Drop specks, fill holes."""
    person = cv2.morphologyEx(person, cv2.MORPH_OPEN, np.ones((3, 3)))
    person = cv2.morphologyEx(person, cv2.MORPH_CLOSE, np.ones((7, 7)))
    _, component = cv2.connectedComponents(person)
    nose = np.clip(head_crop.landmarks[NOSE_TIP].astype(int), 0, head_crop.crop.size - 1)
    piece = component == component[nose[1], nose[0]]
    count, hole, stats, _ = cv2.connectedComponentsWithStats((~piece).astype(np.uint8))
    for k in range(1, count):
        left, top, width, _, area = stats[k]
        if area < 0.05 * piece.size and left > 0 and top > 0 and left + width < head_crop.crop.size:
            piece |= hole == k
    return np.asarray(piece)


def _soften(head_crop: HeadCrop, person: Bool[ndarray, "s s"]) -> Float[ndarray, "s s"]:
    """The matte follows the image's edges and hairs within a few pixels of the outline."""
    band = dilate(person, _OUTWARDS) & ~erode(person | ~head_crop.valid, _INWARDS) & head_crop.valid
    guess = person.astype(np.float32)
    guess = np.where(band, cv2.GaussianBlur(guess, (0, 0), 2), guess)
    alpha = matte(head_crop.rgb, guess, band, _GUESS_WEIGHT)
    clear = np.clip((alpha - _CERTAIN) / (1 - 2 * _CERTAIN), 0, 1)
    return np.asarray(clear * head_crop.valid, np.float32)


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


def _outline_contrast(head_crop: HeadCrop, person: Bool[ndarray, "s s"]) -> float:
    """Mean L*a*b* step across the outline above the chin."""
    outline, step = outline_steps(head_crop, person, 6)
    upper = outline[:, 1] < head_crop.landmarks[CHIN, 1]
    if upper.sum() <= 20:
        return 0.0
    at_edge = int(np.isnan(step[upper]).sum())
    within = step[upper & ~np.isnan(step)]
    return float((np.minimum(within, 40).sum() + _STEP_AT_EDGE * at_edge) / (len(within) + at_edge))
