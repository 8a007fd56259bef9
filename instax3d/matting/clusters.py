"""Colors that represent many."""

import cv2
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def k_means(
    colors: Float[ndarray, "n c"], count: int, *, rounds: int, change: float, attempts: int
) -> tuple[Float[ndarray, "k c"], Int[ndarray, "n"]]:
    """Cluster colors into ``count`` means; deterministic.

    Args:
        colors: what to cluster.
        count: how many means.
        rounds: most iterations.
        change: of the means below which it ends.
        attempts: k-means++ starts, of which the best is taken.

    Returns:
        The means, and the index of each color's mean.
    """
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, rounds, change)
    _, index, means = cv2.kmeans(colors.astype(np.float32), count, None, stop, attempts, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return means, index[:, 0]
