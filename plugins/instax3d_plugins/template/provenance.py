"""Where each pixel of a view came from, and how far it may therefore be believed."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage

SEEN, MIRRORED, GUESSED = range(3)
CONFIDENCE = (0.9, 0.5, 0.2)
"""In what the photo showed, drawn from elsewhere; in its mirror image; in what was made up. The photo itself has 1."""
GRAZED_TRUST = 0.6
"""In what the photo showed at a grazing angle: its place and tone are uncertain."""
_RIM_TRUST = 0.7
"""In the photo's pixels at the soft rim of the cut-out, which mixes person and ground by estimate."""


def complete(
    shares: Float[ndarray, "h w 3"], confidence: Float[ndarray, "h w"], alpha: Float[ndarray, "h w"]
) -> tuple[Float[ndarray, "h w 3"], Float[ndarray, "h w"]]:
    """Shares that sum to 1, and confidence, everywhere, from those of covered pixels times their coverage.

    The ground beside the person is as sure as the outline next to it.
    """
    covered = alpha > 0.02
    if not covered.any():
        nothing = np.broadcast_to(np.eye(3, dtype=np.float32)[GUESSED], shares.shape).copy()
        return nothing, np.full(alpha.shape, CONFIDENCE[GUESSED], np.float32)
    rows, columns = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    # interpolation may end a little below or above
    found = np.maximum(shares[rows, columns], 0)
    sure = np.clip(confidence[rows, columns] / alpha[rows, columns], CONFIDENCE[GUESSED], CONFIDENCE[SEEN])
    return np.asarray(found / found.sum(-1, keepdims=True), np.float32), np.asarray(sure, np.float32)


def photo_confidence(alpha: Float[ndarray, "h w"]) -> Float[ndarray, "h w"]:
    """Trust in the photo's own pixels by their coverage."""
    return np.asarray(1 - (1 - _RIM_TRUST) * 4 * alpha * (1 - alpha))
