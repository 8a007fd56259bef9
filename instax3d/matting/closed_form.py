"""Mattes as fine as hair, and foreground colors at soft pixels.

Closed-form matting: Levin, Lischinski and Weiss, PAMI 2008, eq. 12. Foreground colors: Germer et al., "Fast
Multi-Level Foreground Estimation", ICPR 2020, eq. 4. (pymatting has both, but compiles for most of a minute at its
first import; a band along the outline needs no compiled code.)
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse
from scipy.sparse.linalg import cg

_EPSILON = 1e-6
"""Regularizes the colors' covariance in a window of 3x3 pixels; sRGB in [0, 1] squared. Chosen by eye."""
_TOLERANCE, _STEPS = 1e-3, 300
"""Of the conjugate gradients: relative residual and most iterations."""
_SMOOTHNESS = 1e-5
"""Weight of equal colors of neighbors where the matte is flat: pymatting's default, as are the iterations below."""


def matte(
    rgb: Float[ndarray, "h w 3"],
    guess: Float[ndarray, "h w"],
    unknown: Bool[ndarray, "h w"],
    guess_weight: float,
) -> Float[ndarray, "h w"]:
    """Solve for the opacity where it is unknown: within any small window it is a linear function of the colors.

    Args:
        rgb: the image.
        guess: opacity; exact where it is not unknown.
        unknown: where to solve; must leave some pixels known.
        guess_weight: weight of the guess where it is unknown. Levin's windows weigh about 1.
    """
    number = np.full(unknown.shape, -1)
    number[unknown] = np.arange(unknown.sum())
    centers = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3)))[1:-1, 1:-1] > 0
    colors = sliding_window_view(rgb, (3, 3), (0, 1))[centers].reshape(-1, 3, 9).transpose(0, 2, 1).astype(np.float64)
    index = sliding_window_view(number, (3, 3))[centers].reshape(-1, 9)
    values = sliding_window_view(guess, (3, 3))[centers].reshape(-1, 9).astype(np.float64)

    offset = colors - colors.mean(1, keepdims=True)
    covariance = offset.transpose(0, 2, 1) @ offset / 9 + _EPSILON / 9 * np.eye(3)
    affinity = (1 + offset @ np.linalg.solve(covariance, offset.transpose(0, 2, 1))) / 9
    laplacian = np.eye(9) - affinity

    free = index >= 0
    between = free[:, :, None] & free[:, None, :]
    rows, columns = (np.broadcast_to(i, between.shape)[between] for i in (index[:, :, None], index[:, None, :]))
    count = int(unknown.sum())
    system = sparse.csr_matrix((laplacian[between], (rows, columns)), (count, count)) + guess_weight * sparse.eye(count)
    pull = -(laplacian @ np.where(free, 0, values)[..., None])[..., 0]
    right = np.bincount(index[free], pull[free], count) + guess_weight * guess[unknown]
    solved, _ = cg(
        system,
        right,
        guess[unknown].astype(np.float64),
        rtol=_TOLERANCE,
        maxiter=_STEPS,
        M=sparse.diags(1 / system.diagonal()),
    )
    result = guess.copy()
    result[unknown] = np.clip(solved, 0, 1)
    return result


def foreground_colors(rgb: Float[ndarray, "h w 3"], alpha: Float[ndarray, "h w"]) -> Float[ndarray, "h w 3"]:
    """The person's colors without the background mixed into soft pixels; beyond the matte they are continued."""
    height, width = alpha.shape
    levels = int(np.ceil(np.log2(max(height, width))))
    front, back = (np.tile(_mean(rgb, weight), (1, 1, 1)) for weight in (alpha > 0.9, alpha < 0.1))
    for level in range(levels + 1):
        size = (max(1, round(width ** (level / levels))), max(1, round(height ** (level / levels))))
        image = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        share = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)[..., None]
        front, back = (
            cv2.resize(c, size, interpolation=cv2.INTER_NEAREST).reshape(*share.shape[:2], 3) for c in (front, back)
        )
        for _ in range(10 if max(size) <= 32 else 2):
            front, back = _jacobi_step(image.reshape(front.shape), share, front, back)
    return front


def _mean(rgb: Float[ndarray, "h w 3"], chosen: Bool[ndarray, "h w"]) -> Float[ndarray, "3"]:
    return np.asarray(rgb[chosen].mean(0) if chosen.any() else rgb.mean((0, 1)))


def _jacobi_step(
    image: Float[ndarray, "h w 3"],
    share: Float[ndarray, "h w 1"],
    front: Float[ndarray, "h w 3"],
    back: Float[ndarray, "h w 3"],
) -> tuple[Float[ndarray, "h w 3"], Float[ndarray, "h w 3"]]:
    """Each pixel's two colors in the least squares, given its neighbors' present ones."""
    total = np.zeros_like(share)
    near_front, near_back = np.zeros_like(front), np.zeros_like(back)
    padded = [np.pad(a, ((1, 1), (1, 1), (0, 0)), mode="edge") for a in (share, front, back)]
    height, width = share.shape[:2]
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        other, f, b = (a[dy : dy + height, dx : dx + width] for a in padded)
        weight = _SMOOTHNESS + np.abs(share - other)
        total += weight
        near_front += weight * f
        near_back += weight * b
    # the two colors of a pixel solve [[a a + t, a b], [a b, b b + t]] (F, B) = (a I + sum F, b I + sum B), b = 1 - a
    a, b = share, 1 - share
    right_front, right_back = a * image + near_front, b * image + near_back
    determinant = total * (a * a + b * b + total)
    solved_front = ((b * b + total) * right_front - a * b * right_back) / determinant
    solved_back = ((a * a + total) * right_back - a * b * right_front) / determinant
    return np.clip(solved_front, 0, 1), np.clip(solved_back, 0, 1)
