"""Bilinear samples of numpy images."""

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray


def sample(image: Float[ndarray, "s s *c"], points: Float[ndarray, "n _"]) -> Float[ndarray, "n *c"]:
    """Bilinear samples of an image at pixel positions (x and y in the first two columns, pixel centers at +0.5).

    The image's edges extend outwards. float32.
    """
    x, y = (np.ascontiguousarray(points[:, k], np.float32) - 0.5 for k in range(2))
    samples, step = [], 32_000  # OpenCV refuses longer rows
    image = np.ascontiguousarray(image, np.float32)
    for k in range(0, len(x), step):
        rows = cv2.remap(
            image, x[None, k : k + step], y[None, k : k + step], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        samples.append(rows.reshape(-1, *image.shape[2:]))
    return np.concatenate(samples) if samples else np.zeros((0, *image.shape[2:]), np.float32)
