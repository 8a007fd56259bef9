"""Interpolates values over a mesh from where they are known, as smoothly as possible."""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse.linalg import splu

COLOR_SMOOTHNESS = 0.05
"""Of interpolated colors: a value of weight w reaches about sqrt(COLOR_SMOOTHNESS / w) edges far. Chosen by eye."""
_CLUSTER = 0.012
"""Side of the cells by which vertices are first clustered, meters; a matter of speed alone."""


class LaplacianInterpolator:
    """Minimizes sum w |c - value|^2 + smoothness * sum over edges |c_i - c_j|^2.

    Solved directly on cells of vertices, then refined on the vertices by conjugate gradients, all channels at once.
    """

    def __init__(
        self,
        vertices: Float[ndarray, "n 3"],
        faces: Int[ndarray, "f 3"],
        group: Int[ndarray, "n"],
        bridges: Int[ndarray, "m 2"] | None = None,
    ) -> None:
        """``bridges`` are further edges, where parts touch that are not connected."""
        count = len(vertices)
        pairs = np.concatenate(
            [faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]], *([] if bridges is None else [bridges])]
        )
        links = sp.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count)).tocsr()
        links = links.maximum(links.T)
        self._laplacian = (sp.diags(np.asarray(links.sum(1)).ravel()) - links).tocsr()
        # cells never join two parts: what lies close need not be connected
        cells = np.c_[np.floor(vertices / _CLUSTER).astype(np.int64), group]
        _, cell = np.unique(cells, axis=0, return_inverse=True)
        self._gather = sp.csr_matrix((np.ones(count), (cell.ravel(), np.arange(count))))

    def interpolate(
        self, values: Float[ndarray, "n c"], weights: Float[ndarray, "n"], smoothness: float
    ) -> Float[ndarray, "n c"]:
        """The smooth field; a part without any known value gets zero."""
        gather = self._gather
        data = weights[:, None] * values
        matrix = (sp.diags(weights + 1e-7) + smoothness * self._laplacian).tocsr()
        coarse = splu((gather @ matrix @ gather.T).tocsc()).solve(gather @ data)
        return _conjugate_gradients(matrix, data, gather.T @ coarse, 60)


def _conjugate_gradients(
    matrix: sp.csr_matrix, right: Float[ndarray, "n c"], start: Float[ndarray, "n c"], steps: int
) -> Float[ndarray, "n c"]:
    """Jacobi-preconditioned, one step size per channel."""
    inverse = (1 / matrix.diagonal())[:, None]
    x = start
    residual = right - matrix @ x
    direction = z = inverse * residual
    gain = (residual * z).sum(0)
    for _ in range(steps):
        image = matrix @ direction
        step = gain / np.maximum((direction * image).sum(0), 1e-30)
        x = x + step * direction
        residual = residual - step * image
        z = inverse * residual
        new_gain = (residual * z).sum(0)
        direction = z + new_gain / np.maximum(gain, 1e-30) * direction
        gain = new_gain
    return x
