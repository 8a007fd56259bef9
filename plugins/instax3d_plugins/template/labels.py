"""Which part of the cut-out is skin, hair or clothing: Gaussian color models seeded by the fitted head."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from skimage.segmentation import watershed

from instax3d.matting.clusters import k_means
from instax3d.matting.cutout import guided_filter
from instax3d.matting.masks import dilate, erode, opened, over_landmarks, polygon_mask, touching
from instax3d.matting.square import WorkingSquare

from .covers import BROWS, LIDS, around_eyes, glasses, mostly_outside, strands

SKIN, HAIR, CLOTH = 1, 2, 3
_FEATURES = (slice(17, 27), *LIDS, slice(48, 60))
"""Landmark ranges of brows, eyes and mouth: not the color of skin."""
_FRAME = 8
"""Pixels: half as thick as a lock of hair before an eye is at least; what is thinner is taken for glasses or lashes."""
_FAR = 60.0
"""Largest cost of a label: beyond this, colors say nothing more."""
_UNKNOWN_CLOTH = 25.0
"""Cost of clothes whose color is not known from below."""
_WORN_BELOW = 0.3
"""Clothes reach at least this far below the chin, in half widths of the face."""
_DARKEST_SKIN, _GRAYEST_SKIN, _REDDEST_SKIN, _GREENEST_SKIN = 0.4, 0.35, 1.0, 0.45
"""Below the chin, skin has at least these shares of the face's lightness and chroma, and at most these tangents of the
angle between both hues: fingers, ears and flushed necks are redder than cheeks."""
_SKIN_LIKE = 12.0
"""Squared Mahalanobis distance to the complexion up to which a color is the face's own."""
_OVEREXPOSED = 0.96
"""A channel above this has lost its hue."""
_EDGE = 4.0
"""Steepness in L*a*b* per pixel that parts skin from cloth of nearly its color; light on skin changes smoothly."""
_BALD_SKIN_SHARE = 0.55
"""Above this share of skin color on the scalp a head counts as bald..."""
_BALD_AREA = 40e-4
"""...if also less than this area (square meters) of the cut-out lies beside the head."""

_BESIDE_JAW = 0.012
"""Skin this far outside the head beside nose, mouth and chin belongs to a hand or an arm, meters..."""
_HAND_AREA = 4e-4
"""...if it has this area, square meters."""


@dataclass(frozen=True)
class Labels:
    """The parts of the person."""

    part: UInt8[ndarray, "s s"]
    """SKIN, HAIR or CLOTH; 0 outside the person."""
    bald: bool
    occluded: Bool[ndarray, "s s"]
    """Where a hand or an arm hides the person: its pixels tell nothing about head and bust."""
    strands: Bool[ndarray, "s s"]
    """Hair that crosses bare skin..."""
    glasses: Bool[ndarray, "s s"]
    """...and what is worn before it: both are labeled SKIN, for that is what lies behind them."""

    def of(self, label: int) -> Bool[ndarray, "s s"]:
        """Where the part is ``label``."""
        return np.asarray(self.part == label)


class _ColorModel:
    """A few Gaussians over L*a*b* colors, robust against foreign pixels."""

    def __init__(self, colors: Float[ndarray, "n 3"], components: int) -> None:
        center = np.median(colors, 0)
        distance = np.abs(colors - center).sum(1)
        colors = colors[distance <= np.percentile(distance, 92)][:: max(1, len(colors) // 20000)]
        _, cluster = k_means(colors, components, rounds=20, change=0.5, attempts=2)
        self._gaussians = []
        for k in range(components):
            members = colors[cluster == k]
            if len(members) > 30:
                covariance = np.cov(members.T) + np.diag([20.0, 4.0, 4.0])
                self._gaussians.append((members.mean(0), np.linalg.inv(covariance).astype(np.float32)))

    def distance(self, lab: Float[ndarray, "s s 3"]) -> Float[ndarray, "s s"]:
        """Squared Mahalanobis distance to the nearest Gaussian."""
        nearest = np.full(lab.shape[:2], np.inf, np.float32)
        for mean, precision in self._gaussians:
            offset = (lab - mean).astype(np.float32)
            nearest = np.minimum(nearest, ((offset @ precision) * offset).sum(2))
        return nearest


def unlike_skin(lab: Float[ndarray, "h w 3"], skin: Float[ndarray, "n 3"]) -> Bool[ndarray, "h w"]:
    """Colors that this person's skin has in no light: much darker, grayer or of another hue.

    Where a surface gets k times the light, L* + 16, a* and b* become the cube root of k times as large.
    """
    usual = np.median(skin, 0)
    light = (lab[..., 0] + 16) / (usual[0] + 16)
    chroma = max(float(np.hypot(*usual[1:])), 4.0)
    relit = lab[..., 1:] / light[..., None] / chroma
    along = relit @ (usual[1:] / chroma)
    redder = relit @ (usual[[2, 1]] * [1, -1] / chroma)
    hue = (redder > _REDDEST_SKIN * along) | (-redder > _GREENEST_SKIN * along)
    return np.asarray((light < _DARKEST_SKIN) | (along < _GRAYEST_SKIN) | hue)


def _bare(
    square: WorkingSquare, possible: Bool[ndarray, "s s"], skin_like: Bool[ndarray, "s s"]
) -> Bool[ndarray, "s s"]:
    """Skin in whatever light: pieces without edges in them that may be skin and have mostly the face's own colors."""
    lab = cv2.GaussianBlur(square.lab, (0, 0), 1)
    steepness = np.sqrt(sum(slope**2 for k in range(3) for slope in np.gradient(lab[..., k])))
    inside = opened(possible & (steepness < _EDGE), 1)
    _, piece = cv2.connectedComponents(inside.astype(np.uint8))
    area, like = np.bincount(piece.ravel()), np.bincount(piece.ravel(), skin_like.ravel())
    return dilate(inside & (like > 0.5 * area)[piece], 2) & possible


def label_parts(
    square: WorkingSquare,
    alpha: Float[ndarray, "s s"],
    head: Bool[ndarray, "s s"],
    scalp: Bool[ndarray, "s s"],
    neck: Bool[ndarray, "s s"],
    meters_per_pixel: float,
) -> Labels:
    """Label the person. ``head``, ``scalp`` and ``neck`` are where the roughly fitted head shows.

    Each label gets a cost per pixel from its colors and its place; the costs are smoothed along the picture's edges
    (cost-volume filtering, Hosni et al., PAMI 2013) and the cheapest label wins.
    """
    lab, marks, size = square.lab, square.landmarks, square.crop.size
    y, x = np.mgrid[:size, :size]
    person = alpha > 0.5
    chin, half = float(marks[8, 1]), square.half_width
    below = (y - chin) / half
    # the hull without the sides of the jaw, which hair may cover
    face = polygon_mask(np.concatenate([marks[17:], marks[6:11]]), size)
    plain = erode(face, 4) & ~over_landmarks(marks, _FEATURES, size, 6)
    # glasses are no skin either
    eyes = around_eyes(marks, size)
    complexion = lab[plain & person & ~eyes]
    complexion = lab[plain & person & ~(eyes & unlike_skin(lab, complexion))]
    from_skin = _ColorModel(complexion, 2).distance(lab)
    no_skin = unlike_skin(lab, complexion)
    skin_like = from_skin < _SKIN_LIKE
    overexposed = square.rgb.max(2) > _OVEREXPOSED
    bare = _bare(square, person & (overexposed | ~no_skin) & (below > 0.1), skin_like)

    over_scalp = person & (y < marks[27, 1]) & ~face & (~head | scalp)
    # a bald head may shine
    bare_scalp = skin_like | ~no_skin & (lab[..., 0] > np.median(complexion[:, 0]))
    skin_share = float((bare_scalp & over_scalp).sum() / max(over_scalp.sum(), 1))
    beside = float((person & ~head & (y < marks[30, 1])).sum()) * meters_per_pixel**2
    bald = skin_share > _BALD_SKIN_SHARE and beside < _BALD_AREA
    around = person & ~dilate(head, 3) & (y < marks[30, 1]) & (not bald)
    seed = around & (from_skin > 5) | over_scalp & ~skin_like
    bald |= int(seed.sum()) < 200

    far = np.full(person.shape, _FAR, np.float32)
    from_hair = far if bald else _ColorModel(lab[seed], 3).distance(lab)
    clothes = person & (below > 0.15) & ~skin_like & (from_hair > 9) & ~bare
    clothes &= (below > 0.9) | opened(clothes & no_skin & (from_hair > 25), 2)
    surely = clothes & (below > 1.2)
    sample = surely if surely.sum() > 300 else clothes
    from_cloth = np.where(below > 0, _UNKNOWN_CLOTH, _FAR).astype(np.float32)
    if sample.sum() > 300:
        from_cloth = np.minimum(_ColorModel(lab[sample], 5).distance(lab), from_cloth + 14)

    throat = (below > 0.2) & (np.abs(x - marks[8, 0]) < 0.4 * half)
    # the model's neck may be wider than the person's: what is no skin may be a collar there
    beside_neck = (below > -0.6) & ~dilate(polygon_mask(marks, size), 3) & (no_skin | ~dilate(head, 3) & (below > -0.4))
    no_cloth = (below < 0.1) & ~beside_neck
    for_skin = np.where(around, 12, 0) + np.where(plain, -_FAR, 0)
    for_hair = from_hair + np.where(seed, -12, 0) + np.where(throat | neck, 12, 0) + 6 * np.clip(below, 0, 2)
    for_cloth = from_cloth + np.where(no_cloth, _FAR, 0) + np.where(beside_neck, 0, 6 * np.clip(1 - below, 0, 1))
    for_cloth += np.where(bare, 12, 0)
    costs = np.stack([from_skin + for_skin, for_hair, for_cloth])
    first = costs.argmin(0)
    shown = person & (first == 0) & (below > 0.1)
    if shown.sum() > 500:  # neck and shoulders are often lighter or darker than the face
        both = np.concatenate([complexion, lab[shown & (from_skin < 30) & ~no_skin]])
        costs[0] = _ColorModel(both, 4).distance(lab) + for_skin
    smooth = np.stack([guided_filter(square.rgb, np.clip(c, -_FAR, _FAR).astype(np.float32), 6, 1e-3) for c in costs])
    part = np.where(person, smooth.argmin(0) + 1, 0).astype(np.uint8)
    hair = opened(part == HAIR, 2)
    rooted = over_scalp | hair & ~dilate(head, 3) & (y < marks[33, 1])
    hair = touching(hair, rooted)
    strays = (part == HAIR) & ~dilate(hair, 3)
    no_hair = np.where((smooth[0] < smooth[2]) & ~no_skin | no_cloth, SKIN, CLOTH)
    part = np.where(strays, no_hair, part).astype(np.uint8)
    # clothes hang together with what is worn below
    worn_below = (below > _WORN_BELOW) | ~erode(square.valid, 3)
    patches = (part == CLOTH) & ~touching(part == CLOTH, worn_below)
    part = np.where(patches, np.where(smooth[0] < smooth[1], SKIN, HAIR), part).astype(np.uint8)
    frames = eyes & (part == HAIR) & ~mostly_outside(opened(part == HAIR, _FRAME), eyes)
    part[polygon_mask(marks[28:], size) | frames | _brows_and_lashes(part, marks, half)] = (
        SKIN  # they have other colors
    )
    islands = (part == SKIN) & (below < 0.2) & ~touching(part == SKIN, face)
    part = np.where(islands & touching(islands, dilate(hair, 2)), HAIR, part)  # what shines through the hair
    part = part.astype(np.uint8)
    thin = (part == HAIR) & ~opened(part == HAIR, _FRAME)
    worn = glasses(head & ((part == SKIN) | thin), no_skin, marks)
    part[worn] = SKIN
    hanging = strands(lab, (part == SKIN) & ~worn, part == HAIR, head & person, marks)
    return Labels(part, bool(bald), _occluder(square, part, face, head, meters_per_pixel), hanging, worn)


def _brows_and_lashes(
    part: UInt8[ndarray, "s s"], marks: Float[ndarray, "68 2"], half_width: float
) -> Bool[ndarray, "s s"]:
    """Around the eyes, and around brows where they lie below bare skin: under a fringe, what is dark there is hair."""
    size, rise = len(part), round(0.2 * half_width)
    below_skin = np.zeros(part.shape, bool)
    below_skin[rise:] = part[:-rise] == SKIN
    found = over_landmarks(marks, LIDS, size, 4) | over_landmarks(marks, BROWS, size, 5) & below_skin
    return found & (part > 0)


def _occluder(
    square: WorkingSquare,
    part: UInt8[ndarray, "s s"],
    face: Bool[ndarray, "s s"],
    head: Bool[ndarray, "s s"],
    meters_per_pixel: float,
) -> Bool[ndarray, "s s"]:
    """A hand at the face: skin beside the jaw where nobody has any, followed inwards to the strongest edges.

    Watershed on the gradient of the colors (Meyer, 1994), with the middle of the face, the clothes, the hair and the
    ground as the other basins.
    """
    marks = square.landmarks
    y = np.arange(len(part))[:, None]
    margin = round(_BESIDE_JAW / meters_per_pixel)
    beside = (part == SKIN) & ~dilate(head, margin) & (y > marks[30, 1]) & (y < marks[8, 1]) & square.valid
    seed = opened(beside, 4)
    if seed.sum() * meters_per_pixel**2 < _HAND_AREA:
        return np.zeros_like(seed)
    small = np.s_[::2, ::2]
    lab = cv2.GaussianBlur(square.lab, (0, 0), 1.5)[small]
    steepness = sum(np.hypot(*np.gradient(lab[..., k])) for k in range(3))
    markers = np.where(opened(part != SKIN, 4), 2, 0)[small]
    markers[erode(face, 2)[small]] = 2
    markers[seed[small]] = 1
    hand = (watershed(steepness, markers) == 1).astype(np.uint8)
    full = cv2.resize(hand, part.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    # fingers have edges between them: skin below the face that hangs together with the hand is its own or the neck's
    below = (part == SKIN) & ~(head & (y < marks[8, 1])) & (y > marks[30, 1])
    return dilate(full | touching(below | full, full), 9)
