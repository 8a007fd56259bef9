"""How thick hair stands on the head: a smooth function on its surface, measured where the head's outline is seen,
absent where the photo shows skin, mirrored and interpolated elsewhere.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse.linalg import spsolve

from instax3d.geometry.landmarks68 import CHIN, RIGHT_BROW_MIDDLE
from instax3d.geometry.mesh import unique_edges
from instax3d.geometry.sample_image import sample
from instax3d.matting.masks import signed_distance

from .head import DEPTH_TOLERANCE, Head, mirrored_vertices
from .labels import HAIR
from .outline import Outline

ABSENT = -0.008
"""Thickness where there is certainly no hair, meters."""
THINNEST = 0.005
"""Thickness of hair that the photo shows lying on the head, meters."""
THICKEST = 0.09
BESIDE_FACE = 0.004
"""Hair this far inside the head's outline lies on the face rather than beside it, meters."""
# Chosen by eye on the eight photos of docs/template_views.md; thicknesses are plausible, not measured.
_STIFFNESS = 0.08
"""Of the thickness against differences between neighbors."""
_ROUNDNESS = 1e-6
"""Of the scalp's hair against changes of its surface's curvature, meters to the fourth."""
_RIM_WEIGHT, _MIRROR_WEIGHT, _SURE = 0.02, 0.1, 2.0
"""Weights of targets: of the outline's on the scalp, of the other side's, and of bare skin's; a measured one has 1."""
_GLIMPSED, _GRAZED = 0.12, 0.45
"""Least cosines at which the photo shows whether hair lies on the head, and whether it does beside a cheek's rim."""
_TURNED = 8.0
"""Degrees from which on one side of the head is copied from the other."""
_DIRECTIONS = 72
"""Directions in which the person's outline is compared with the hair's."""
_TRIMS = 2
"""How often hair that stands beyond the outline is thinned."""
_TOLERANCE = 0.0005
"""Meters beyond the outline that do not matter."""
_EAR_SURELY_HIDDEN = 0.85
"""Share of hair over one ear above which it is hidden although the other one shows."""


def hidden_ears(head: Head, outline: Outline) -> Bool[ndarray, "n"]:
    """Vertices of the ears that lie under hair in the photo; an ear out of sight is taken to be like the other."""
    at = head.camera.project(head.vertices)
    on_hair = sample((outline.part == HAIR).astype(np.float32), at) > 0.5
    seen = seen_skin(head, outline, at, 0.0)
    ears = head.regions["ears"]
    # hair may lie over the top of an ear that shows
    lower = head.neutral[:, 1] < np.quantile(head.neutral[ears, 1], 0.6)
    sides = [ears & (head.neutral[:, 0] * sign > 0) for sign in (1, -1)]
    visible = [ear & lower & seen for ear in sides]
    # negative: this ear is not visible
    shares = [float(on_hair[ear].mean()) if ear.sum() >= 15 else -1.0 for ear in visible]
    known = [share for share in shares if share >= 0]
    # most heads show both ears or none
    both = bool(known) and float(np.mean(known)) > 0.5
    hidden = [both or share > _EAR_SURELY_HIDDEN for share in shares]
    covered: ndarray = np.logical_or.reduce([ear & hide for ear, hide in zip(sides, hidden, strict=True)])
    return covered


def seen_skin(head: Head, outline: Outline, at: Float[ndarray, "n 3"], facing: float) -> Bool[ndarray, "n"]:
    """Skin vertices that the photo shows at no less than a cosine; ``at`` is where they project to."""
    depth = sample(np.where(head.raster.mask, head.raster.depth, 0), at)
    towards = head.camera.facing(head.vertices, head.normals) > facing
    inside = sample(outline.valid.astype(np.float32), at) > 0.9
    seen: ndarray = towards & (np.abs(at[:, 2] - depth) < DEPTH_TOLERANCE) & head.skin & inside
    return seen


@dataclass(frozen=True, eq=False)
class _Rim:
    """The head's outline in the photo."""

    vertices: Int[ndarray, "m"]
    """Rising."""
    reach: Float[ndarray, "m"]
    """Of the hair outwards from it, meters."""
    cut: Bool[ndarray, "m"]
    """Where the photo's edge cuts the hair off."""
    scalp: Bool[ndarray, "m"]
    typical: float
    """Median reach on the scalp, meters."""


@dataclass(frozen=True, eq=False)
class _Targets:
    """Thickness that the photo or a prior asks for over each vertex."""

    value: Float[ndarray, "n"]
    """Meters."""
    weight: Float[ndarray, "n"]

    def set(
        self,
        where: Bool[ndarray, "n"] | Int[ndarray, "m"],
        value: Float[ndarray, "m"] | float,
        weight: Float[ndarray, "m"] | float,
    ) -> None:
        """Replace what some vertices are asked for."""
        self.value[where], self.weight[where] = value, weight


class _ThicknessSolver:
    """Least squares of differences between neighbors, of changes of the hair's curvature, and to the targets."""

    def __init__(self, head: Head, hairy: Bool[ndarray, "n"]) -> None:
        """``hairy``: where hair has at least `THINNEST`."""
        scalp, count = head.regions["scalp"], len(head.vertices)
        edges, _ = unique_edges(head.faces)
        links = sp.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
        links = (links + links.T).tocsr()
        laplacian = sp.diags(np.asarray(links.sum(1)).ravel()) - links
        curvature, bend = _bending(head, links, thickness_counts=scalp & (links @ ~scalp == 0))
        self._stiffness = _STIFFNESS * laplacian + _ROUNDNESS * bend.T @ bend
        self._flat = _ROUNDNESS * bend.T @ curvature
        self._hairy = hairy

    def solve(self, targets: _Targets) -> Float[ndarray, "n"]:
        """Thickness over each vertex, meters."""
        system = (sp.diags(targets.weight + 1e-6) + self._stiffness).tocsc()
        solved = spsolve(system, targets.weight * targets.value - self._flat)
        return np.asarray(np.where(self._hairy, np.maximum(solved, THINNEST), np.clip(solved, ABSENT, THICKEST)))


def hair_thickness(
    head: Head, covered_ears: Bool[ndarray, "n"], outline: Outline
) -> tuple[Float[ndarray, "n"], Bool[ndarray, "n"]]:
    """Thickness of the hair over each vertex of the head in meters, negative where there is none; and where the photo
    shows hair lying on the head.

    Minimizes the squared differences between neighbors, the changes of the scalp hair's curvature (so that it is round
    where a skull is flat) and the differences to what the photo shows. What it does not show is then copied from the
    other side, and the whole solved again.
    """
    scalp = head.regions["scalp"]
    at = head.camera.project(head.vertices)
    seen = seen_skin(head, outline, at, _GLIMPSED)
    covered, bare = _covered_and_bare(head, covered_ears, outline, at, seen)
    rim = _measure_rim(head, outline)
    targets = _first_targets(head, covered_ears, covered, bare, rim)
    on_rim = np.isin(np.arange(len(scalp)), rim.vertices)
    solver = _ThicknessSolver(head, covered | (scalp | covered_ears) & ~seen & ~on_rim)

    thickness = solver.solve(targets)
    candidates = rim.vertices[rim.scalp & (rim.reach > 0) & ~rim.cut]
    contacts = _contacts(head, candidates, standing_out(head, outline, thickness))
    targets.set(contacts, rim.reach[np.searchsorted(rim.vertices, contacts)], 1.0)
    thickness = solver.solve(targets)
    for _ in range(_TRIMS):
        excess = standing_out(head, outline, thickness)
        over = scalp & (excess > _TOLERANCE)
        targets.set(over, (thickness - excess)[over], 1.0)
        thickness = solver.solve(targets)
    if abs(head.camera.azimuth) > _TURNED:
        mirror = mirrored_vertices(head.neutral)
        unseen = ~seen & ~on_rim & (seen[mirror] | on_rim[mirror])
        targets.set(unseen, thickness[mirror][unseen], _MIRROR_WEIGHT)
        thickness = solver.solve(targets)
    return thickness, covered


def _covered_and_bare(
    head: Head,
    covered_ears: Bool[ndarray, "n"],
    outline: Outline,
    at: Float[ndarray, "n 3"],
    seen: Bool[ndarray, "n"],
) -> tuple[Bool[ndarray, "n"], Bool[ndarray, "n"]]:
    """The vertices on which the photo shows hair, and those on which it shows skin."""
    region = head.regions
    hair = sample((outline.part == HAIR).astype(np.float32), at)
    bare = seen & ~covered_ears & (hair < 0.3) & (sample((outline.part > 0).astype(np.float32), at) > 0.7)
    # where a cheek turns away, hair behind it is easily taken for hair on it; not on the side turned to the camera
    turned_to = head.vertices[:, 0] * np.sin(np.radians(head.camera.azimuth)) > 0.2 * np.abs(head.vertices[:, 0])
    at_rim = sample(signed_distance(head.raster.mask), at) * outline.meters_per_pixel < BESIDE_FACE
    below_brow = head.vertices[:, 1] < head.landmarks[RIGHT_BROW_MIDDLE, 1]
    grazing = region["face"] & below_brow & ~seen_skin(head, outline, at, _GRAZED) & at_rim & ~turned_to
    return seen & (hair > 0.7) & ~region["lips"] & ~grazing, bare


def _measure_rim(head: Head, outline: Outline) -> _Rim:
    """How far hair stands out beyond the head's outline."""
    scalp, ears = head.regions["scalp"], head.vertices[head.regions["ears"]]
    rim = head.rim()
    rim = rim[head.vertices[rim, 1] > head.landmarks[CHIN, 1] - 0.03]
    reach, cut = _rim_reach(head, outline, rim)
    whole = scalp[rim] & ~cut
    typical = float(np.median(reach[whole])) if whole.any() else 0.01
    # what hangs beside the jaw and the neck does not lie on them
    below = head.vertices[rim, 1] < ears[:, 1].min()
    reach = np.where(below, np.minimum(reach, typical + 0.01), reach)
    return _Rim(rim, reach, cut, scalp[rim], typical)


def _first_targets(
    head: Head,
    covered_ears: Bool[ndarray, "n"],
    covered: Bool[ndarray, "n"],
    bare: Bool[ndarray, "n"],
    rim: _Rim,
) -> _Targets:
    """Priors first; what the photo shows overrides them."""
    region, count = head.regions, len(head.vertices)
    targets = _Targets(np.zeros(count), np.zeros(count))
    targets.set(region["scalp"], 0.9 * max(rim.typical, THINNEST), 0.002)
    before_ears = head.vertices[:, 2] > np.median(head.vertices[region["ears"], 2]) + 0.03
    targets.set((region["face"] & before_ears | region["lips"] | region["neck"]) & ~covered, ABSENT, 0.02)
    targets.set(bare, ABSENT, _SURE)
    # one of the places on a line of sight reaches the outline, not all of them
    weight = np.where(rim.scalp & (rim.reach > 0), _RIM_WEIGHT, 1.0)
    targets.set(rim.vertices, np.where(rim.reach > 0, rim.reach, np.where(rim.scalp, 0.002, ABSENT)), weight)
    beyond = np.clip(rim.reach[rim.cut] + 0.005, 0.7 * rim.typical, rim.typical + 0.01)
    targets.set(rim.vertices[rim.cut], beyond, 0.3)
    targets.set(region["ears"] & ~covered_ears, ABSENT, _SURE)
    return targets


def standing_out(head: Head, outline: Outline, thickness: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """How far hair of that thickness stands out of the person's outline over each vertex, meters along the normal."""
    at = head.camera.project(head.vertices + np.maximum(thickness, 0)[:, None] * head.normals)
    slope = np.stack(np.gradient(cv2.GaussianBlur(outline.person, (0, 0), 3))[::-1], 2)
    outwards = -(sample(slope, at) / outline.meters_per_pixel * (head.normals @ head.camera.viewmat[:2, :3].T)).sum(1)
    return np.asarray(np.where(outwards > 0.3, -sample(outline.person, at) / np.maximum(outwards, 0.3), 0))


def _contacts(head: Head, rim: Int[ndarray, "m"], excess: Float[ndarray, "n"]) -> Int[ndarray, "k"]:
    """Of the vertices on the head's outline those that come nearest to the person's, one for each direction from the
    head's middle in the photo.
    """
    at = head.camera.project(head.vertices[rim])[:, :2]
    x, y = (at - np.median(at, axis=0)).T if len(at) else np.zeros((2, 0))
    direction = np.floor(np.arctan2(y, x) * _DIRECTIONS / (2 * np.pi)).astype(int)
    order = np.lexsort((-excess[rim], direction))
    first = np.r_[True, np.diff(direction[order]) != 0][: len(order)]
    return np.sort(rim[order[first]])


def _bending(
    head: Head, links: sp.csr_matrix, thickness_counts: Bool[ndarray, "n"]
) -> tuple[Float[ndarray, "e"], sp.csr_matrix]:
    """Differences of mean curvature along the edges of a part of the head, per meter: its own, and what a layer of a
    thickness (meters) adds to them, as a matrix.

    The curvature at a vertex is the mean of its edges' normal curvatures 2 n (p_j - p_i) / |p_j - p_i|^2.
    """
    first, second = links.nonzero()
    between = thickness_counts[first]
    first, second = first[between], second[between]
    count = len(head.vertices)
    along = head.vertices[second] - head.vertices[first]
    squared = np.maximum((along**2).sum(1), 1e-8)
    share = 2 / squared / np.maximum(np.bincount(first, minlength=count), 1)[first]
    own = np.bincount(first, share * (head.normals[first] * along).sum(1), count)
    cosine = (head.normals[first] * head.normals[second]).sum(1)
    added = sp.coo_matrix((np.r_[share * cosine, -share], (np.r_[first, first], np.r_[second, first])), (count, count))
    kept = thickness_counts[second] & (first < second)
    edges = np.arange(int(kept.sum()))
    steps = sp.coo_matrix(
        (np.repeat([1.0, -1.0], len(edges)), (np.r_[edges, edges], np.r_[second[kept], first[kept]])),
        (len(edges), count),
    ).tocsr()
    return steps @ own, (steps @ added.tocsr()).tocsr()


def _rim_reach(head: Head, outline: Outline, rim: Int[ndarray, "m"]) -> tuple[Float[ndarray, "m"], Bool[ndarray, "m"]]:
    """Reach of the hair outwards from the head's outline in meters, and whether the photo's edge cuts it off."""
    at = head.camera.project(head.vertices[rim])[:, :2]
    outwards = head.normals[rim] @ head.camera.viewmat[:2, :3].T
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-6)
    reach, gap, cut = np.zeros(len(rim)), np.zeros(len(rim)), np.zeros(len(rim), bool)
    hair, valid = (outline.part == HAIR) & (outline.person > 0), outline.valid.astype(np.float32)
    soft = hair.astype(np.float32)
    step = 1.5
    for k in range(int(THICKEST / outline.meters_per_pixel / step)):
        points = at + k * step * outwards
        inside = sample(valid, points) > 0.5
        here = (sample(soft, points) > 0.5) & (gap < 6)
        cut |= here & ~inside
        here &= inside
        reach = np.where(here, k * step, reach)
        gap = np.where(here, 0, gap + 1)
    return reach * outline.meters_per_pixel, cut
