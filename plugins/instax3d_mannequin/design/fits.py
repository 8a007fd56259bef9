"""Control points by linear least squares: the subdivided cage goes through its targets as smoothly as asked."""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl

from ..cage import Cage, edges_of
from ..figures import Array, Index
from .surface import uniform_laplacian


def solver(
    refine: sp.spmatrix, smooth: sp.spmatrix, smoothness: float, weights: Array | None = None
) -> Callable[[Array], Array]:
    """The function b -> argmin |refine x - b|² + smoothness |smooth x|², with a weight for each row."""
    weighted = refine if weights is None else sp.diags(weights) @ refine
    normal = refine.T @ weighted + smoothness * smooth.T @ smooth + 1e-7 * sp.eye(refine.shape[1])
    solve = spl.splu(normal.tocsc()).solve
    return lambda targets: np.asarray(solve(np.ascontiguousarray(weighted.T @ targets)))


class HalfFit:
    """Symmetric control points of one level for targets at the left half of the finished skin."""

    def __init__(self, cage: Cage, level: int, smoothness: float, weights: Array | None = None) -> None:
        refine = refinement(cage, level)[cage.levels[-1].half]
        smooth = smoothing(cage, level)
        even, odd = spreading(cage, level)
        self._even = solver((refine @ even).tocsr(), smooth @ even, smoothness, weights)
        self._odd = solver((refine @ odd).tocsr(), smooth @ odd, smoothness, weights)

    def vectors(self, targets: Array) -> Array:
        """[half of the level, 3] for positions or displacements [half, 3]; x is odd, y and z are even."""
        return np.asarray(np.c_[self._odd(targets[:, :1]), self._even(targets[:, 1:])])

    def scalars(self, targets: Array) -> Array:
        """[half of the level] for numbers [half]."""
        return self._even(targets[:, None])[:, 0]


def refinement(cage: Cage, level: int) -> sp.csr_matrix:
    """The matrix from a level's control points to the finished skin."""
    refine = sp.eye(len(cage.levels[-1].mirror), format="csr")
    for step in reversed(cage.steps[level:]):
        refine = refine @ step
    return refine


def smoothing(cage: Cage, level: int) -> sp.csr_matrix:
    """The uniform Laplacian of a level."""
    return uniform_laplacian(edges_of(cage.levels[level].faces)[0], len(cage.levels[level].mirror))


def spreading(cage: Cage, level: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Matrices from the left half of a level to all of it, for even and for odd values."""
    mirror, half = cage.levels[level].mirror, cage.levels[level].half
    column = np.full(len(mirror), -1)
    column[half] = np.arange(len(half))
    left = column >= 0
    source = np.where(left, column, column[mirror])
    everyone: Index = np.arange(len(mirror))
    sign = np.where(mirror == everyone, 0.0, np.where(left, 1.0, -1.0))
    shape = (len(mirror), len(half))
    even = sp.csr_matrix((np.ones(len(mirror)), (everyone, source)), shape=shape)
    return even, sp.csr_matrix((sign, (everyone, source)), shape=shape)
