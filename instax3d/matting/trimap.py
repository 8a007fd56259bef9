"""Trimaps: what certainly and what probably belongs to the person and to the background; GrabCut starts from them."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from instax3d.geometry.landmarks68 import BROWS, CHIN, EYES, NOSE_BRIDGE, NOSE_TIP

from .clusters import k_means
from .head_crop import HeadCrop
from .masks import dilate, erode, over_landmarks, polygon_mask, touching

# All thresholds of this file were chosen by eye on the eight photos of docs/template_views.md and on the variants of
# docs/photo_variants.md. Distances between colors are those of L*a*b*.
HAIR_ELLIPSES = (1.0, 1.2, 1.7)
"""Half widths of the hair ellipses that are tried, in half face widths: none, close-cropped and voluminous hair;
ascending."""
MIN_PIXELS = 300
"""Fewer pixels of a kind are not evaluated."""
BACKGROUND, FOREGROUND = cv2.GC_BGD, cv2.GC_FGD
PROBABLY_BACKGROUND, PROBABLY_FOREGROUND = cv2.GC_PR_BGD, cv2.GC_PR_FGD
_WHITE = 0.955
"""A studio background is at least this bright in every channel."""
_UNIFORM = 1.2
"""A background is uniform if three quarters of its known pixels are this near to a smooth change of color."""
_SHARE_OFF, _OFF = 0.3, (0.6, 3.0)
"""Before a uniform background, what differs from it beyond noise by this share of the hair's difference, within bounds,
is the person."""
_COLORS, _SIMILAR, _FARTHER = 8, 16.0, 1.4
"""How many colors represent a region. Beside the shoulders, what is this near to one of the background above, and this
many times farther from those of the person, is more likely background: people may lean."""
_DIM = 25.0
"""Lightness below which colors are too similar for that."""
_DIFFERENT, _RAISED = 30.0, 0.4
"""What differs by this from all colors above and is connected to the photo's lower edge is more likely body, from this
far above the chin (half face widths) on: shoulders may be raised, a chin lowered."""
_NOISE_BLUR = 2.0
"""Standard deviation of the blur against noise in dark colors, pixels."""
_WITHIN = 0.15
"""From this far inside the fitted head (half face widths) there is no background."""


@dataclass(frozen=True, eq=False)
class ColorCues:
    """What colors say about the surroundings of head, neck and shoulders, whatever the hair is like."""

    background: Bool[ndarray, "s s"]
    """Like the background above, and less like the person..."""
    body: Bool[ndarray, "s s"]
    """...or like nothing above: clothes."""
    side: Bool[ndarray, "s s"]
    """At the photo's side, beside the face, unlike its skin and hair."""


def above_chin(head_crop: HeadCrop) -> Bool[ndarray, "s s"]:
    """The photo's rows above the chin."""
    return np.asarray(head_crop.valid & (np.arange(head_crop.crop.size)[:, None] < head_crop.landmarks[CHIN, 1]))


def upper_edge(head_crop: HeadCrop) -> Bool[ndarray, "s s"]:
    """The border of the photo above the chin."""
    y, x = np.mgrid[: head_crop.crop.size, : head_crop.crop.size]
    rows, columns = np.nonzero(head_crop.valid)
    border = (x < columns.min() + 6) | (x > columns.max() - 6) | (y < rows.min() + 5)
    return np.asarray(border & above_chin(head_crop))


def white_trimap(head_crop: HeadCrop) -> UInt8[ndarray, "s s"]:
    """Before plain white all that is not white is the person."""
    background = _white_background(head_crop)
    trimap = np.full(background.shape, FOREGROUND, np.uint8)
    trimap[dilate(background, 3)] = PROBABLY_FOREGROUND
    trimap[background | ~head_crop.valid] = BACKGROUND
    return trimap


def _white_background(head_crop: HeadCrop) -> Bool[ndarray, "s s"]:
    """White that is connected to the border of the photo above the chin."""
    white = head_crop.rgb.min(2) > _WHITE
    background = touching(white, upper_edge(head_crop))
    return np.asarray(background & ~erode(polygon_mask(head_crop.landmarks, head_crop.crop.size), 2))


def uniform_trimap(
    head_crop: HeadCrop, least_hair: UInt8[ndarray, "s s"], most_hair: UInt8[ndarray, "s s"], cues: ColorCues
) -> UInt8[ndarray, "s s"] | None:
    """Before a uniform background, whose color changes smoothly at most, all above the chin that differs from it is the
    person; None where the background is not known to be uniform.

    Args:
        head_crop: the photo around the head.
        least_hair: trimap of the shape, for the smallest of `HAIR_ELLIPSES`...
        most_hair: ...and for the largest.
        cues: what colors say.
    """
    known = (most_hair == BACKGROUND) & above_chin(head_crop)
    if known.sum() < MIN_PIXELS:
        return None
    size = len(most_hair)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    powers = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 2).astype(np.float32)
    lab = head_crop.lab
    fit = np.linalg.lstsq(powers[known], lab[known], rcond=None)[0]
    noise = np.linalg.norm(lab[known] - powers[known] @ fit, axis=1)
    if np.percentile(noise, 75) > _UNIFORM:
        return None
    off = np.linalg.norm(lab - powers @ fit, axis=2)
    above_brows = np.arange(size)[:, None] < head_crop.landmarks[BROWS, 1].min()
    hair = (most_hair == FOREGROUND) & head_crop.valid & above_brows
    nearest = float(np.percentile(off[hair], 10)) if hair.sum() > MIN_PIXELS else 0.0
    limit = np.clip(_SHARE_OFF * nearest, *_OFF) + 3 * np.median(noise)
    similar = (cv2.GaussianBlur(off, (0, 0), 1) < limit) & head_crop.valid
    background = dilate(touching(erode(similar, 2), known), 2) & similar & (most_hair != FOREGROUND)
    trimap = with_color_cues(least_hair, cues)
    rest = above_chin(head_crop) & ~background
    trimap[rest] = np.where(dilate(background, 3)[rest], PROBABLY_FOREGROUND, FOREGROUND)
    trimap[background] = BACKGROUND
    return trimap


def with_color_cues(shape: UInt8[ndarray, "s s"], cues: ColorCues) -> UInt8[ndarray, "s s"]:
    """A trimap of the shape, corrected by the colors beside the neck."""
    trimap = shape.copy()
    trimap[(trimap == PROBABLY_FOREGROUND) & cues.background] = PROBABLY_BACKGROUND
    trimap[(trimap == PROBABLY_BACKGROUND) & cues.body] = PROBABLY_FOREGROUND
    trimap[(trimap != FOREGROUND) & cues.side] = BACKGROUND
    return trimap


def shape_trimap(head_crop: HeadCrop, head: Bool[ndarray, "s s"], ellipse: float) -> UInt8[ndarray, "s s"]:
    """A trimap from the fitted head's outline and a guess of the hair's size, one of `HAIR_ELLIPSES`."""
    landmarks, size = head_crop.landmarks, head_crop.crop.size
    y, x = np.mgrid[:size, :size]
    rows, columns = np.nonzero(head)
    top, chin = float(rows.min()), float(landmarks[CHIN, 1])
    half_width = head_crop.face_half_width
    below = y - chin

    trimap = np.full((size, size), PROBABLY_BACKGROUND, np.uint8)
    hair = ((x - columns.mean()) / (half_width * ellipse)) ** 2 + (
        (y - (top + chin) / 2) / ((chin - top) * (0.52 + 0.12 * ellipse))
    ) ** 2 < 1
    trimap[hair] = PROBABLY_FOREGROUND
    trimap[(below > 0.35 * half_width) & _shoulders(head_crop)] = PROBABLY_FOREGROUND

    core = erode(head, 7)
    trimap[core & (below < 0)] = FOREGROUND
    trimap[erode(polygon_mask(landmarks, size), 3)] = FOREGROUND
    from_neck = np.abs(x - (landmarks[CHIN, 0] + columns.mean()) / 2)  # a turned head's neck lies behind its chin
    trimap[(below > 0) & (below < 1.2 * half_width) & (from_neck < 0.4 * half_width)] = FOREGROUND
    wedge = np.minimum(0.6 * half_width + 1.2 * (below - 0.6 * half_width), 1.5 * half_width)
    trimap[(below > 0.6 * half_width) & (from_neck < wedge)] = FOREGROUND

    # the border of the photo is background, unless hair may reach it: at the top where the photo cuts the head itself
    beside = np.abs(x - landmarks[NOSE_BRIDGE, 0])
    highest = np.flatnonzero(head_crop.valid.any(1))[0]
    uncut = (top > highest + 8) & (y < highest + 5)
    clear = uncut | ~hair & ((beside > 2.0 * half_width) | (y < top - 0.4 * half_width))
    trimap[upper_edge(head_crop) & clear] = BACKGROUND
    far = (y < top - 0.9 * half_width) | ((beside > 2.6 * half_width) & (below < 0))
    trimap[far & ~core] = BACKGROUND
    trimap[_white_background(head_crop)] = BACKGROUND
    trimap[~head_crop.valid] = BACKGROUND
    return trimap


def _shoulders(head_crop: HeadCrop) -> Bool[ndarray, "s s"]:
    """Where the body may be, by its largest width at each height."""
    landmarks = head_crop.landmarks
    y, x = np.mgrid[: head_crop.crop.size, : head_crop.crop.size]
    half_width = head_crop.face_half_width
    widening = np.maximum(0, y - landmarks[CHIN, 1] - 0.3 * half_width)
    reach = np.minimum(1.5 * half_width + 1.6 * widening, 3.0 * half_width)
    return np.asarray(np.abs(x - landmarks[NOSE_BRIDGE, 0]) < reach)


def color_cues(head_crop: HeadCrop, head: Bool[ndarray, "s s"], most_hair: UInt8[ndarray, "s s"]) -> ColorCues:
    """Compare the surroundings' colors with those of known regions, each represented by a few.

    Args:
        head_crop: the photo around the head.
        head: the fitted head's outline.
        most_hair: trimap of the shape, for the largest of `HAIR_ELLIPSES`.
    """
    lab, landmarks = head_crop.lab, head_crop.landmarks
    known, person = ((most_hair == kind) & head_crop.valid for kind in (BACKGROUND, FOREGROUND))
    half_width = head_crop.face_half_width
    y = np.arange(len(head))[:, None]
    below = y - landmarks[CHIN, 1]
    place = head_crop.valid & ~person & _shoulders(head_crop) & (below > -_RAISED * half_width)
    background, body = np.zeros_like(head), np.zeros_like(head)
    if min(known.sum(), person.sum()) > MIN_PIXELS:
        from_background, from_person = (_color_distance(lab[kind], lab[place]) for kind in (known, person))
        similar = (from_background < _SIMILAR) & (_FARTHER * from_background < from_person)
        background[place] = similar & (lab[place][:, 0] > _DIM)
        background &= below > 0

    around_head = dilate(head | polygon_mask(landmarks, len(head)), 4)
    above = above_chin(head_crop) & (below < -_RAISED * half_width) & ~around_head
    if above.sum() > MIN_PIXELS:
        body[place] = _color_distance(lab[above], lab[place]) > _DIFFERENT
        last = np.flatnonzero(head_crop.valid.any(1))[-1]
        body = touching(body, body & (y > last - 4))

    side = upper_edge(head_crop) & (y < landmarks[NOSE_TIP, 1]) & (y > landmarks[BROWS, 1].min()) & ~person
    upper = erode(head, round(_WITHIN * half_width)) & head_crop.valid & (y < landmarks[NOSE_TIP, 1])
    upper &= ~over_landmarks(landmarks, EYES.values(), len(head), 4)
    if upper.sum() > MIN_PIXELS:
        smooth = cv2.GaussianBlur(lab, (0, 0), _NOISE_BLUR)
        side[side] = _color_distance(smooth[upper], smooth[side]) > _SIMILAR
    return ColorCues(background, body, side)


def _color_distance(known: Float[ndarray, "n 3"], colors: Float[ndarray, "m 3"]) -> Float[ndarray, "m"]:
    """Distance in L*a*b* of colors to the nearest of a few that represent the known ones."""
    centers, _ = k_means(known[:: max(1, len(known) // 2000)], _COLORS, rounds=10, change=1.0, attempts=1)
    # |a - b|^2 = |a|^2 - 2 a b + |b|^2
    squared = (colors**2).sum(1) + np.min((centers**2).sum(1)[:, None] - 2 * centers @ colors.T, axis=0)
    return np.asarray(np.sqrt(np.maximum(squared, 0)))
