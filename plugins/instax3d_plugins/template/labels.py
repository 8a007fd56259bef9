"""Which part of the cut-out is skin, hair or clothes: Gaussian color models seeded by the fitted head."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from skimage.segmentation import watershed

from instax3d.geometry.landmarks68 import BROWS, CHIN, NOSE_BASE, NOSE_BRIDGE, NOSE_TIP, OUTER_LIPS
from instax3d.matting.clusters import k_means
from instax3d.matting.cutout import guided_filter
from instax3d.matting.head_crop import HeadCrop
from instax3d.matting.masks import dilate, erode, inner_face, opened, over_landmarks, polygon_mask, touching

from .occluders import EACH_BROW, LIDS, around_eyes, glasses, mostly_outside, strands

SKIN, HAIR, CLOTH = 1, 2, 3
# All thresholds and costs of this file were chosen by eye on the eight photos of docs/template_views.md, unless a line
# says otherwise. Costs are squared Mahalanobis distances in L*a*b*.
_FEATURES = (BROWS, *LIDS, OUTER_LIPS)
"""Landmark ranges of brows, eyes and mouth, which do not have the color of skin."""
_FRAME = 8
"""Pixels: half the least thickness of a lock of hair before an eye; thinner pieces are taken for glasses or lashes."""
_MAX_COST = 60.0
"""Largest cost of a label: beyond it, colors say nothing more."""
_PLACE_COST = 12.0
"""What an unlikely place costs a label (and a certain one saves it)."""
_UNKNOWN_CLOTH = 25.0
"""Cost of clothes whose color is not known from below."""
_FEW_HAIR, _FEW_CLOTH, _FEW_SKIN = 200, 300, 500
"""Pixels below which a color model is not fitted."""
_WORN_BELOW = 0.3
"""Clothes reach at least this far below the chin, in half face widths."""
_DARKEST_SKIN, _GRAYEST_SKIN, _REDDEST_SKIN, _GREENEST_SKIN = 0.4, 0.35, 1.0, 0.45
"""Below the chin, skin has at least these shares of the face's lightness and chroma, and at most these tangents of the
angle between both hues: fingers, ears and flushed necks are redder than cheeks."""
_SKIN_LIKE = 12.0
"""Cost up to which a color is the face's own. (Chi squared with 3 degrees of freedom is less with a
probability of 0.993.)"""
_OVEREXPOSED = 0.96
"""A channel above this has lost its hue."""
_EDGE = 4.0
"""Steepness in L*a*b* per pixel that separates skin from cloth of nearly its color; light on skin changes smoothly."""
_BALD_SKIN_SHARE = 0.55
"""Above this share of skin color on the scalp a head counts as bald..."""
_BALD_AREA = 40e-4
"""...if also less than this area (square meters) of the cut-out lies beside the head."""

_BESIDE_JAW = 0.012
"""Skin this far outside the head beside nose, mouth and chin belongs to a hand or an arm, meters..."""
_HAND_AREA = 4e-4
"""...if it has this area, square meters."""


@dataclass(frozen=True, eq=False)
class Labels:
    """The parts of the person."""

    part: UInt8[ndarray, "s s"]
    """SKIN, HAIR or CLOTH; 0 outside the person."""
    bald: bool
    occluded: Bool[ndarray, "s s"]
    """Where a hand or an arm hides the person: its pixels say nothing about head and bust."""
    strands: Bool[ndarray, "s s"]
    """Hair that crosses bare skin..."""
    glasses: Bool[ndarray, "s s"]
    """...and what is worn before it: both are labeled SKIN, for that is what lies behind them."""

    def of(self, label: int) -> Bool[ndarray, "s s"]:
        """Where the part is ``label``."""
        return np.asarray(self.part == label)


class _ColorModel:
    """A few Gaussians over L*a*b* colors, robust against outliers."""

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
        nearest: ndarray = np.full(lab.shape[:2], np.inf, np.float32)
        for mean, precision in self._gaussians:
            offset = (lab - mean).astype(np.float32)
            nearest = np.minimum(nearest, ((offset @ precision) * offset).sum(2))
        return nearest


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where parts of the person may be, whatever their colors."""

    person: Bool[ndarray, "s s"]
    head: Bool[ndarray, "s s"]
    below: Float[ndarray, "s s"]
    """Height below the chin, in half face widths."""
    face: Bool[ndarray, "s s"]
    """Hull of the landmarks without the sides of the jaw, which hair may cover."""
    cheeks: Bool[ndarray, "s s"]
    """The face without its features."""
    eyes: Bool[ndarray, "s s"]
    """Where glasses sit."""
    scalp: Bool[ndarray, "s s"]
    """Above the bridge of the nose, on the scalp or beside the head."""


@dataclass(frozen=True, eq=False)
class _SkinCues:
    """What colors say about skin."""

    complexion: Float[ndarray, "n 3"]
    """L*a*b* colors of the face's skin."""
    distance: Float[ndarray, "s s"]
    """Cost of the skin's color model."""
    like: Bool[ndarray, "s s"]
    """The face's own colors."""
    unlike: Bool[ndarray, "s s"]
    """Colors that this skin has in no light."""
    bare: Bool[ndarray, "s s"]
    """Below the chin: skin in whatever light."""


@dataclass(frozen=True, eq=False)
class _HairCues:
    """What colors and places say about hair."""

    bald: bool
    beside: Bool[ndarray, "s s"]
    """Beside the head, above the nose; nowhere for bald heads."""
    seed: Bool[ndarray, "s s"]
    """What is hair for sure."""
    distance: Float[ndarray, "s s"]
    """Cost of the hair's color model."""


def unlike_skin(lab: Float[ndarray, "h w 3"], skin: Float[ndarray, "n 3"]) -> Bool[ndarray, "h w"]:
    """Colors that this person's skin has in no light: much darker, grayer or of another hue.

    Where a surface gets k times the light, L* + 16, a* and b* become the cube root of k times as large (by the
    definition of L*a*b* above its linear part).

    Args:
        lab: L*a*b* colors.
        skin: L*a*b* colors of the face's skin.
    """
    median = np.median(skin, 0)
    light = (lab[..., 0] + 16) / (median[0] + 16)
    chroma = max(float(np.hypot(*median[1:])), 4.0)
    relit = lab[..., 1:] / light[..., None] / chroma
    along = relit @ (median[1:] / chroma)
    redder = relit @ (median[[2, 1]] * [1, -1] / chroma)
    hue = (redder > _REDDEST_SKIN * along) | (-redder > _GREENEST_SKIN * along)
    return np.asarray((light < _DARKEST_SKIN) | (along < _GRAYEST_SKIN) | hue)


def label_parts(
    head_crop: HeadCrop,
    alpha: Float[ndarray, "s s"],
    head: Bool[ndarray, "s s"],
    scalp: Bool[ndarray, "s s"],
    neck: Bool[ndarray, "s s"],
    meters_per_pixel: float,
) -> Labels:
    """Label the person.

    Each label gets a cost per pixel from its colors and its place; the costs are smoothed along the image's edges
    (cost-volume filtering, Hosni et al., PAMI 2013) and the cheapest label wins.

    Args:
        head_crop: the photo around the head.
        alpha: the person's matte.
        head: where the roughly fitted head shows...
        scalp: ...its scalp...
        neck: ...and its neck.
        meters_per_pixel: size of the crop's pixels on the face.
    """
    landmarks = head_crop.landmarks
    layout = _layout(head_crop, alpha, head, scalp)
    skin = _skin_cues(head_crop, layout)
    hair = _hair_cues(head_crop, layout, skin, meters_per_pixel)
    # the model's neck may be wider than the person's: what is unlike skin may be a collar there
    beside_neck = (layout.below > -0.6) & ~dilate(polygon_mask(landmarks, len(head)), 3)
    beside_neck &= skin.unlike | ~dilate(head, 3) & (layout.below > -0.4)
    no_cloth = (layout.below < 0.1) & ~beside_neck
    costs = _smooth_costs(head_crop, layout, skin, hair, neck, beside_neck, no_cloth)
    part = np.where(layout.person, costs.argmin(0) + 1, 0).astype(np.uint8)
    part, rooted_hair = _reject_stray_hair(part, costs, layout, skin, no_cloth, landmarks)
    # clothes are connected to what is worn below
    worn_below = (layout.below > _WORN_BELOW) | ~erode(head_crop.valid, 3)
    patches = (part == CLOTH) & ~touching(part == CLOTH, worn_below)
    part = np.where(patches, np.where(costs[0] < costs[1], SKIN, HAIR), part).astype(np.uint8)
    part = _clean_face(part, rooted_hair, layout, landmarks, head_crop.face_half_width)
    thin = (part == HAIR) & ~opened(part == HAIR, _FRAME)
    worn = glasses(head & ((part == SKIN) | thin), skin.unlike, landmarks)
    part[worn] = SKIN
    loose = strands(head_crop.lab, (part == SKIN) & ~worn, part == HAIR, head & layout.person, landmarks)
    hand = _hand(head_crop, part, layout.face, head, meters_per_pixel)
    return Labels(part, hair.bald, hand, loose, worn)


def _layout(
    head_crop: HeadCrop, alpha: Float[ndarray, "s s"], head: Bool[ndarray, "s s"], scalp: Bool[ndarray, "s s"]
) -> _Layout:
    """Derive places from head and landmarks."""
    landmarks, size = head_crop.landmarks, head_crop.crop.size
    y = np.mgrid[:size, :size][0]
    person = alpha > 0.5
    face = inner_face(landmarks, size)
    return _Layout(
        person=person,
        head=head,
        below=(y - float(landmarks[CHIN, 1])) / head_crop.face_half_width,
        face=face,
        cheeks=erode(face, 4) & ~over_landmarks(landmarks, _FEATURES, size, 6),
        eyes=around_eyes(landmarks, size),
        scalp=person & (y < landmarks[NOSE_BRIDGE, 1]) & ~face & (~head | scalp),
    )


def _skin_cues(head_crop: HeadCrop, layout: _Layout) -> _SkinCues:
    """Learn the skin's colors from the cheeks."""
    lab, person, eyes = head_crop.lab, layout.person, layout.eyes
    # glasses are not skin either
    complexion = lab[layout.cheeks & person & ~eyes]
    complexion = lab[layout.cheeks & person & ~(eyes & unlike_skin(lab, complexion))]
    distance = _ColorModel(complexion, 2).distance(lab)
    unlike = unlike_skin(lab, complexion)
    like = distance < _SKIN_LIKE
    overexposed = head_crop.rgb.max(2) > _OVEREXPOSED
    bare = _bare_skin(head_crop, person & (overexposed | ~unlike) & (layout.below > 0.1), like)
    return _SkinCues(complexion, distance, like, unlike, bare)


def _bare_skin(
    head_crop: HeadCrop, possible: Bool[ndarray, "s s"], skin_like: Bool[ndarray, "s s"]
) -> Bool[ndarray, "s s"]:
    """Skin in whatever light: pieces without edges in them that may be skin and have mostly the face's own colors."""
    lab = cv2.GaussianBlur(head_crop.lab, (0, 0), 1)
    steepness = np.sqrt(sum(slope**2 for k in range(3) for slope in np.gradient(lab[..., k])))
    inside = opened(possible & (steepness < _EDGE), 1)
    _, piece = cv2.connectedComponents(inside.astype(np.uint8))
    area, like = np.bincount(piece.ravel()), np.bincount(piece.ravel(), skin_like.ravel())
    return np.asarray(dilate(inside & (like > 0.5 * area)[piece], 2) & possible)


def _hair_cues(head_crop: HeadCrop, layout: _Layout, skin: _SkinCues, meters_per_pixel: float) -> _HairCues:
    """Whether the head is bald, and else the hair's colors from what is not skin on the scalp and beside the head."""
    lab, landmarks, person, head, scalp = head_crop.lab, head_crop.landmarks, layout.person, layout.head, layout.scalp
    above_nose = np.arange(len(head))[:, None] < landmarks[NOSE_TIP, 1]
    # a bald head may shine
    bare_scalp = skin.like | ~skin.unlike & (lab[..., 0] > np.median(skin.complexion[:, 0]))
    skin_share = float((bare_scalp & scalp).sum() / max(scalp.sum(), 1))
    area_beside = float((person & ~head & above_nose).sum()) * meters_per_pixel**2
    bald = skin_share > _BALD_SKIN_SHARE and area_beside < _BALD_AREA
    beside = person & ~dilate(head, 3) & above_nose & (not bald)
    seed = beside & (skin.distance > 5) | scalp & ~skin.like
    bald |= int(seed.sum()) < _FEW_HAIR
    if bald:
        return _HairCues(True, beside, seed, np.full(person.shape, _MAX_COST, np.float32))
    return _HairCues(False, beside, seed, _ColorModel(lab[seed], 3).distance(lab))


def _cloth_distance(
    lab: Float[ndarray, "s s 3"], layout: _Layout, skin: _SkinCues, hair: _HairCues
) -> Float[ndarray, "s s"]:
    """Cost of the clothes' color, learned from what is neither skin nor hair below the chin."""
    below = layout.below
    clothes = layout.person & (below > 0.15) & ~skin.like & (hair.distance > 9) & ~skin.bare
    clothes &= (below > 0.9) | opened(clothes & skin.unlike & (hair.distance > 25), 2)
    certain = clothes & (below > 1.2)
    sample = certain if certain.sum() > _FEW_CLOTH else clothes
    distance = np.where(below > 0, _UNKNOWN_CLOTH, _MAX_COST).astype(np.float32)
    if sample.sum() > _FEW_CLOTH:
        distance = np.minimum(_ColorModel(lab[sample], 5).distance(lab), distance + 14)
    return distance


def _smooth_costs(
    head_crop: HeadCrop,
    layout: _Layout,
    skin: _SkinCues,
    hair: _HairCues,
    neck: Bool[ndarray, "s s"],
    beside_neck: Bool[ndarray, "s s"],
    no_cloth: Bool[ndarray, "s s"],
) -> Float[ndarray, "3 s s"]:
    """Costs of skin, hair and cloth, smoothed along the image's edges."""
    lab, below = head_crop.lab, layout.below
    x = np.arange(len(neck))
    throat = (below > 0.2) & (np.abs(x - head_crop.landmarks[CHIN, 0]) < 0.4 * head_crop.face_half_width)
    for_skin = np.where(hair.beside, _PLACE_COST, 0) + np.where(layout.cheeks, -_MAX_COST, 0)
    for_hair = hair.distance + np.where(hair.seed, -_PLACE_COST, 0) + np.where(throat | neck, _PLACE_COST, 0)
    for_hair += 6 * np.clip(below, 0, 2)
    for_cloth = _cloth_distance(lab, layout, skin, hair) + np.where(no_cloth, _MAX_COST, 0)
    for_cloth += np.where(beside_neck, 0, 6 * np.clip(1 - below, 0, 1))
    for_cloth += np.where(skin.bare, _PLACE_COST, 0)
    costs = np.stack([skin.distance + for_skin, for_hair, for_cloth])
    cheapest = costs.argmin(0)
    visible = layout.person & (cheapest == 0) & (below > 0.1)
    if visible.sum() > _FEW_SKIN:  # neck and shoulders are often lighter or darker than the face
        both = np.concatenate([skin.complexion, lab[visible & (skin.distance < 30) & ~skin.unlike]])
        costs[0] = _ColorModel(both, 4).distance(lab) + for_skin
    clipped = [np.clip(cost, -_MAX_COST, _MAX_COST).astype(np.float32) for cost in costs]
    return np.stack([guided_filter(head_crop.rgb, cost, 6, 1e-3) for cost in clipped])


def _reject_stray_hair(
    part: UInt8[ndarray, "s s"],
    costs: Float[ndarray, "3 s s"],
    layout: _Layout,
    skin: _SkinCues,
    no_cloth: Bool[ndarray, "s s"],
    landmarks: Float[ndarray, "68 2"],
) -> tuple[UInt8[ndarray, "s s"], Bool[ndarray, "s s"]]:
    """The labels with hair that is not connected to the head relabeled, and the hair that is."""
    y = np.arange(len(part))[:, None]
    hair = opened(part == HAIR, 2)
    roots = layout.scalp | hair & ~dilate(layout.head, 3) & (y < landmarks[NOSE_BASE, 1])
    hair = touching(hair, roots)
    strays = (part == HAIR) & ~dilate(hair, 3)
    instead = np.where((costs[0] < costs[2]) & ~skin.unlike | no_cloth, SKIN, CLOTH)
    return np.where(strays, instead, part).astype(np.uint8), hair


def _clean_face(
    part: UInt8[ndarray, "s s"],
    hair: Bool[ndarray, "s s"],
    layout: _Layout,
    landmarks: Float[ndarray, "68 2"],
    face_half_width: float,
) -> UInt8[ndarray, "s s"]:
    """The labels with features of the face as SKIN, and skin apart from it as the HAIR that it shines through."""
    part, eyes = part.copy(), layout.eyes
    frames = eyes & (part == HAIR) & ~mostly_outside(opened(part == HAIR, _FRAME), eyes)
    features = polygon_mask(landmarks[28:], len(part)) | frames | _brows_and_lashes(part, landmarks, face_half_width)
    part[features] = SKIN
    islands = (part == SKIN) & (layout.below < 0.2) & ~touching(part == SKIN, layout.face)
    return np.where(islands & touching(islands, dilate(hair, 2)), HAIR, part).astype(np.uint8)


def _brows_and_lashes(
    part: UInt8[ndarray, "s s"], landmarks: Float[ndarray, "68 2"], face_half_width: float
) -> Bool[ndarray, "s s"]:
    """Around the eyes, and around brows where they lie below bare skin: under a fringe, what is dark there is hair."""
    size, rise = len(part), round(0.2 * face_half_width)
    below_skin = np.zeros(part.shape, bool)
    below_skin[rise:] = part[:-rise] == SKIN
    lashes = over_landmarks(landmarks, LIDS, size, 4)
    brows = over_landmarks(landmarks, EACH_BROW, size, 5) & below_skin
    return (lashes | brows) & (part > 0)


def _hand(
    head_crop: HeadCrop,
    part: UInt8[ndarray, "s s"],
    face: Bool[ndarray, "s s"],
    head: Bool[ndarray, "s s"],
    meters_per_pixel: float,
) -> Bool[ndarray, "s s"]:
    """A hand at the face: skin beside the jaw where nobody has any, followed inwards to the strongest edges.

    Watershed on the gradient of the colors (Meyer, 1994), with the middle of the face, the clothes, the hair and the
    background as the other basins.
    """
    landmarks = head_crop.landmarks
    y = np.arange(len(part))[:, None]
    margin = round(_BESIDE_JAW / meters_per_pixel)
    beside_jaw = (y > landmarks[NOSE_TIP, 1]) & (y < landmarks[CHIN, 1]) & ~dilate(head, margin)
    seed = opened((part == SKIN) & beside_jaw & head_crop.valid, 4)
    if seed.sum() * meters_per_pixel**2 < _HAND_AREA:
        return np.zeros_like(seed)
    half_resolution = np.s_[::2, ::2]
    lab = cv2.GaussianBlur(head_crop.lab, (0, 0), 1.5)[half_resolution]
    steepness = sum(np.hypot(*np.gradient(lab[..., k])) for k in range(3))
    markers = np.where(opened(part != SKIN, 4), 2, 0)[half_resolution]
    markers[erode(face, 2)[half_resolution]] = 2
    markers[seed[half_resolution]] = 1
    hand = (watershed(steepness, markers) == 1).astype(np.uint8)
    full = cv2.resize(hand, part.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    # fingers have edges between them: skin below the face that is connected to the hand is its own or the neck's
    below = (part == SKIN) & ~(head & (y < landmarks[CHIN, 1])) & (y > landmarks[NOSE_TIP, 1])
    return dilate(full | touching(below | full, full), 9)
