"""Hair as a volume: a layer of varying thickness on the skull, hanging down where it is long, carved by the photo."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.spatial import cKDTree

from instax3d.geometry.landmarks68 import CHIN, RIGHT_BROW_MIDDLE
from instax3d.geometry.mesh import subdivide, vertex_normals
from instax3d.geometry.sample_image import sample
from instax3d.geometry.smoothstep import smoothstep
from instax3d.matting.masks import signed_distance

from .bust import Bust
from .hanging_hair import (
    SHEET,
    TURNED,
    HangingHair,
    back_sheet,
    hanging_field,
    measure_hanging_hair,
    remove_unsupported,
    rounded,
)
from .head import Head
from .labels import HAIR
from .outline import Outline
from .thickness import ABSENT, BESIDE_FACE, THICKEST, hair_thickness, seen_skin, standing_out
from .volume import VoxelGrid, kept_vertices, relax, without_specks

# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise.
_CELL = 0.004
"""Side of the grid's cells, meters."""
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
"""Side of the squares in which lines of sight are binned, pixels."""
_MOST_LIFT = 0.02
"""Meters; what lacks more is not the head's hair."""
_EDGE, _ROUND_EDGE = 0.003, 0.03
"""Thickness of the hair at its front edge, and growth of its squared thickness per meter behind it, meters."""
_SHEET_ON_SKIN = 0.0045
"""Half thickness of hair that lies on skin where the photo shows it, meters."""
_RIDGE = 0.009
"""Hair is lifted where it lacks at most about this much more than at the nearest point of the line of sight, meters."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """Hair that stands off the head, at the nodes of a grid."""

    depth: Float[ndarray, "x y z"]
    """Below the layer's surface, meters: its thickness minus the distance to the head."""
    distance: Float[ndarray, "x y z"]
    """To the head's surface, meters, negative inside."""
    covered: Float[ndarray, "x y z"]
    """Nearness to skin on which the photo shows hair, 0 to 1."""


@dataclass(frozen=True, eq=False)
class _NodeObservations:
    """What the photo shows at the nodes of a grid; distances in meters."""

    at: Float[ndarray, "n 3"]
    """Pixel x, pixel y and depth."""
    person: Float[ndarray, "n"]
    """Distance into the person's outline."""
    hair: Float[ndarray, "n"]
    """Distance into the outline of the hair, a little widened."""
    behind: Float[ndarray, "n"]
    """Distance behind the surface of head and bust, negative before it and where there is none."""

    @property
    def allowed(self) -> Float[ndarray, "n"]:
        """Field of the places where hair contradicts nothing: the photo shows it there, or something before it."""
        return np.asarray(np.maximum(self.hair, self.behind))


def mesh_hair(
    head: Head, covered_ears: Bool[ndarray, "v"], bust: Bust, outline: Outline, body_depth: Float[ndarray, "s s"]
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"], Float[ndarray, "n 3"]]:
    """Surface of the hair, closed except where it ends inside the body.

    Args:
        head: the fitted head, with the ears that hair covers flattened.
        covered_ears: the vertices of these ears.
        bust: neck, shoulders and chest.
        outline: the person's outline and parts.
        body_depth: depth at which the photo sees head and bust, meters, infinite elsewhere.

    Returns:
        Vertices in meters, faces and normals; empty for no hair.
    """
    thickness, covered = hair_thickness(head, covered_ears, outline)
    hanging = measure_hanging_hair(head, bust, outline)
    grid = _hair_grid(head, bust, hanging, float(thickness.max()))
    layer = _layer(head, thickness, covered, grid)
    observations = _observe(head, outline, body_depth, head.camera.project(grid.points))
    field = layer.depth.ravel()
    if hanging.exists:
        inside_photo = sample(outline.beyond, observations.at) == 0
        visible = np.where(inside_photo, sample(outline.hair, observations.at), ABSENT).reshape(grid.shape)
        field = np.maximum(field, hanging_field(grid, layer.depth, visible, head, bust, hanging).ravel())
    field = _carve(field, layer, grid, observations, head, bust, outline, hanging)
    vertices, faces = grid.surface(field.reshape(grid.shape), 0.9)
    if not len(vertices):
        return vertices, faces, vertices
    # what the body hides connects tufts that would be seen apart
    vertices, faces = kept_vertices(vertices, faces, bust.field(vertices) < _BURIED)
    vertices, faces = without_specks(vertices, faces, _SPECK)
    relaxed, normals = relax(vertices, faces, 3)
    return relaxed, faces, normals


def _hair_grid(head: Head, bust: Bust, hanging: HangingHair, thickest: float) -> VoxelGrid:
    """A grid around all hair, of which the layer on the head is ``thickest`` meters thick at most."""
    skin = head.vertices[head.skin]
    margin = float(np.clip(thickest, 0.01, THICKEST)) + 0.015
    low, high = skin[skin[:, 1] > head.landmarks[CHIN, 1]].min(0) - margin, skin.max(0) + margin
    low[1] = min(head.landmarks[CHIN, 1] - 0.03, hanging.back - 0.01)
    if hanging.exists:
        wide = 0.02 + max(hanging.left.max(), hanging.right.max())
        low[0], high[0] = min(low[0], bust.origin[0] - wide), max(high[0], bust.origin[0] + wide)
        low[2] = min(low[2], bust.origin[2] - bust.back.max() - 2 * SHEET)
        high[2] = max(high[2], bust.origin[2] + bust.front.max() + 2 * SHEET)
    return VoxelGrid.over(low, high, _CELL)


def _layer(head: Head, thickness: Float[ndarray, "n"], covered: Bool[ndarray, "n"], grid: VoxelGrid) -> _Layer:
    """The layer's fields, interpolated from the nearest skin on a coarser grid."""
    attributes = np.concatenate([head.vertices, thickness[:, None], covered[:, None]], 1)
    dense, faces = subdivide(attributes, head.skin_faces)
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
    thick, on_covered, distance = (coarse.resample(fields[:, k].reshape(coarse.shape), grid) for k in range(3))
    return _Layer(thick + _SMOOTHED_AWAY - distance, distance, on_covered)


def _observe(
    head: Head, outline: Outline, body_depth: Float[ndarray, "s s"], at: Float[ndarray, "n 3"]
) -> _NodeObservations:
    """Read the photo where its camera sees the grid's nodes."""
    blocked = cv2.erode(np.where(np.isfinite(body_depth), body_depth, 1e3).astype(np.float32), np.ones((3, 3)))
    surface = sample(np.asarray(blocked), at)
    behind = np.where(surface < 100, at[:, 2] - surface - 0.004, -0.09)
    return _NodeObservations(at, sample(outline.person, at), sample(outline.hair, at) + 0.001, behind)


def _lift(
    field: Float[ndarray, "n"], outline: Outline, at: Float[ndarray, "n 3"], room: Float[ndarray, "n"]
) -> Float[ndarray, "n"]:
    """What the field lacks so that each line of sight on which the photo shows hair just meets some.

    Args:
        field: the hair's, meters.
        outline: the person's outline and parts.
        at: pixels and depth of the field's nodes.
        room: meters forward to the hair's front edge.
    """
    count = len(outline.part) // _BIN
    allowed = (room > 0) & (at[:, :2] > 0).all(1) & (at[:, :2] < count * _BIN).all(1)
    column, row = (at[:, :2] / _BIN).astype(int).T
    best = np.full((count, count), -np.inf)
    np.maximum.at(best, (row[allowed], column[allowed]), field[allowed])
    lack = np.where(best > -_MOST_LIFT, np.maximum(-best, 0), 0)
    lack = cv2.GaussianBlur(ndimage.grey_dilation(lack, 3), (0, 0), 1.0)
    visible = smoothstep(sample(outline.hair, at), 0.0, 0.002) * (sample(outline.beyond, at) == 0)
    # only where the line comes nearest: raised all along, hair would be flat against the line
    nearest = np.full(len(field), -np.inf)
    nearest[allowed] = best[row[allowed], column[allowed]]
    ridge = np.exp(-(((nearest - field) / _RIDGE) ** 2))
    return np.asarray(sample(lack, at / _BIN) * visible * ridge * (room > 0))


@dataclass(frozen=True, eq=False)
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
    """A typical hairline, moved forward to where the photo shows hair on temples and cheeks, or such hair beside them
    that it must begin there.
    """
    ears = head.vertices[head.regions["ears"]]
    ear_z, brow = float(np.median(ears[:, 2])), float(head.landmarks[RIGHT_BROW_MIDDLE, 1])
    top, chin = float(head.vertices[:, 1].max()), float(head.landmarks[CHIN, 1])
    step = 0.004
    heights = np.arange(chin - 0.02, top + step, step)
    knots = [chin, float(np.median(ears[:, 1])), brow - 0.01, brow + 0.025, top - 0.04, top - 0.02]
    typical = ear_z + np.interp(heights, knots, np.array([0.02, 0.02, 0.04, 0.06, 0.10, 0.30]) + 0.015 * hangs)
    most = ear_z + np.interp(heights, knots, [0.06, 0.065, 0.075, 0.09, 0.12, 0.30])

    at = head.camera.project(head.vertices)
    inside = sample(signed_distance(head.raster.mask), at) * outline.meters_per_pixel > BESIDE_FACE
    labeled = sample((outline.part == HAIR).astype(np.float32), at) > 0.5
    on_face = labeled & inside & seen_skin(head, outline, at, 0.1) & ~head.regions["ears"]
    beside, required = _beside(head, outline)
    row = np.clip(((head.vertices[:, 1] - heights[0]) / step).round().astype(int), 0, len(heights) - 1)
    sides = []
    for sign in (1, -1):
        front, least = np.full(len(heights), -1.0), np.full(len(heights), np.inf)
        here = on_face & (head.vertices[:, 0] * sign > 0)
        np.maximum.at(front, row[here], head.vertices[here, 2])
        here = beside & (head.vertices[:, 0] * sign > 0)
        np.minimum.at(least, row[here], required[here])
        least = ndimage.minimum_filter1d(least, 3)
        front = np.maximum(front, np.where(np.isfinite(least), least, -1.0))
        front = ndimage.median_filter(ndimage.maximum_filter1d(front, 3), 5)
        sides.append(ndimage.gaussian_filter1d(np.clip(front, typical, np.maximum(typical, most)), 2.0))
    return _Front(heights, *sides)


def _beside(head: Head, outline: Outline) -> tuple[Bool[ndarray, "n"], Float[ndarray, "n"]]:
    """Vertices on the hidden side of a turned face over which the photo shows hair that stands out beside the head, and
    the world z at which the hair's front edge must lie for hair over that vertex to be so thick.
    """
    thick = -standing_out(head, outline, np.zeros(len(head.vertices)))
    over, tip = (head.camera.project(head.vertices + (share * thick)[:, None] * head.normals) for share in (0.6, 1.0))
    hair = sample((outline.part == HAIR).astype(np.float32), over) > 0.5
    hair &= sample(outline.beyond, tip) == 0  # the photo's edge is not the hair's
    hair &= (abs(head.camera.azimuth) > TURNED) & (head.vertices[:, 0] * head.camera.azimuth < 0)
    hidden = head.camera.facing(head.vertices, head.normals) < 0.2
    beside = head.skin & ~(head.regions["ears"] | head.regions["neck"]) & hair & hidden & (thick > _EDGE)
    least = thick + 2 * _SMOOTHED_AWAY - _EDGE  # smoothing takes from its front and from its side
    return beside, head.vertices[:, 2] + np.maximum(least, 0) ** 2 / _ROUND_EDGE


def _edge_thickness(room: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Largest thickness of hair at a distance behind its front edge, meters: a rounded edge."""
    return np.where(room > 0, _EDGE + np.sqrt(_ROUND_EDGE * np.maximum(room, 0)), _EDGE + 0.6 * room)


def _carve(
    field: Float[ndarray, "n"],
    layer: _Layer,
    grid: VoxelGrid,
    observations: _NodeObservations,
    head: Head,
    bust: Bust,
    outline: Outline,
    hanging: HangingHair,
) -> Float[ndarray, "n"]:
    """Remove what the photo contradicts: beyond the outline, in front of skin and clothes, ahead of the hairline."""
    points, distance = grid.points, layer.distance.ravel()
    room = _front(head, outline, hanging.exists).room(points)
    # below the chin the photo shows what hangs, not what stands off the head
    on_head = smoothstep(points[:, 1] - head.landmarks[CHIN, 1], 0.0, 0.03)
    field = field + on_head * _lift(field, outline, observations.at, room)
    field = np.minimum(field, observations.person)
    field = np.minimum(field, observations.allowed)

    # beside the face hair thins out forwards; beyond it may lie as a sheet where the photo shows it
    field = np.minimum(field, _edge_thickness(room) - distance)
    on_skin = 0.02 * (layer.covered.ravel() - 0.5)
    sheet = np.minimum(np.minimum(_SHEET_ON_SKIN - np.abs(distance), observations.hair), on_skin)
    if hanging.exists:
        row = round((head.landmarks[CHIN, 1] - grid.low[1]) / grid.step)
        field = remove_unsupported(field.reshape(grid.shape), row, grid.step).ravel()
        inside = bust.field(points)
        back = back_sheet(points, inside, bust, hanging)
        field = _union(field, np.minimum(back, np.minimum(observations.person, observations.allowed)))
        reach = hanging.narrowed(points, bust)
        on_chest = np.minimum(SHEET + inside, SHEET / 2 - inside)
        chest = np.minimum(on_chest, reach - np.abs(points[:, 0] - bust.origin[0]))
        end = hanging.end(points, bust)
        sheet = np.maximum(sheet, rounded(np.minimum(chest, observations.hair), end, points[:, 1]))
    else:
        nape = float(head.vertices[head.regions["scalp"], 1].min())
        behind_ears = smoothstep(np.median(head.vertices[head.regions["ears"], 2]) - points[:, 2], -0.01, 0.02)
        ending = THICKEST * (1 - behind_ears) + _NAPE_SLOPE * (points[:, 1] - nape)
        field = np.minimum(field, ending - distance)
    return np.asarray(np.minimum(np.maximum(field, sheet), np.maximum(room, sheet)))


def _union(first: Float[ndarray, "n"], second: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Of both fields, with the crease between them filled (polynomial smooth maximum, Quilez)."""
    mix = np.maximum(_JOINED - np.abs(first - second), 0) / _JOINED
    return np.asarray(np.maximum(first, second) + 0.25 * _JOINED * mix**2)
