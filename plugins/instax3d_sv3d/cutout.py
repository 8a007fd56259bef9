"""Where the person is in the photo: the one seam between this package and a matting of the photo."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from instax3d.types import Photo

from .coverage import coverage_on_white

_SMALL = 512
"""Longest side of the picture in which the person is cut out, pixels."""
_WHITE_RIM = 0.93
"""A photo is on white if its upper rim is, in the median."""


def person_alpha(photo: Photo) -> Float[Tensor, "1 h w"]:
    """How far each pixel of the photo belongs to its person, in [0, 1].

    The file's own transparency is taken as it is; on a white ground that ground is taken away; else GrabCut (Rother et
    al., SIGGRAPH 2004) parts the person, seeded by the face's landmarks.
    """
    if photo.alpha is not None:
        return photo.alpha
    image = photo.image
    depth = max(2, min(image.shape[1:]) // 100)
    chin = int(photo.face.landmarks[8, 1].clamp(1, image.shape[1]))
    rim = torch.cat(
        [image[:, :depth].flatten(1), image[:, :chin, :depth].flatten(1), image[:, :chin, -depth:].flatten(1)], 1
    )
    if float(rim.amin(0).median()) > _WHITE_RIM:
        return coverage_on_white(image[None])[0]
    return _parted(photo)


def _parted(photo: Photo) -> Float[Tensor, "1 h w"]:
    height, width = photo.image.shape[1:]
    scale = min(1.0, _SMALL / max(height, width))
    rgb = np.ascontiguousarray((photo.image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    mask = _seeds(small.shape[:2], photo.face.landmarks.numpy() * scale)
    cv2.setRNGSeed(0)
    cv2.grabCut(small, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    person = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts = cv2.connectedComponents(person)
    if count > 2:  # only what hangs together with the face
        x, y = np.clip((photo.face.landmarks[30].numpy() * scale).astype(int), 0, np.array(small.shape[1::-1]) - 1)
        person = (parts == parts[y, x]).astype(np.uint8)
    soft = cv2.GaussianBlur(person.astype(np.float32), (0, 0), 1.2)
    alpha = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(np.clip(alpha, 0, 1))[None]


def _seeds(shape: tuple[int, int], marks: Float[ndarray, "68 2"]) -> ndarray:
    """GrabCut's first guess: the face is person, an oval of hair and the bust below may be, the upper rim is not."""
    height = shape[0]
    mask = np.full(shape, cv2.GC_BGD, np.uint8)
    low, high = marks.min(0), marks.max(0)
    (x, y), (w, h) = (low + high) / 2, high - low
    chin = int(np.clip(high[1], 0, height - 1))
    axes = (int(1.15 * w), int(1.25 * h))
    cv2.ellipse(mask, (int(x), int(y - 0.15 * h)), axes, 0, 0, 360, int(cv2.GC_PR_BGD), -1)
    bust = np.array([[x - 0.6 * w, chin], [x + 0.6 * w, chin], [x + 2.2 * w, height], [x - 2.2 * w, height]])
    cv2.fillConvexPoly(mask, bust.astype(np.int32), int(cv2.GC_PR_FGD))
    cv2.ellipse(mask, (int(x), int(y - 0.15 * h)), (int(0.72 * w), int(0.8 * h)), 0, 0, 360, int(cv2.GC_PR_FGD), -1)
    cv2.fillConvexPoly(mask, cv2.convexHull(marks.astype(np.int32)), int(cv2.GC_FGD))
    neck = np.array([[x - 0.2 * w, chin], [x + 0.2 * w, chin], [x + 0.3 * w, height], [x - 0.3 * w, height]])
    cv2.fillConvexPoly(mask, neck.astype(np.int32), int(cv2.GC_FGD))
    return mask
