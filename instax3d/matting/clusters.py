"""Colors that stand for many."""

import cv2
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def k_means(
    colors: Float[ndarray, "n c"], count: int, *, rounds: int, change: float, attempts: int
) -> tuple[Float[ndarray, "k c"], Int[ndarray, "n"]]:
    """``count`` means and the number of each color's own, the same for the same colors (k-means++ starts).

    Args:
        rounds: at most.
        change: of the means below which it ends.
        attempts: of which the best is taken.
    """
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, rounds, change)
    _, own, means = cv2.kmeans(colors.astype(np.float32), count, None, stop, attempts, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return means, own[:, 0]
