"""Masks of the working square: hulls, margins, distances."""

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


def polygon_mask(points: Float[ndarray, "n 2"], size: int) -> Bool[ndarray, "s s"]:
    """The convex hull of image points, filled."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1)
    return mask > 0


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
    marks: Float[ndarray, "68 2"], ranges: Iterable[slice], size: int, pixels: int
) -> Bool[ndarray, "s s"]:
    """The hull of each range of landmarks, and so many pixels about it."""
    found = np.zeros((size, size), bool)
    for range_ in ranges:
        found |= dilate(polygon_mask(marks[range_], size), pixels)
    return found


def signed_distance(mask: Bool[ndarray, "h w"]) -> Float[ndarray, "h w"]:
    """Pixels to the outline, positive inside."""
    inside = mask.astype(np.uint8)
    distance: ndarray = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 5
    )
    return distance


def touching(mask: Bool[ndarray, "h w"], seed: Bool[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    """The connected pieces of a mask that hold any of the seed."""
    _, component = cv2.connectedComponents(mask.astype(np.uint8))
    wanted = np.unique(component[seed & mask])
    return np.isin(component, wanted[wanted > 0])
