"""Where each pixel of a view came from, and how far it may therefore be believed."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage

SEEN, MIRRORED, GUESSED = range(3)
_TRUST = np.array([0.9, 0.6, 0.3], np.float32)
"""Of what the photo showed, drawn from elsewhere; of its mirror image; of what was made up. The photo itself has 1."""


def complete(shares: Float[ndarray, "h w 3"], alpha: Float[ndarray, "h w"]) -> Float[ndarray, "h w 3"]:
    """Shares that sum to 1 everywhere, from those of covered pixels times their coverage.

    The ground beside the person is as sure as the outline next to it.
    """
    covered = alpha > 0.02
    if not covered.any():
        return np.broadcast_to(np.eye(3, dtype=np.float32)[GUESSED], shares.shape).copy()
    nearest = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    found = np.maximum(shares[nearest[0], nearest[1]], 0)  # interpolation may end a little below
    return np.asarray(found / found.sum(-1, keepdims=True), np.float32)


def trust(shares: Float[ndarray, "*size 3"]) -> Float[ndarray, "*size"]:
    """The weight of each pixel in construction."""
    return np.asarray(shares @ _TRUST)
