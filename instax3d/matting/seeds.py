"""What surely and what probably belongs to the person: where GrabCut starts from."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from instax3d.inputs.faces import EYES

from .clusters import k_means
from .masks import dilate, erode, over_landmarks, polygon_mask, touching
from .square import WorkingSquare

HAIR_ELLIPSES = (1.0, 1.2, 1.7)
"""Half widths of the hair ellipses that are tried, in half face widths: none, close-cropped and voluminous hair,
rising."""
FEW = 300
"""Pixels of a kind that tell nothing."""
BACKGROUND, FOREGROUND = cv2.GC_BGD, cv2.GC_FGD
PROBABLY_BACKGROUND, PROBABLY_FOREGROUND = cv2.GC_PR_BGD, cv2.GC_PR_FGD
_WHITE = 0.955
"""A studio background is at least this bright in every channel."""
_PLAIN = 1.2
"""A ground is plain if three quarters of what is known of it are so near in L*a*b* to a smooth change of color."""
_SHARE_OFF, _OFF = 0.3, (0.6, 3.0)
"""What differs from a plain ground beyond noise by this share of what hair does, within bounds, is the person."""
_COLORS, _ALIKE, _FARTHER = 8, 16.0, 1.4
"""What has one of so many colors of the ground above, within so much in L*a*b*, and so many times farther from
those of the person, is more likely ground beside the shoulders: they may lean."""
_DIM = 25.0
"""Lightness below which colors are too alike for that."""
_UNLIKE, _RAISED = 30.0, 0.4
"""What differs by so much in L*a*b* from all colors above and hangs together down to the photo's lower edge is more
likely body, from so far above the chin (half face widths) on: shoulders may be raised, a chin lowered."""
_GRAIN = 2.0
"""Standard deviation, pixels, of the blur against noise in dark colors."""
_WITHIN = 0.15
"""So far within the fitted head, in half widths of the face, there is no ground."""


@dataclass(frozen=True)
class ByColors:
    """What colors tell about the surroundings of head, neck and shoulders, whatever the hair is like."""

    ground: Bool[ndarray, "s s"]
    """Like the ground above, and less like the person..."""
    body: Bool[ndarray, "s s"]
    """...or like nothing above: clothes."""
    side: Bool[ndarray, "s s"]
    """At the photo's side, beside the face, unlike its skin and hair."""


def above_chin(square: WorkingSquare) -> Bool[ndarray, "s s"]:
    """The photo's rows above the chin."""
    return np.asarray(square.valid & (np.arange(square.crop.size)[:, None] < square.landmarks[8, 1]))


def upper_edge(square: WorkingSquare) -> Bool[ndarray, "s s"]:
    """The rim of the photo above the chin."""
    y, x = np.mgrid[: square.crop.size, : square.crop.size]
    rows, columns = np.nonzero(square.valid)
    rim = (x < columns.min() + 6) | (x > columns.max() - 6) | (y < rows.min() + 5)
    return np.asarray(rim & above_chin(square))


def white_seeds(square: WorkingSquare) -> UInt8[ndarray, "s s"]:
    """Before plain white all that is not white is the person."""
    background = _white_ground(square)
    seeds = np.full(background.shape, FOREGROUND, np.uint8)
    seeds[dilate(background, 3)] = PROBABLY_FOREGROUND
    seeds[background | ~square.valid] = BACKGROUND
    return seeds


def _white_ground(square: WorkingSquare) -> Bool[ndarray, "s s"]:
    """White that hangs together with the rim of the photo above the chin."""
    white = square.rgb.min(2) > _WHITE
    ground = touching(white, upper_edge(square))
    return np.asarray(ground & ~erode(polygon_mask(square.landmarks, square.crop.size), 2))


def plain_seeds(
    square: WorkingSquare, least: UInt8[ndarray, "s s"], most: UInt8[ndarray, "s s"], told: ByColors
) -> UInt8[ndarray, "s s"] | None:
    """Before a plain ground whose color changes smoothly at most, all above the chin that differs from it is the
    person; None where the ground is not known to be plain. ``least`` and ``most`` are seeds from places, by hair.
    """
    known = (most == BACKGROUND) & above_chin(square)
    if known.sum() < FEW:
        return None
    size = len(most)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    powers = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 2).astype(np.float32)
    lab = square.lab
    fit = np.linalg.lstsq(powers[known], lab[known], rcond=None)[0]
    grain = np.linalg.norm(lab[known] - powers[known] @ fit, axis=1)
    if np.percentile(grain, 75) > _PLAIN:
        return None
    off = np.linalg.norm(lab - powers @ fit, axis=2)
    hair = (most == FOREGROUND) & square.valid & (np.arange(size)[:, None] < square.landmarks[17:27, 1].min())
    nearest = float(np.percentile(off[hair], 10)) if hair.sum() > FEW else 0.0
    limit = np.clip(_SHARE_OFF * nearest, *_OFF) + 3 * np.median(grain)
    like = (cv2.GaussianBlur(off, (0, 0), 1) < limit) & square.valid
    ground = dilate(touching(erode(like, 2), known), 2) & like & (most != FOREGROUND)
    seeds = with_colors(least, told)
    rest = above_chin(square) & ~ground
    seeds[rest] = np.where(dilate(ground, 3)[rest], PROBABLY_FOREGROUND, FOREGROUND)
    seeds[ground] = BACKGROUND
    return seeds


def with_colors(places: UInt8[ndarray, "s s"], told: ByColors) -> UInt8[ndarray, "s s"]:
    """Seeds from places, and from the colors beside the neck."""
    seeds = places.copy()
    seeds[(seeds == PROBABLY_FOREGROUND) & told.ground] = PROBABLY_BACKGROUND
    seeds[(seeds == PROBABLY_BACKGROUND) & told.body] = PROBABLY_FOREGROUND
    seeds[(seeds != FOREGROUND) & told.side] = BACKGROUND
    return seeds


def from_places(square: WorkingSquare, head: Bool[ndarray, "s s"], ellipse: float) -> UInt8[ndarray, "s s"]:
    """Seeds from the head's place and a guess of the hair's size, one of `HAIR_ELLIPSES`."""
    marks, size = square.landmarks, square.crop.size
    y, x = np.mgrid[:size, :size]
    rows, columns = np.nonzero(head)
    top, chin = float(rows.min()), float(marks[8, 1])
    half = square.half_width
    below = y - chin

    seeds = np.full((size, size), PROBABLY_BACKGROUND, np.uint8)
    hair = ((x - columns.mean()) / (half * ellipse)) ** 2 + (
        (y - (top + chin) / 2) / ((chin - top) * (0.52 + 0.12 * ellipse))
    ) ** 2 < 1
    seeds[hair] = PROBABLY_FOREGROUND
    seeds[(below > 0.35 * half) & _shoulders(square)] = PROBABLY_FOREGROUND

    core = erode(head, 7)
    seeds[core & (below < 0)] = FOREGROUND
    seeds[erode(polygon_mask(marks, size), 3)] = FOREGROUND
    from_neck = np.abs(x - (marks[8, 0] + columns.mean()) / 2)  # a turned head's neck lies behind its chin
    seeds[(below > 0) & (below < 1.2 * half) & (from_neck < 0.4 * half)] = FOREGROUND
    wedge = np.minimum(0.6 * half + 1.2 * (below - 0.6 * half), 1.5 * half)
    seeds[(below > 0.6 * half) & (from_neck < wedge)] = FOREGROUND

    # the rim of the photo is background, unless hair may reach it: at the top where the photo cuts the head itself
    beside = np.abs(x - marks[27, 0])
    highest = np.flatnonzero(square.valid.any(1))[0]
    uncut = (top > highest + 8) & (y < highest + 5)
    clear = uncut | ~hair & ((beside > 2.0 * half) | (y < top - 0.4 * half))
    seeds[upper_edge(square) & clear] = BACKGROUND
    far = (y < top - 0.9 * half) | ((beside > 2.6 * half) & (below < 0))
    seeds[far & ~core] = BACKGROUND
    seeds[_white_ground(square)] = BACKGROUND
    seeds[~square.valid] = BACKGROUND
    return seeds


def _shoulders(square: WorkingSquare) -> Bool[ndarray, "s s"]:
    """So wide may the body be, at any height."""
    marks = square.landmarks
    y, x = np.mgrid[: square.crop.size, : square.crop.size]
    half = square.half_width
    widening = np.maximum(0, y - marks[8, 1] - 0.3 * half)
    return np.asarray(np.abs(x - marks[27, 0]) < np.minimum(1.5 * half + 1.6 * widening, 3.0 * half))


def by_colors(square: WorkingSquare, head: Bool[ndarray, "s s"], most: UInt8[ndarray, "s s"]) -> ByColors:
    """Compare the surroundings' colors with those of what is known, by a few that stand for them.

    ``most`` are seeds from places, for the most hair.
    """
    lab, marks = square.lab, square.landmarks
    known, person = ((most == kind) & square.valid for kind in (BACKGROUND, FOREGROUND))
    half = square.half_width
    y = np.arange(len(head))[:, None]
    below = y - marks[8, 1]
    place = square.valid & ~person & _shoulders(square) & (below > -_RAISED * half)
    ground, body = np.zeros_like(head), np.zeros_like(head)
    if min(known.sum(), person.sum()) > FEW:
        from_ground, from_person = (_from_colors(lab[kind], lab[place]) for kind in (known, person))
        ground[place] = (from_ground < _ALIKE) & (_FARTHER * from_ground < from_person) & (lab[place][:, 0] > _DIM)
        ground &= below > 0

    above = above_chin(square) & (below < -_RAISED * half) & ~dilate(head | polygon_mask(marks, len(head)), 4)
    if above.sum() > FEW:
        body[place] = _from_colors(lab[above], lab[place]) > _UNLIKE
        last = np.flatnonzero(square.valid.any(1))[-1]
        body = touching(body, body & (y > last - 4))

    side = upper_edge(square) & (y < marks[30, 1]) & (y > marks[17:27, 1].min()) & ~person
    upper = erode(head, round(_WITHIN * half)) & square.valid & (y < marks[30, 1])
    upper &= ~over_landmarks(marks, EYES.values(), len(head), 4)
    if upper.sum() > FEW:
        smooth = cv2.GaussianBlur(lab, (0, 0), _GRAIN)
        side[side] = _from_colors(smooth[upper], smooth[side]) > _ALIKE
    return ByColors(ground, body, side)


def _from_colors(known: Float[ndarray, "n 3"], colors: Float[ndarray, "m 3"]) -> Float[ndarray, "m"]:
    """Distance in L*a*b* of colors to the nearest of a few that stand for the known ones."""
    centers, _ = k_means(known[:: max(1, len(known) // 2000)], _COLORS, rounds=10, change=1.0, attempts=1)
    # |a - b|^2 = |a|^2 - 2 a b + |b|^2
    squared = (colors**2).sum(1) + np.min((centers**2).sum(1)[:, None] - 2 * centers @ colors.T, axis=0)
    return np.asarray(np.sqrt(np.maximum(squared, 0)))
