"""Masks of the head crop: hulls, morphology, distances."""

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from instax3d.geometry.landmarks68 import AROUND_CHIN, INNER


def polygon_mask(points: Float[ndarray, "n 2"], size: int) -> Bool[ndarray, "s s"]:
    """The convex hull of image points, filled, in a mask of ``size`` pixels on a side."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1)
    return mask > 0


def inner_face(landmarks: Float[ndarray, "68 2"], size: int) -> Bool[ndarray, "s s"]:
    """The hull of the landmarks without the sides of the jaw, which hair may cover."""
    return polygon_mask(np.concatenate([landmarks[INNER], landmarks[AROUND_CHIN]]), size)


def erode(mask: Bool[ndarray, "h w"], pixels: int) -> Bool[ndarray, "h w"]:
    """Shrink a mask by a number of pixels."""
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1))) > 0


def dilate(mask: Bool[ndarray, "h w"], pixels: int) -> Bool[ndarray, "h w"]:
    """Grow a mask by a number of pixels."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1, 2 * pixels + 1))) > 0


def opened(mask: Bool[ndarray, "h w"], pixels: int) -> Bool[ndarray, "h w"]:
    """The mask without pieces and bridges thinner than about twice ``pixels``."""
    return np.asarray(dilate(erode(mask, pixels), pixels) & mask)


def over_landmarks(
    landmarks: Float[ndarray, "68 2"], ranges: Iterable[slice], size: int, pixels: int
) -> Bool[ndarray, "s s"]:
    """The hull of each range of landmarks, grown by a number of pixels."""
    mask = np.zeros((size, size), bool)
    for range_ in ranges:
        mask |= dilate(polygon_mask(landmarks[range_], size), pixels)
    return mask


def signed_distance(mask: Bool[ndarray, "h w"]) -> Float[ndarray, "h w"]:
    """Pixels to the outline, positive inside."""
    inside = mask.astype(np.uint8)
    distance: ndarray = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 5
    )
    return distance


def touching(mask: Bool[ndarray, "h w"], seed: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """The connected pieces of a mask that contain any pixel of the seed."""
    _, component = cv2.connectedComponents(mask.astype(np.uint8))
    seeded = np.unique(component[seed & mask])
    return np.isin(component, seeded[seeded > 0])
