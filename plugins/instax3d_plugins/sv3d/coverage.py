"""Which pixels of an image on white show the person."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

_WHITE = 0.955
"""The white background is at least this bright in every channel; decoded frames vary by one or two hundredths."""
_RIM = 3
"""Width in pixels of the rim along the background, whose alpha is computed from its color."""


def coverage_on_white(images: Float[Tensor, "views 3 h w"]) -> Float[Tensor, "views 1 h w"]:
    """Alpha in [0, 1] of images in [0, 1] whose background is white.

    The background is the white that is connected with the left, right or upper edge: white within the person (teeth,
    eyes) stays, and so does a white shirt as long as it meets no other edge than the lower one. At the rim a pixel is a
    mixture C = a F + (1 - a) of the color F of the nearest pixel further inside and of white, which gives a.
    """
    return torch.from_numpy(np.stack([_coverage(image) for image in images.permute(0, 2, 3, 1).numpy()]))[:, None]


def _coverage(image: Float[ndarray, "h w 3"]) -> Float[ndarray, "h w"]:
    background = _background(image)
    if background.all():
        return np.zeros(background.shape, np.float32)
    person = ~background
    inside = cv2.erode(person.astype(np.uint8), np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)) > 0
    alpha = person.astype(np.float32)
    rim = person & ~inside
    if inside.any():
        nearest = _nearest(inside)
        color = image[nearest[0][rim], nearest[1][rim]]
        darkest = color.argmin(-1)[:, None]
        opaque = 1 - np.take_along_axis(color, darkest, -1)[:, 0]
        actual = 1 - np.take_along_axis(image[rim], darkest, -1)[:, 0]
        alpha[rim] = np.clip(actual / np.maximum(opaque, 0.05), 0, 1)
    return alpha


def _background(image: Float[ndarray, "h w 3"]) -> Bool[ndarray, "h w"]:
    white = (image.min(-1) > _WHITE).astype(np.uint8)
    _, parts = cv2.connectedComponents(white, connectivity=4)
    touching = np.unique(np.concatenate([parts[0], parts[:, 0], parts[:, -1]]))
    background: ndarray = np.isin(parts, touching[touching > 0])
    return background


def _nearest(inside: Bool[ndarray, "h w"]) -> tuple[ndarray, ndarray]:
    """Row and column of the nearest pixel inside, of every pixel."""
    _, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(inside)
    at = np.zeros(labels.max() + 1, np.int64)
    at[labels[rows, columns]] = np.arange(len(rows))
    return rows[at[labels]], columns[at[labels]]
