"""The last touch on the neutral: its finished triangles are moved as close to the reference as they can lie.

Control points alone leave the skin inside every bulge, for its triangles are chords, and crease it where the cage is
coarse. So each vertex of the finished skin gets a small displacement of its own.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl

from ..cage import boundary_loops, edges_of
from ..regions import Mask
from ..table import Array
from .contacts import Contacts
from .fits import AxisSolver, Fit, spreading
from .half import Half
from .measure import Skin
from .surface import ClosestPointMesh, uniform_laplacian, vertex_normals

ROUNDS = 5
TO_REFERENCE = 0.3
"""Weight of each skin vertex's own closest point, beside 1 for each vertex of the reference."""
STAY = 0.02
"""Weight of the place that the control points give."""
SMOOTHNESS = 4.0
"""Weight of the displacements' Laplacian ..."""
FINE = 0.35
"""... where edges are this long (cm); it falls with the square of their length, so that coarse places give way too."""
NOSTRIL_EDGES = 3
"""Edges around the nostrils where the surface itself is smoothed, as control points leave their rims jagged, and ..."""
NOSTRIL_SMOOTHNESS = 1.0
"""... the weight of the surface's Laplacian there."""
NOSTRIL_STAYS = 1.0
"""There the reference is left out, and the control points' place has this weight: the walls must not fold."""
FARTHEST = 0.5
"""Centimeters beyond which, and ..."""
FACING = 0.5
"""... cosine of normals below which, a closest point is another part of the surface."""
STAGES = 2


def fitted_detail(skin: Skin, half: Half, nostrils: Mask, *still: Mask) -> Array:
    """Displacements [half of the skin, 3] of the neutral.

    The base and the masks of ``still`` stay: lids and lips, which control points follow closely and which touch in
    expressions; so crossings of these and of shape components can be resolved without detail.

    Args:
        skin: without detail.
        half: of the reference.
        nostrils: [skin] the vertices in them.
        still: [skin] vertices that stay, and so do those beside them.
    """
    faces, left = skin.cage.levels[-1].faces, skin.cage.levels[-1].half
    fixed = np.zeros(len(skin.vertices), bool)
    fixed[np.concatenate(boundary_loops(faces))] = True
    edges = edges_of(faces)[0]
    laplacian = uniform_laplacian(edges, len(fixed))
    for mask in still:
        fixed |= (laplacian @ mask != 0) | mask
    spread = [matrix[:, ~fixed[left]] for matrix in spreading(skin.cage, len(skin.cage.steps))]
    lengths = np.linalg.norm(skin.vertices[edges[:, 0]] - skin.vertices[edges[:, 1]], axis=1)
    length = np.bincount(edges.ravel(), np.repeat(lengths, 2)) / np.bincount(edges.ravel())
    stiff = SMOOTHNESS * laplacian.T @ sp.diags(np.minimum(1, (FINE / length) ** 2)) @ laplacian
    around = nostrils.astype(float)
    for _ in range(NOSTRIL_EDGES):
        around = ((laplacian @ around != 0) | (around > 0)).astype(float)
    bending = NOSTRIL_SMOOTHNESS * laplacian.T @ sp.diags(around) @ laplacian
    reference, reference_normals = (
        ClosestPointMesh(half.vertices, half.faces),
        vertex_normals(half.vertices, half.faces),
    )
    start = skin.vertices
    moved, detail = start, np.zeros((int((~fixed[left]).sum()), 3))
    for _ in range(ROUNDS):
        surface = ClosestPointMesh(moved, faces)
        closest, distance, _ = surface.closest(half.vertices)
        matched = (distance < FARTHEST) & ((surface.normals(closest) * reference_normals).sum(1) > FACING)
        there, far, _ = reference.closest(moved[left])
        own = vertex_normals(moved, faces)[left]
        mine = (far < FARTHEST) & ((reference.normals(there) * own).sum(1) > FACING)
        rows = sp.vstack([surface.interpolation(half.vertices)[matched], sp.eye(len(start), format="csr")[left[mine]]])
        weights = np.r_[np.ones(matched.sum()), np.full(mine.sum(), TO_REFERENCE)]
        weights *= rows @ around <= 0.5
        targets = np.vstack([half.vertices[matched], there[mine]]) - rows @ start
        normal = (
            rows.T @ sp.diags(weights) @ rows + sp.diags(np.where(around > 0, NOSTRIL_STAYS, STAY)) + stiff + bending
        )
        even, odd = (AxisSolver(s, _solver((s.T @ normal @ s).tocsc())) for s in spread)
        axes = [odd, even, even]
        right = rows.T @ (weights[:, None] * targets) - bending @ start
        detail = np.stack([axis.solve(axis.to_skin.T @ r) for axis, r in zip(axes, right.T, strict=True)], 1)
        moved = start + Fit(axes, left, np.ones(len(left))).skin(detail)

    def find(before: Array, after: Array) -> Contacts:
        return skin.too_close(before, after)

    apart = Fit(axes, left, np.ones(len(left))).apart(detail, start, start, find, STAGES, skin.whole_counts)
    displacements = np.zeros((len(left), 3))
    displacements[~fixed[left]] = apart
    return displacements


def _solver(normal: sp.csc_matrix) -> Callable[[Array], Array]:
    solve = spl.splu(normal + 1e-9 * sp.eye(normal.shape[0], format="csc")).solve
    return lambda right: np.asarray(solve(np.ascontiguousarray(right)))
