"""What the photo tells about a place in space: inside the person's outline or not, and of which part."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy import ndimage

from instax3d.matting.masks import erode, signed_distance

from .head import Head
from .labels import HAIR, Labels


@dataclass(frozen=True)
class Outline:
    """Cut-out and labels of the working square, continued beyond the photo's edges by their nearest values."""

    person: Float[ndarray, "s s"]
    """Signed distance to the person's outline in meters at the head's depth, positive inside."""
    part: UInt8[ndarray, "s s"]
    valid: Bool[ndarray, "s s"]
    meters_per_pixel: float

    @cached_property
    def hair(self) -> Float[ndarray, "s s"]:
        """Signed distance to the outline of the hair, meters."""
        soft = cv2.GaussianBlur((self.part == HAIR).astype(np.float32), (0, 0), 2)
        return signed_distance(soft > 0.5) * self.meters_per_pixel

    @cached_property
    def beyond(self) -> Float[ndarray, "s s"]:
        """Distance outside the photo, meters."""
        distance: ndarray = cv2.distanceTransform((~self.valid).astype(np.uint8), cv2.DIST_L2, 5)
        return distance * self.meters_per_pixel


def make_outline(head: Head, alpha: Float[ndarray, "s s"], labels: Labels, valid: Bool[ndarray, "s s"]) -> Outline:
    """Continue what is known beyond the edges of the photo."""
    person, part = signed_distance(alpha > 0.5), labels.part
    if not valid.all():
        nearest = ndimage.distance_transform_edt(~erode(valid, 2), return_distances=False, return_indices=True)
        y, x = nearest
        # what the edge cuts goes on beyond it; below the photo shoulders may widen, unless a bust ends within it
        rows = np.arange(len(valid))[:, None]
        lowest = np.flatnonzero(valid.any(1))[-1]
        beneath = (rows > lowest) & (alpha[lowest - 2] > 0.5).any()
        going_on = signed_distance((alpha > 0.5) | ~valid)[y, x]
        person = np.where((alpha[y, x] > 0.5) | beneath, going_on, person[y, x])
        part = part[y, x]
        if not labels.bald:
            above = rows < np.flatnonzero(valid.any(1))[0] + 2
            part = np.where(above & (part > 0), HAIR, part).astype(np.uint8)
    scale = head.meters_per_pixel
    return Outline((person * scale).astype(np.float32), part, valid, scale)
