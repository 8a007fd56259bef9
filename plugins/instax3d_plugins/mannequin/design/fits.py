"""Control points by linear least squares: the subdivided cage passes through its targets with a given smoothness."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from scipy.optimize import nnls

from ..cage import Cage, edges_of
from ..table import Array, Index
from .contacts import Contacts
from .surface import uniform_laplacian

ROUNDS = 25
"""Rounds of contact detection per stage."""
MOST = 1200
"""Contacts after which a fit stops at the stage before."""
GIVE = 1e-6
"""How soft contacts are, relative to the softest direction of the fit, so that contradicting ones do no harm."""


@dataclass(frozen=True)
class AxisSolver:
    """One coordinate of the control points that a fit has free."""

    to_skin: sp.csr_matrix
    """[skin, free]."""
    solve: Callable[[Array], Array]
    """With the fit's normal matrix."""


@dataclass(frozen=True)
class Fit:
    """Control points of one level for targets at the finished skin."""

    axes: Sequence[AxisSolver]
    """Of x, y, z."""
    rows: Index
    """The skin's vertices that have targets."""
    weights: Array
    """[rows]."""

    @classmethod
    def of_whole(cls, cage: Cage, level: int, smoothness: float, weights: Array) -> "Fit":
        """A fit of all control points of a level, with a weight for each vertex [skin]."""
        refine = refinement(cage, level)
        solve = _solver(refine, smoothing(cage, level), smoothness, weights)
        return cls([AxisSolver(refine, solve)] * 3, np.arange(refine.shape[0]), weights)

    @classmethod
    def of_half(cls, cage: Cage, level: int, smoothness: float, weights: Array | None = None) -> "Fit":
        """A fit of the left half of a level, mirrored to the right one, for targets at the left half of the skin."""
        refine, smooth, rows = refinement(cage, level), smoothing(cage, level), cage.levels[-1].half
        weights = np.ones(len(rows)) if weights is None else weights
        even, odd = (
            AxisSolver(
                (refine @ spread).tocsr(), _solver((refine @ spread)[rows], smooth @ spread, smoothness, weights)
            )
            for spread in spreading(cage, level)
        )
        return cls([odd, even, even], rows, weights)

    def vectors(self, targets: Array) -> Array:
        """[free, 3] for positions or displacements [rows, 3]."""
        return np.stack(
            [
                axis.solve(axis.to_skin[self.rows].T @ (self.weights * target))
                for axis, target in zip(self.axes, targets.T, strict=True)
            ],
            1,
        )

    def scalars(self, targets: Array) -> Array:
        """[free] for numbers [rows] that are alike on both sides."""
        even = self.axes[1]
        return even.solve(even.to_skin[self.rows].T @ (self.weights * targets))

    def skin(self, controls: Array) -> Array:
        """[skin, 3] vertices of control points [free, 3]."""
        return np.stack([axis.to_skin @ c for axis, c in zip(self.axes, controls.T, strict=True)], 1)

    def pushes(self, contacts: Contacts) -> Array:
        """[contacts, free, 3] how the control points give way, with least cost, to a push on each contact."""
        pushed = [
            axis.solve((contacts.places @ axis.to_skin).T.toarray() * normal)
            for axis, normal in zip(self.axes, contacts.normals.T, strict=True)
        ]
        return np.stack(pushed, 2).transpose(1, 0, 2)

    def towards(self, contacts: Contacts) -> sp.csr_matrix:
        """[contacts, free * 3] how control points, flattened, take the places of each contact apart."""
        each = [
            (sp.diags(normal) @ contacts.places @ axis.to_skin).tocoo()
            for axis, normal in zip(self.axes, contacts.normals.T, strict=True)
        ]
        rows, columns = (np.concatenate([getattr(part, name) for part in each]) for name in ("row", "col"))
        columns = 3 * columns + np.repeat(np.arange(3), [part.nnz for part in each])
        shape = (len(contacts), 3 * each[0].shape[1])
        return sp.csr_matrix((np.concatenate([part.data for part in each]), (rows, columns)), shape=shape)

    def meeting(self, contacts: Contacts, pushes: Array) -> Array:
        """[contacts, contacts] how far each push takes the places of each contact apart."""
        return np.asarray(np.stack([contacts.apart(self.skin(push)) for push in pushes], 1))

    def apart(
        self,
        controls: Array,
        start: Array,
        before: Array,
        find: Callable[[Array, Array], Contacts],
        stages: int,
        rounded: Callable[[Array], Array] = lambda controls: controls,
    ) -> Array:
        """The control points closest to ``controls``, as the fit measures it, that keep all contacts apart.

        Quadratic programs, solved by their duals, each with the contacts found so far, until there is no new one.

        Args:
            controls: [free, 3] positions or displacements.
            start: [skin, 3] what these add to.
            before: [skin, 3] a state in which nothing touches.
            find: contacts between a state without any [skin, 3] and a later one.
            stages: in which the control points go from zero to ``controls``, so that each stage moves them only a
            little. rounded: rounding of the stored control points; contacts are detected in, and the result is, these.
        """
        contacts, pushes = Contacts.none(len(start)), np.zeros((0, *controls.shape))
        solution = reached = controls
        for stage in range(1, stages + 1):
            target = controls * (stage / stages)
            solution = target + (solution - controls * ((stage - 1) / stages) if stage > 1 else 0)
            for _ in range(ROUNDS):
                new = find(before, start + self.skin(rounded(solution)))
                if not len(new):
                    break
                if len(contacts) > MOST:
                    return reached
                contacts = contacts.and_also(new)
                pushes = np.concatenate([pushes, self.pushes(new)])
                meeting = self.meeting(contacts, pushes)
                lower = np.linalg.cholesky(meeting + GIVE * np.trace(meeting) / len(meeting) * np.eye(len(meeting)))
                missing = contacts.least - contacts.apart(start + self.skin(target))
                force, _ = nnls(lower.T, np.linalg.solve(lower, missing), maxiter=30 * len(missing))
                solution = target + np.tensordot(force, pushes, 1)
            else:
                return reached
            reached = rounded(solution)
            before = start + self.skin(reached)
        return reached


def _solver(refine: sp.spmatrix, smooth: sp.spmatrix, smoothness: float, weights: Array) -> Callable[[Array], Array]:
    """Solves with the normal matrix of |refine x - b|² (a weight for each row) + smoothness |smooth x|²."""
    normal = refine.T @ sp.diags(weights) @ refine + smoothness * smooth.T @ smooth + 1e-7 * sp.eye(refine.shape[1])
    solve = spl.splu(normal.tocsc()).solve
    return lambda right: np.asarray(solve(np.ascontiguousarray(right)))


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
