"""What occludes the face's skin: strands of hair and glasses. The photo shows them, but nothing of the skin there."""

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from instax3d.geometry.landmarks68 import EYES, LEFT_BROW, NOSE_BRIDGE, NOSE_TIP, OUTER_LIPS, RIGHT_BROW
from instax3d.matting.masks import dilate, erode, over_landmarks, polygon_mask, touching

LIDS, EACH_BROW = tuple(EYES.values()), (RIGHT_BROW, LEFT_BROW)
"""Landmark ranges of the eyes and the brows."""
# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise.
_LENS = 0.45
"""Reach of glasses from the center of an eye, in distances of the eyes."""
_GLAZED = 0.1
"""Glasses are worn if this share of the eyes' surroundings, without lids and brows, is not skin."""
_LENS_INSIDE = 0.6
"""Dark pieces of which at least this share lies where glasses sit are lenses, not hair."""
_TEMPLES = 0.25
"""Half the height of the band in which temples run, in distances of the eyes."""
_AROUND = 41
"""Side of the window whose median is the skin around a strand, pixels."""
_THICKEST = 9
"""Largest width of a strand, pixels."""
_HAIR_SHARE = 0.08
"""Least share of the hair's color in a strand: single hairs let most of the skin through."""
_ROOTED, _LOOSE, _SLENDER = 12, 25, 2.5
"""Least heights of a strand that hangs from visible hair and of any other, pixels, and the latter's least height in
widths. Strands are upright; wrinkles of the forehead and lids are level."""
_INDISTINCT = 20.0
"""Difference of hair and skin in L*a*b* below which strands are not detected."""


def around_eyes(landmarks: Float[ndarray, "68 2"], size: int) -> Bool[ndarray, "s s"]:
    """Where glasses sit."""
    y, x = np.mgrid[:size, :size]
    eyes, apart = _eyes(landmarks)
    mask: ndarray = np.logical_or.reduce([np.hypot(x - eye[0], y - eye[1]) < _LENS * apart for eye in eyes])
    return mask


def _eyes(landmarks: Float[ndarray, "68 2"]) -> tuple[list[Float[ndarray, "2"]], float]:
    """Centers of the eyes and their distance; for faces in profile at least what the face's height suggests."""
    eyes = [landmarks[lids].mean(0) for lids in LIDS]
    return eyes, max(float(np.hypot(*(eyes[1] - eyes[0]))), 0.3 * float(np.ptp(landmarks[:, 1])))


def glasses(
    bare: Bool[ndarray, "s s"], no_skin: Bool[ndarray, "s s"], landmarks: Float[ndarray, "68 2"]
) -> Bool[ndarray, "s s"]:
    """Frames, tinted lenses and temples; ``bare`` is where the head shows without hair, ``no_skin`` where its color is
    one that skin has in no light.
    """
    size = len(bare)
    eyes = around_eyes(landmarks, size) & bare
    surroundings = eyes & ~over_landmarks(landmarks, (*LIDS, *EACH_BROW), size, 6)
    if (no_skin & surroundings).sum() <= _GLAZED * surroundings.sum():
        return np.zeros_like(bare)
    middles, apart = _eyes(landmarks)
    along = middles[1] - middles[0]
    y, x = np.mgrid[:size, :size]
    off = np.abs((y - middles[0][1]) * along[0] - (x - middles[0][0]) * along[1]) / max(float(np.hypot(*along)), 1.0)
    dark = no_skin & bare & (eyes | (off < _TEMPLES * apart))
    return dilate(touching(dark, eyes), 3)


def strands(
    lab: Float[ndarray, "s s 3"],
    skin: Bool[ndarray, "s s"],
    hair: Bool[ndarray, "s s"],
    head: Bool[ndarray, "s s"],
    landmarks: Float[ndarray, "68 2"],
) -> Bool[ndarray, "s s"]:
    """Thin, upright ridges on the skin of the face whose color lies between the skin's and the hair's.

    A white top-hat of the share of hair in each pixel's color, filtered by the pieces' shapes.
    """
    result = np.zeros_like(skin)
    y = np.arange(len(skin))[:, None]
    hull = polygon_mask(landmarks, len(skin))
    above_eyes = erode(head, 10) & (y < landmarks[NOSE_BRIDGE, 1])
    # the jaw has a shadow along it
    face = np.where(y < landmarks[NOSE_TIP, 1], erode(hull, 1), erode(hull, 9)) | above_eyes
    features = dilate(polygon_mask(landmarks[[27, 39, 42, 31, 35]], len(skin)), 8)
    features |= over_landmarks(landmarks, (*LIDS, OUTER_LIPS), len(skin), 5)
    features |= over_landmarks(landmarks, EACH_BROW, len(skin), 6)
    place = skin & face & ~features
    if not hair.any() or not place.any():
        return result
    rows, columns = np.flatnonzero(place.any(1)), np.flatnonzero(place.any(0))
    box = tuple(slice(max(0, k[0] - _AROUND), k[-1] + 1 + _AROUND) for k in (rows, columns))
    ridges = (_share_of_hair(lab[box], np.median(lab[hair], 0)) > _HAIR_SHARE) & place[box]
    count, piece, stats, _ = cv2.connectedComponentsWithStats(dilate(ridges, 1).astype(np.uint8))
    width, height = stats[:, 2], stats[:, 3]
    rooted = np.isin(np.arange(count), piece[dilate(hair[box], 4) & ridges])
    kept = (height >= _LOOSE) & (height > _SLENDER * width) | rooted & (height >= _ROOTED) & (height > width)
    kept[0] = False
    result[box] = kept[piece] & skin[box]
    return result


def _share_of_hair(lab: Float[ndarray, "h w 3"], hair: Float[ndarray, "3"]) -> Float[ndarray, "h w"]:
    """How far each pixel's color is from its surroundings' towards the hair's, in narrow ridges."""
    levels = (lab * [2, 2, 2] + [0, 128, 128]).clip(0, 255).astype(np.uint8)
    around = np.stack([cv2.medianBlur(np.ascontiguousarray(levels[..., k]), _AROUND) for k in range(3)], 2)
    around = (around.astype(np.float32) - [0, 128, 128]) / 2
    towards = hair - around
    off = cv2.GaussianBlur(lab, (0, 0), 0.8) - around
    share = (off * towards).sum(2) / np.maximum((towards**2).sum(2), _INDISTINCT**2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_THICKEST, _THICKEST))
    thin: ndarray = cv2.morphologyEx(share.astype(np.float32), cv2.MORPH_TOPHAT, kernel)
    return thin


def mostly_outside(mask: Bool[ndarray, "s s"], region: Bool[ndarray, "s s"]) -> Bool[ndarray, "s s"]:
    """The connected pieces of a mask that do not lie mostly in a region: locks before an eye, not lenses."""
    _, piece = cv2.connectedComponents(mask.astype(np.uint8))
    area, inside = np.bincount(piece.ravel()), np.bincount(piece.ravel(), region.ravel())
    return np.asarray(mask & (inside < _LENS_INSIDE * area)[piece])
