"""Hair as a volume: a layer of varying thickness over the skull, hanging down where it is long, carved by the photo."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.spatial import cKDTree

from instax3d.geometry.mesh import subdivide, vertex_normals
from instax3d.geometry.sample_image import sample
from instax3d.matting.masks import signed_distance

from .bust import Bust
from .fall import SHEET, Fall, hanging, hanging_from_above, lying_behind, measure_fall, rounded
from .head import Head
from .labels import HAIR
from .outline import Outline
from .thickness import ABSENT, BESIDE_FACE, THICKEST, hair_thickness, seen_skin, standing_out
from .volume import Grid, kept_vertices, relax, smoothstep, without_specks

_CELL = 0.004
_SMOOTHED_AWAY = 0.003
"""What smoothing takes off the hair, meters."""
_JOINED = 0.012
"""Width over which hanging hair passes into what lies on the back, meters."""
_NAPE_SLOPE = 0.35
"""How fast short hair thins out towards its end in the nape: meters of thickness per meter of height."""
_SPECK = 0.06
"""Separate pieces with less than this share of the hair's surface are dropped."""
_BURIED = 0.006
"""Hair this deep inside the body is never seen, meters."""
_BIN = 6
"""Pixels of the squares in which lines of sight are gathered."""
_MOST_LIFT = 0.02
"""Meters; what lacks more is not the head's hair."""
_EDGE, _ROUND_EDGE = 0.003, 0.03
"""Thickness of the hair at its front edge, and the square of what it gains over a meter behind it, meters."""
_TURNED = 12.0
"""Degrees from which on a turned face may hide where the hair beside it begins."""
_RIDGE = 0.009
"""Hair is lifted where it lacks at most about so much more than at the nearest place on the line of sight, meters."""


def mesh_hair(
    head: Head, covered_ears: Bool[ndarray, "v"], bust: Bust, outline: Outline, body_depth: Float[ndarray, "s s"]
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"], Float[ndarray, "n 3"]]:
    """Surface of the hair, closed but for where it ends inside the body: vertices, faces, normals; empty for no hair.

    In ``head`` the ears that hair covers are flat; ``body_depth`` is the depth at which the photo sees head and
    bust, infinite elsewhere.
    """
    thickness, covered = hair_thickness(head, covered_ears, outline)
    fall = measure_fall(head, bust, outline)
    skin = head.vertices[head.skin]
    margin = float(np.clip(thickness.max(), 0.01, THICKEST)) + 0.015
    low, high = skin[skin[:, 1] > head.landmarks[8, 1]].min(0) - margin, skin.max(0) + margin
    low[1] = min(head.landmarks[8, 1] - 0.03, fall.back - 0.01)
    if fall.hangs:
        wide = 0.02 + max(fall.left.max(), fall.right.max())
        low[0], high[0] = min(low[0], bust.origin[0] - wide), max(high[0], bust.origin[0] + wide)
        low[2] = min(low[2], bust.origin[2] - bust.back.max() - 2 * SHEET)
        high[2] = max(high[2], bust.origin[2] + bust.front.max() + 2 * SHEET)
    grid = Grid.over(low, high, _CELL)
    layer, distance, lying = _layer(head, thickness, covered, grid)
    field = layer.ravel()
    at = head.camera.project(grid.points)
    if fall.hangs:
        shown = np.where(sample(outline.beyond, at) == 0, sample(outline.hair, at), ABSENT).reshape(grid.shape)
        field = np.maximum(field, hanging(grid, layer, shown, head, bust, fall).ravel())
    field = _carve(field, distance.ravel(), lying.ravel(), grid, at, head, bust, outline, body_depth, fall)
    vertices, faces = grid.surface(field.reshape(grid.shape), 0.9)
    if not len(vertices):
        return vertices, faces, vertices
    # what the body hides connects tufts that would be seen apart
    vertices, faces = kept_vertices(vertices, faces, bust.field(vertices) < _BURIED)
    vertices, faces = without_specks(vertices, faces, _SPECK)
    relaxed, normals = relax(vertices, faces, 3)
    return relaxed, faces, normals


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
    fields = np.tile(np.array([ABSENT, 0.0, farthest], np.float32), (len(points), 1))
    fields[near] = np.c_[values, np.where(outside, length[:, 0], -length[:, 0])]
    thick, lying, distance = (coarse.resample(fields[:, k].reshape(coarse.shape), grid) for k in range(3))
    return thick + _SMOOTHED_AWAY - distance, distance, lying


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
    # only where the line comes nearest: raised all along, hair would be flat against the line
    nearest = np.full(len(field), -np.inf)
    nearest[allowed] = best[row[allowed], column[allowed]]
    ridge = np.exp(-(((nearest - field) / _RIDGE) ** 2))
    return np.asarray(sample(lack, at / _BIN) * shown * ridge * (room > 0))


@dataclass(frozen=True)
class _Front:
    """How far forward the hair beside the face reaches."""

    heights: Float[ndarray, "rows"]
    left: Float[ndarray, "rows"]
    right: Float[ndarray, "rows"]
    """World z, meters."""

    def room(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Meters from each point forward to the hair's front edge, negative ahead of it."""
        on_left = smoothstep(points[:, 0], -0.02, 0.02)
        sides = (np.interp(points[:, 1], self.heights, side) for side in (self.left, self.right))
        left, right = sides
        return np.asarray(on_left * left + (1 - on_left) * right - points[:, 2])


def _front(head: Head, outline: Outline, hangs: bool) -> _Front:
    """A usual hairline, moved forward to where the photo shows hair on temples and cheeks or such hair beside them that
    it must begin there.
    """
    ears = head.vertices[head.regions["ears"]]
    ear_z, brow = float(np.median(ears[:, 2])), float(head.landmarks[19, 1])
    top, chin = float(head.vertices[:, 1].max()), float(head.landmarks[8, 1])
    step = 0.004
    heights = np.arange(chin - 0.02, top + step, step)
    knots = [chin, float(np.median(ears[:, 1])), brow - 0.01, brow + 0.025, top - 0.04, top - 0.02]
    usual = ear_z + np.interp(heights, knots, np.array([0.02, 0.02, 0.04, 0.06, 0.10, 0.30]) + 0.015 * hangs)
    most = ear_z + np.interp(heights, knots, [0.06, 0.065, 0.075, 0.09, 0.12, 0.30])

    at = head.camera.project(head.vertices)
    inside = sample(signed_distance(head.raster.mask), at) * outline.meters_per_pixel > BESIDE_FACE
    on_hair = sample((outline.part == HAIR).astype(np.float32), at) > 0.5
    shown = on_hair & inside & seen_skin(head, outline, at, 0.1) & ~head.regions["ears"]
    beside, begins = _beside(head, outline)
    row = np.clip(((head.vertices[:, 1] - heights[0]) / step).round().astype(int), 0, len(heights) - 1)
    sides = []
    for sign in (1, -1):
        found, least = np.full(len(heights), -1.0), np.full(len(heights), np.inf)
        here = shown & (head.vertices[:, 0] * sign > 0)
        np.maximum.at(found, row[here], head.vertices[here, 2])
        here = beside & (head.vertices[:, 0] * sign > 0)
        np.minimum.at(least, row[here], begins[here])
        least = ndimage.minimum_filter1d(least, 3)
        found = np.maximum(found, np.where(np.isfinite(least), least, -1.0))
        found = ndimage.median_filter(ndimage.maximum_filter1d(found, 3), 5)
        sides.append(ndimage.gaussian_filter1d(np.clip(found, usual, np.maximum(usual, most)), 2.0))
    return _Front(heights, *sides)


def _beside(head: Head, outline: Outline) -> tuple[Bool[ndarray, "n"], Float[ndarray, "n"]]:
    """Vertices on the hidden side of a turned face over which the photo shows hair that stands out beside the head, and
    the world z at which the hair's front edge must lie for hair over that vertex to be so thick.
    """
    thick = -standing_out(head, outline, np.zeros(len(head.vertices)))
    over, tip = (head.camera.project(head.vertices + (share * thick)[:, None] * head.normals) for share in (0.6, 1.0))
    hair = sample((outline.part == HAIR).astype(np.float32), over) > 0.5
    hair &= sample(outline.beyond, tip) == 0  # the photo's edge is not the hair's
    hair &= (abs(head.camera.azimuth) > _TURNED) & (head.vertices[:, 0] * head.camera.azimuth < 0)
    hidden = head.camera.facing(head.vertices, head.normals) < 0.2
    beside = head.skin & ~(head.regions["ears"] | head.regions["neck"]) & hair & hidden & (thick > _EDGE)
    least = thick + 2 * _SMOOTHED_AWAY - _EDGE  # smoothing takes from its front and from its side
    return beside, head.vertices[:, 2] + np.maximum(least, 0) ** 2 / _ROUND_EDGE


def _edge_thickness(room: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Most that hair stands off the head so far behind its front edge, meters: a rounded edge."""
    return np.where(room > 0, _EDGE + np.sqrt(_ROUND_EDGE * np.maximum(room, 0)), _EDGE + 0.6 * room)


def _carve(
    field: Float[ndarray, "n"],
    distance: Float[ndarray, "n"],
    on_skin: Float[ndarray, "n"],
    grid: Grid,
    at: Float[ndarray, "n 3"],
    head: Head,
    bust: Bust,
    outline: Outline,
    body_depth: Float[ndarray, "s s"],
    fall: Fall,
) -> Float[ndarray, "n"]:
    """Take away what the photo contradicts: beyond the outline, in front of skin and clothes, ahead of the hairline.

    ``at`` is where the photo's camera sees the grid's points.
    """
    points = grid.points
    ahead = _front(head, outline, fall.hangs).room(points)
    # below the chin the photo tells what hangs, not what stands off the head
    on_head = smoothstep(points[:, 1] - head.landmarks[8, 1], 0.0, 0.03)
    field = field + on_head * _lift(field, outline, at, ahead)
    within = sample(outline.person, at)
    field = np.minimum(field, within)
    blocked = cv2.erode(np.where(np.isfinite(body_depth), body_depth, 1e3).astype(np.float32), np.ones((3, 3)))
    in_front_of = sample(np.asarray(blocked), at)
    behind = np.where(in_front_of < 100, at[:, 2] - in_front_of - 0.004, -0.09)
    shown = sample(outline.hair, at) + 0.001
    field = np.minimum(field, np.maximum(shown, behind))

    # beside the face hair may stand so far forward, thinning out; more only as a sheet where the photo shows it
    field = np.minimum(field, _edge_thickness(ahead) - distance)
    thin = np.minimum(np.minimum(0.0045 - np.abs(distance), shown), 0.02 * (on_skin - 0.5))
    if fall.hangs:
        row = round((head.landmarks[8, 1] - grid.low[1]) / grid.step)
        field = hanging_from_above(field.reshape(grid.shape), row, grid.step).ravel()
        inside = bust.field(points)
        back = np.minimum(lying_behind(points, inside, bust, fall), np.minimum(within, np.maximum(shown, behind)))
        field = _union(field, back)
        reach = fall.narrowed(points, bust)
        chest = np.minimum(
            np.minimum(SHEET + inside, SHEET / 2 - inside), reach - np.abs(points[:, 0] - bust.origin[0])
        )
        thin = np.maximum(thin, rounded(np.minimum(chest, shown), fall.end(points, bust), points[:, 1]))
    else:
        nape = float(head.vertices[head.regions["scalp"], 1].min())
        behind_ears = smoothstep(np.median(head.vertices[head.regions["ears"], 2]) - points[:, 2], -0.01, 0.02)
        ending = THICKEST * (1 - behind_ears) + _NAPE_SLOPE * (points[:, 1] - nape)
        field = np.minimum(field, ending - distance)
    field = np.minimum(np.maximum(field, thin), np.maximum(ahead, thin))
    return np.asarray(field)


def _union(first: Float[ndarray, "n"], second: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Of both fields, with the crease between them filled (polynomial smooth maximum, Quilez)."""
    mix = np.maximum(_JOINED - np.abs(first - second), 0) / _JOINED
    return np.asarray(np.maximum(first, second) + 0.25 * _JOINED * mix**2)
