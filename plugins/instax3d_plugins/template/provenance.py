"""Where each pixel of a view came from, and the confidence that follows from it."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage

SEEN, MIRRORED, GUESSED = range(3)
CONFIDENCE = (0.9, 0.5, 0.2)
"""Of what the photo showed, rendered from elsewhere; of its mirror image; of what was made up. The photo itself has 1.
Measured: the table in this family's README.md."""
GRAZED_CONFIDENCE = 0.6
"""Of what the photo showed at a grazing angle: its place and tone are uncertain. A guess, as is the next."""
_RIM_CONFIDENCE = 0.7
"""Of the photo's pixels at the soft rim of the cut-out, which mixes person and background by estimate."""


def complete(
    shares: Float[ndarray, "h w 3"], confidence: Float[ndarray, "h w"], alpha: Float[ndarray, "h w"]
) -> tuple[Float[ndarray, "h w 3"], Float[ndarray, "h w"]]:
    """Shares that sum to 1, and confidence, everywhere, from those of covered pixels times their coverage.

    The background beside the person is as certain as the outline next to it.
    """
    covered = alpha > 0.02
    if not covered.any():
        nothing = np.broadcast_to(np.eye(3, dtype=np.float32)[GUESSED], shares.shape).copy()
        return nothing, np.full(alpha.shape, CONFIDENCE[GUESSED], np.float32)
    rows, columns = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    # interpolation may end a little below or above
    nearest = np.maximum(shares[rows, columns], 0)
    certain = np.clip(confidence[rows, columns] / alpha[rows, columns], CONFIDENCE[GUESSED], CONFIDENCE[SEEN])
    return np.asarray(nearest / nearest.sum(-1, keepdims=True), np.float32), np.asarray(certain, np.float32)


def photo_confidence(alpha: Float[ndarray, "h w"]) -> Float[ndarray, "h w"]:
    """Confidence of the photo's own pixels by their coverage."""
    return np.asarray(1 - (1 - _RIM_CONFIDENCE) * 4 * alpha * (1 - alpha))
