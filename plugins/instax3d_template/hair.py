"""Hair as a volume: a layer of varying thickness over the skull, hanging down where it is long, carved by the photo.

The thickness is a smooth function on the head's surface: measured where the head's outline is seen, absent where the
photo shows skin, mirrored and interpolated elsewhere.
"""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

from instax3d.mesh import subdivide, unique_edges, vertex_normals
from instax3d.resample import sample

from .bust import Bust
from .head import Head, mirrored_vertices
from .labels import HAIR
from .matting import signed_distance
from .outline import Outline
from .volume import Grid, kept_vertices, relax, smoothstep, without_specks

_CELL = 0.004
_SMOOTHED_AWAY = 0.003
"""What smoothing takes off the hair, metres."""
_ABSENT = -0.008
"""Thickness where there is surely no hair, metres."""
_THINNEST = 0.005
"""Thickness of hair that the photo shows lying on the head, metres."""
_THICKEST = 0.09
_SHEET = 0.012
"""Hair lying on the back or on the chest, metres."""
_HANGING = -0.02
"""Hair that reaches this far below the chin (here: above it) hangs down also behind, metres."""
_BESIDE_FACE = 0.004
"""Hair this far inside the head's outline lies on the face rather than beside it, metres."""
_DRAWN_IN = 0.12
"""Hanging hair draws in by this share of the height it falls."""
_BEYOND_PHOTO = 0.012
"""Hair on the chest goes on so far beyond the photo's edge, metres."""
_SPECK = 0.06
"""Separate pieces with less than this share of the hair's surface are dropped."""
_BURIED = 0.006
"""Hair this deep inside the body is never seen, metres."""
_BIN = 6
"""Pixels of the squares in which lines of sight are gathered."""
_MOST_LIFT = 0.03
"""Metres; what lacks more is not the head's hair."""
_SPREADING = 0.1
"""Hanging hair spreads by at most this share of the height it falls."""
_THINNING = 0.02
"""Hair thins out over about this length at its end, metres."""
_EAR_SURELY_HIDDEN = 0.85
"""Share of hair over one ear above which it is hidden although the other one shows."""
_LONGEST = 0.22
"""Long hair ends at most this far below the chin, metres."""


def hidden_ears(head: Head, outline: Outline) -> Bool[ndarray, "n"]:
    """Vertices of the ears that lie under hair in the photo; an ear out of sight is taken to be like the other."""
    at = head.camera.project(head.vertices)
    on_hair = sample((outline.part == HAIR).astype(np.float32), at) > 0.5
    seen = _seen(head, outline, at, 0.0)
    ears = head.regions["ears"]
    # hair may lie over the top of an ear that shows
    lower = head.neutral[:, 1] < np.quantile(head.neutral[ears, 1], 0.6)
    sides = [ears & (head.neutral[:, 0] * sign > 0) for sign in (1, -1)]
    # negative: nothing to be seen of this ear
    shown = [ear & lower & seen for ear in sides]
    shares = [float(on_hair[ear].mean()) if ear.sum() >= 15 else -1.0 for ear in shown]
    told = [share for share in shares if share >= 0]
    # most heads show both ears or none
    both = bool(told) and float(np.mean(told)) > 0.5
    hidden = [both or share > _EAR_SURELY_HIDDEN for share in shares]
    covered: ndarray = np.logical_or.reduce([ear & hide for ear, hide in zip(sides, hidden, strict=True)])
    return covered


def mesh_hair(
    head: Head, covered_ears: Bool[ndarray, "v"], bust: Bust, outline: Outline, body_depth: Float[ndarray, "s s"]
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"], Float[ndarray, "n 3"]]:
    """Surface of the hair, closed but for where it ends inside the body: vertices, faces, normals; empty for no hair.

    In ``head`` the ears that hair covers are flat; ``body_depth`` is the depth at which the photo sees head and
    bust, infinite elsewhere.
    """
    thickness, covered = hair_thickness(head, covered_ears, outline)
    fall = _measure_fall(head, bust, outline)
    skin = head.vertices[head.skin]
    margin = float(np.clip(thickness.max(), 0.01, _THICKEST)) + 0.015
    low, high = skin[skin[:, 1] > head.landmarks[8, 1]].min(0) - margin, skin.max(0) + margin
    low[1] = min(head.landmarks[8, 1] - 0.03, fall.back - 0.01)
    if fall.hangs:
        wide = 0.02 + max(fall.left.max(), fall.right.max())
        low[0], high[0] = min(low[0], bust.origin[0] - wide), max(high[0], bust.origin[0] + wide)
        low[2] = min(low[2], bust.origin[2] - bust.back.max() - 2 * _SHEET)
        high[2] = max(high[2], bust.origin[2] + bust.front.max() + 2 * _SHEET)
    grid = Grid.over(low, high, _CELL)
    layer, distance, lying = _layer(head, thickness, covered, grid)
    field = layer.ravel()
    if fall.hangs:
        field = np.maximum(field, _hanging(grid, layer, head, bust, fall).ravel())
    field = _carve(field, distance.ravel(), lying.ravel(), grid, head, bust, outline, body_depth, fall)
    vertices, faces = grid.surface(field.reshape(grid.shape), 0.9)
    if not len(vertices):
        return vertices, faces, vertices
    # what the body hides connects tufts that would be seen apart
    vertices, faces = kept_vertices(vertices, faces, bust.field(vertices) < _BURIED)
    vertices, faces = without_specks(vertices, faces, _SPECK)
    relaxed, normals = relax(vertices, faces, 3)
    return relaxed, faces, normals


def _seen(head: Head, outline: Outline, at: Float[ndarray, "n 3"], facing: float) -> Bool[ndarray, "n"]:
    """Skin vertices that the photo shows at no less than a cosine; ``at`` is where they project to."""
    depth = sample(np.where(head.raster.mask, head.raster.depth, 0), at)
    towards = head.camera.facing(head.vertices, head.normals) > facing
    inside = sample(outline.valid.astype(np.float32), at) > 0.9
    seen: ndarray = towards & (np.abs(at[:, 2] - depth) < 0.004) & head.skin & inside
    return seen


def hair_thickness(
    head: Head, covered_ears: Bool[ndarray, "n"], outline: Outline
) -> tuple[Float[ndarray, "n"], Bool[ndarray, "n"]]:
    """Thickness of the hair over each vertex of the head in metres, negative where there is none; and where the photo
    shows hair lying on the head.

    Minimises the squared differences between neighbours and to what the photo tells. What it does not show is then
    told by the other side, and the whole solved again.
    """
    count = len(head.vertices)
    value, weight = np.zeros(count), np.zeros(count)
    region = head.regions
    scalp, ears = region["scalp"], head.vertices[region["ears"]]

    def tell(which: ndarray, amount: ndarray | float, how_sure: float) -> None:
        value[which], weight[which] = amount, how_sure

    at = head.camera.project(head.vertices)
    seen = _seen(head, outline, at, 0.12)
    hair = sample((outline.part == HAIR).astype(np.float32), at)
    bare = seen & ~covered_ears & (hair < 0.3) & (sample((outline.part > 0).astype(np.float32), at) > 0.7)
    # where a cheek turns away, hair behind it is easily taken for hair on it; not on the side turned to the camera
    turned_to = head.vertices[:, 0] * np.sin(np.radians(head.camera.azimuth)) > 0.2 * np.abs(head.vertices[:, 0])
    at_rim = sample(signed_distance(head.raster.mask), at) * outline.metres_per_pixel < _BESIDE_FACE
    grazing = (
        region["face"]
        & (head.vertices[:, 1] < head.landmarks[19, 1])
        & ~_seen(head, outline, at, 0.45)
        & at_rim
        & ~turned_to
    )
    covered = seen & (hair > 0.7) & ~region["lips"] & ~grazing
    rim = head.rim()
    rim = rim[head.vertices[rim, 1] > head.landmarks[8, 1] - 0.03]
    measured, cut = _rim_thickness(head, outline, rim)
    whole = scalp[rim] & ~cut
    typical = float(np.median(measured[whole])) if whole.any() else 0.01
    # what hangs beside the jaw and the neck is no layer on them
    below = head.vertices[rim, 1] < ears[:, 1].min()
    measured = np.where(below, np.minimum(measured, typical + 0.01), measured)

    tell(scalp, 0.9 * max(typical, _THINNEST), 0.002)
    before_ears = head.vertices[:, 2] > np.median(ears[:, 2]) + 0.03
    tell((region["face"] & before_ears | region["lips"] | region["neck"]) & ~covered, _ABSENT, 0.02)
    tell(bare, _ABSENT, 2.0)
    tell(rim, np.where(measured > 0, measured, np.where(scalp[rim], 0.002, _ABSENT)), 1.0)
    tell(rim[cut], np.clip(measured[cut] + 0.005, 0.7 * typical, typical + 0.01), 0.3)
    tell(region["ears"] & ~covered_ears, _ABSENT, 2.0)

    edges, _ = unique_edges(head.faces)
    links = sp.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    links = (links + links.T).tocsr()
    laplacian = sp.diags(np.asarray(links.sum(1)).ravel()) - links

    hairy = covered | (scalp | covered_ears) & ~seen & ~np.isin(np.arange(count), rim)

    def solve() -> ndarray:
        solved = spsolve((sp.diags(weight + 1e-6) + 0.08 * laplacian).tocsc(), weight * value)
        return np.asarray(np.where(hairy, np.maximum(solved, _THINNEST), np.clip(solved, _ABSENT, _THICKEST)))

    thickness = solve()
    if abs(head.camera.azimuth) > 8:
        mirror = mirrored_vertices(head.neutral)
        told = np.zeros(count, bool)
        told[rim] = True
        lent = ~seen & ~told & (seen[mirror] | told[mirror])
        tell(lent, thickness[mirror][lent], 0.1)
        thickness = solve()
    return thickness, covered


def _rim_thickness(
    head: Head, outline: Outline, rim: Int[ndarray, "m"]
) -> tuple[Float[ndarray, "m"], Bool[ndarray, "m"]]:
    """Reach of the hair outwards from the head's outline in metres, and whether the photo's edge cuts it off."""
    at = head.camera.project(head.vertices[rim])[:, :2]
    outwards = head.normals[rim] @ head.camera.viewmat[:2, :3].T
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-6)
    reach, gap, cut = np.zeros(len(rim)), np.zeros(len(rim)), np.zeros(len(rim), bool)
    hair, valid = (outline.part == HAIR) & (outline.person > 0), outline.valid.astype(np.float32)
    soft = hair.astype(np.float32)
    step = 1.5
    for k in range(int(_THICKEST / outline.metres_per_pixel / step)):
        points = at + k * step * outwards
        inside = sample(valid, points) > 0.5
        here = (sample(soft, points) > 0.5) & (gap < 6)
        cut |= here & ~inside
        here &= inside
        reach = np.where(here, k * step, reach)
        gap = np.where(here, 0, gap + 1)
    return reach * outline.metres_per_pixel, cut


@dataclass(frozen=True)
class _Fall:
    """Hair below the ears."""

    drop: Float[ndarray, "rows"]
    """Below the chin, metres."""
    left: Float[ndarray, "rows"]
    right: Float[ndarray, "rows"]
    """Reach to both sides of the neck's middle."""
    ends: tuple[float, float]
    """World heights where the hair ends on the left and on the right."""

    @property
    def hangs(self) -> bool:
        """Whether any hair hangs below the ears."""
        return bool(len(self.drop))

    def reach(self, points: Float[ndarray, "n 3"], bust: Bust) -> Float[ndarray, "n"]:
        """How far sideways the hair reaches at the height, and on the side, of each point."""
        drop = bust.origin[1] - points[:, 1]
        on_left = points[:, 0] >= bust.origin[0]
        return np.asarray(
            np.where(on_left, np.interp(drop, self.drop, self.left), np.interp(drop, self.drop, self.right))
        )

    def end(self, points: Float[ndarray, "n 3"], bust: Bust) -> Float[ndarray, "n"]:
        """World height where the hair ends in front, on the side of each point."""
        return np.where(points[:, 0] >= bust.origin[0], *self.ends)

    @property
    def back(self) -> float:
        """World height where the hair ends behind."""
        return min(self.ends)


def _measure_fall(head: Head, bust: Bust, outline: Outline) -> _Fall:
    """How wide and how far down the hair hangs on both sides in the photo."""
    chin = float(head.landmarks[8, 1])
    drop = np.arange(-0.06, _LONGEST + 0.004, 0.004)
    across = np.arange(0.0, 0.20, 0.002)
    inside_photo = outline.valid.astype(np.float32)
    soft = ((outline.part == HAIR) & (outline.person > 0)).astype(np.float32)
    reaches, ends = [], []
    for sign in (1.0, -1.0):
        grid = bust.origin + sign * across[None, :, None] * bust.axes[0] - drop[:, None, None] * np.array([0, 1.0, 0])
        at = head.camera.project(grid.reshape(-1, 3))
        valid = sample(inside_photo, at).reshape(len(drop), -1) > 0.5
        hair = (sample(soft, at).reshape(len(drop), -1) > 0.5) & valid
        rows = hair.sum(1) >= 4
        # from the ears down without a gap
        last = len(drop) if rows.all() else int(np.argmin(rows))
        end = float(drop[last - 1]) if last else float(drop[0])
        if last and not valid[min(last, len(drop) - 1)].any():
            end = min(end + 0.08, _LONGEST)  # the photo ends before the hair
        reach = across[len(across) - 1 - hair[:, ::-1].argmax(1)] * hair.any(1)
        reaches.append(np.where(np.arange(len(drop)) < last, reach, 0.0))
        ends.append(end)
    if abs(head.camera.azimuth) > 12:  # the far side hides behind the face
        ends = [max(ends)] * 2
        reaches = [np.maximum(reach, 0.8 * other) for reach, other in zip(reaches, reaches[::-1], strict=True)]
    if max(ends) < _HANGING:
        none = np.zeros(0)
        return _Fall(none, none, none, (chin, chin))
    # where the photo ends, go on as wide as above
    filled = [np.maximum(np.maximum.accumulate(0.9 * reach), reach) for reach in reaches]
    left, right = (ndimage.gaussian_filter1d(reach, 2.5, mode="nearest") for reach in filled)
    return _Fall(drop, left, right, (chin - ends[0], chin - ends[1]))


def _layer(
    head: Head, thickness: Float[ndarray, "n"], covered: Bool[ndarray, "n"], grid: Grid
) -> tuple[Float[ndarray, "x y z"], Float[ndarray, "x y z"], Float[ndarray, "x y z"]]:
    """Thickness minus distance, signed distance to the head (negative inside), nearness to covered skin (0-1)."""
    carried = np.concatenate([head.vertices, thickness[:, None], covered[:, None]], 1)
    dense, faces = subdivide(carried, head.skin_faces)
    used = np.unique(faces)
    normals = vertex_normals(dense[:, :3], faces)[used]
    dense = dense[used]
    coarse = grid.coarser(2)
    points = coarse.points
    farthest = max(float(thickness.max()), 0.0) + 0.02
    length, nearest = cKDTree(dense[:, :3]).query(points, k=3, workers=-1, distance_upper_bound=farthest)
    near = np.isfinite(length).all(1)
    length, nearest = length[near], nearest[near]
    outside = ((points[near] - dense[nearest[:, 0], :3]) * normals[nearest[:, 0]]).sum(1) >= 0
    closeness = 1 / (length + 1e-4)
    values = (dense[nearest, 3:] * closeness[..., None]).sum(1) / closeness.sum(1, keepdims=True)
    fields = np.tile(np.array([_ABSENT, 0.0, farthest], np.float32), (len(points), 1))
    fields[near] = np.c_[values, np.where(outside, length[:, 0], -length[:, 0])]
    thick, lying, distance = (coarse.resample(fields[:, k].reshape(coarse.shape), grid) for k in range(3))
    return thick + _SMOOTHED_AWAY - distance, distance, lying


def _hanging(
    grid: Grid, layer: Float[ndarray, "x y z"], head: Head, bust: Bust, fall: _Fall
) -> Float[ndarray, "x y z"]:
    """Hair that falls straight down from wherever it stands off the head, widened to what the photo shows."""
    points = grid.points.reshape(*grid.shape, 3)
    x, y, z = (points[..., k] for k in range(3))
    # the lowest row comes first
    falling = layer + _DRAWN_IN * y
    drape = np.maximum.accumulate(falling[:, ::-1], axis=1)[:, ::-1] - _DRAWN_IN * y

    ears = head.vertices[head.regions["ears"], 1]
    row = int(np.clip(round((ears.min() - grid.low[1]) / grid.step), 0, grid.shape[1] - 1))
    centre, columns = bust.origin[0], x[:, 0, 0]
    filled = columns[(drape[:, row] > 0).any(1)]
    if not len(filled):
        return np.full(grid.shape, -0.05)
    on_left = x >= centre
    own = np.where(on_left, max(filled.max() - centre, 0.05), max(centre - filled.min(), 0.05))
    reach = fall.reach(points.reshape(-1, 3), bust).reshape(grid.shape)
    stretch = np.clip(np.where(reach > 0.03, reach, own) / own, 0.8, 1.4)
    # from the middle of the ears on, so that it joins without a step
    stretch = 1 + (stretch - 1) * smoothstep(np.median(ears) - y, 0.0, 0.05)
    at = (centre + (x - centre) / stretch - grid.low[0]) / grid.step
    below = np.clip(at.astype(int), 0, grid.shape[0] - 2)
    part = np.clip(at - below, 0, 1)
    hanging = (1 - part) * np.take_along_axis(drape, below, 0) + part * np.take_along_axis(drape, below + 1, 0)
    # on the back and the shoulders it lies as a sheet
    lying = _SHEET + bust.field(points.reshape(-1, 3)).reshape(grid.shape)
    lying = np.minimum(lying, 0.3 * (bust.origin[2] - z))
    lying = np.minimum(lying, 0.5 * (0.9 * own * stretch - np.abs(x - centre)))
    field = np.maximum(hanging, np.where(y < np.median(ears), lying, -0.05))
    return _rounded(field, fall.back, y)


def _hanging_from_above(field: Float[ndarray, "x y z"], row: int) -> Float[ndarray, "x y z"]:
    """The field without what, below a row, has no hair above it: photos tell nothing below their edge."""
    field = field.copy()
    for y in range(min(row, field.shape[1] - 2), -1, -1):
        np.minimum(field[:, y], field[:, y + 1] + _SPREADING * _CELL, out=field[:, y])
    return field


def _rounded(
    field: Float[ndarray, "*n"], end: Float[ndarray, "*n"] | float, y: Float[ndarray, "*n"]
) -> Float[ndarray, "*n"]:
    """The field above the height where the hair ends, thinning out towards it (polynomial smooth minimum, Quilez)."""
    above = 0.6 * (y - end)
    mix = np.clip(0.5 + 0.5 * (above - field) / _THINNING, 0, 1)
    return np.asarray(above * (1 - mix) + field * mix - _THINNING * mix * (1 - mix))


def _lift(
    field: Float[ndarray, "n"], outline: Outline, at: Float[ndarray, "n 3"], room: Float[ndarray, "n"]
) -> Float[ndarray, "n"]:
    """What the field lacks so that each line of sight on which the photo shows hair just meets some."""
    count = len(outline.part) // _BIN
    allowed = (room > 0) & (at[:, :2] > 0).all(1) & (at[:, :2] < count * _BIN).all(1)
    column, row = (at[:, :2] / _BIN).astype(int).T
    best = np.full((count, count), -np.inf)
    np.maximum.at(best, (row[allowed], column[allowed]), field[allowed])
    lack = np.where(best > -_MOST_LIFT, np.maximum(-best, 0), 0)
    lack = cv2.GaussianBlur(ndimage.grey_dilation(lack, 3), (0, 0), 1.0)
    shown = smoothstep(sample(outline.hair, at), 0.0, 0.002) * (sample(outline.beyond, at) == 0)
    return np.asarray(sample(lack, at / _BIN) * shown * (room > 0))


@dataclass(frozen=True)
class _Front:
    """How far forward the hair beside the face reaches."""

    heights: Float[ndarray, "rows"]
    left: Float[ndarray, "rows"]
    right: Float[ndarray, "rows"]
    """World z, metres."""

    def room(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Metres from each point forward to the hair's front edge, negative ahead of it."""
        on_left = smoothstep(points[:, 0], -0.02, 0.02)
        sides = (np.interp(points[:, 1], self.heights, side) for side in (self.left, self.right))
        left, right = sides
        return np.asarray(on_left * left + (1 - on_left) * right - points[:, 2])


def _front(head: Head, outline: Outline, hangs: bool) -> _Front:
    """A usual hairline, moved forward to where the photo shows hair on temples and cheeks."""
    ears = head.vertices[head.regions["ears"]]
    ear_z, brow = float(np.median(ears[:, 2])), float(head.landmarks[19, 1])
    top, chin = float(head.vertices[:, 1].max()), float(head.landmarks[8, 1])
    step = 0.004
    heights = np.arange(chin - 0.02, top + step, step)
    knots = [chin, float(np.median(ears[:, 1])), brow - 0.01, brow + 0.025, top - 0.04, top - 0.02]
    usual = ear_z + np.interp(heights, knots, np.array([0.02, 0.02, 0.04, 0.06, 0.10, 0.30]) + 0.015 * hangs)
    most = ear_z + np.interp(heights, knots, [0.06, 0.065, 0.075, 0.09, 0.12, 0.30])

    at = head.camera.project(head.vertices)
    inside = sample(signed_distance(head.raster.mask), at) * outline.metres_per_pixel > _BESIDE_FACE
    on_hair = sample((outline.part == HAIR).astype(np.float32), at) > 0.5
    shown = on_hair & inside & _seen(head, outline, at, 0.1) & ~head.regions["ears"]
    row = np.clip(((head.vertices[:, 1] - heights[0]) / step).round().astype(int), 0, len(heights) - 1)
    sides = []
    for sign in (1, -1):
        found = np.full(len(heights), -1.0)
        here = shown & (head.vertices[:, 0] * sign > 0)
        np.maximum.at(found, row[here], head.vertices[here, 2])
        found = ndimage.median_filter(ndimage.maximum_filter1d(found, 3), 5)
        sides.append(ndimage.gaussian_filter1d(np.clip(found, usual, np.maximum(usual, most)), 2.0))
    return _Front(heights, *sides)


def _edge_thickness(room: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Most that hair stands off the head so far behind its front edge, metres: a rounded edge."""
    return np.where(room > 0, 0.003 + np.sqrt(0.03 * np.maximum(room, 0)), 0.003 + 0.6 * room)


def _carve(
    field: Float[ndarray, "n"],
    distance: Float[ndarray, "n"],
    on_skin: Float[ndarray, "n"],
    grid: Grid,
    head: Head,
    bust: Bust,
    outline: Outline,
    body_depth: Float[ndarray, "s s"],
    fall: _Fall,
) -> Float[ndarray, "n"]:
    """Take away what the photo contradicts: beyond the outline, in front of skin and clothes, ahead of the hairline."""
    points = grid.points
    at = head.camera.project(points)
    ahead = _front(head, outline, fall.hangs).room(points)
    # below the chin the photo tells what hangs, not what stands off the head
    on_head = smoothstep(points[:, 1] - head.landmarks[8, 1], 0.0, 0.03)
    field = field + on_head * _lift(field, outline, at, ahead)
    field = np.minimum(field, sample(outline.person, at) + _SMOOTHED_AWAY)
    blocked = cv2.erode(np.where(np.isfinite(body_depth), body_depth, 1e3).astype(np.float32), np.ones((3, 3)))
    in_front_of = sample(np.asarray(blocked), at)
    behind = np.where(in_front_of < 100, at[:, 2] - in_front_of - 0.004, -0.09)
    shown = sample(outline.hair, at) + 0.001
    field = np.minimum(field, np.maximum(shown, behind))

    # beside the face hair may stand so far forward, thinning out; more only as a sheet where the photo shows it
    field = np.minimum(field, _edge_thickness(ahead) - distance)
    sheet = np.minimum(np.minimum(0.0045 - np.abs(distance), shown), 0.02 * (on_skin - 0.5))
    chest = np.full(len(points), -0.05)
    if fall.hangs:
        row = round((head.landmarks[8, 1] - grid.low[1]) / grid.step)
        field = _hanging_from_above(field.reshape(grid.shape), row).ravel()
        inside = bust.field(points)
        lying = np.minimum(
            np.minimum(_SHEET + inside, _SHEET / 2 - inside),
            fall.reach(points, bust) - np.abs(points[:, 0] - bust.origin[0]),
        )
        known = 0.5 * (_BEYOND_PHOTO - sample(outline.beyond, at))
        chest = _rounded(np.minimum(np.minimum(lying, shown), known), fall.end(points, bust), points[:, 1])
    thin = np.maximum(sheet, chest)
    field = np.minimum(np.maximum(field, thin), np.maximum(ahead, thin))
    return np.asarray(field)
