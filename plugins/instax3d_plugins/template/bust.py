"""Neck, shoulders and chest: a stack of half ellipses whose widths follow the cut-out where it shows them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage

from instax3d.geometry.landmarks68 import CHIN
from instax3d.geometry.mesh import unique_edges
from instax3d.geometry.sample_image import sample
from instax3d.geometry.smoothstep import smoothstep

from .head import Head
from .labels import CLOTH, HAIR
from .outline import Outline
from .volume import VoxelGrid, relax

# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise.
DEPTH_BELOW_CHIN = 0.27
"""How far down the bust reaches, meters: below the frame of every view."""
_ROW, _CELL = 0.004, 0.006
"""Height of the sections and side of the grid's cells, meters."""
_TAKEOVER = (0.015, 0.045)
"""Drops below the chin between which the bust takes over from the head's own neck, meters."""
_ROUNDED = 5.0
"""Rows over which the depth of chest and back is smoothed."""
_POWER = (2.2, 2.4)
"""Exponents of the superellipses above and below that."""
_PARTED, _WIDEST_MOUTH = 0.005, 0.04
"""Distances of the lips from which on the chin counts as lowered, and up to which that is believed, meters."""
_TILT, _CLOTHED_TILT = 0.03, 0.1
"""Meters by which one shoulder may be higher than the other, or both than usual: bare ones, and clothes on them, which
may have a collar that stands off."""
_ABOVE_CHIN = 0.04
"""Clothes beside the neck may reach at most this far above the height of the chin, meters."""
_BARE_SHOULDER = 0.02
"""A raised shoulder is bare at most this far above the clothes on it, meters."""
_JAW = (0.005, 0.03)
"""Drops below the chin between which the jaw's outline gives way to the body's, meters."""
_NECK_ENDS = (0.04, 0.07)
"""Drops between which the neck ends, meters."""
_SHOULDER = 0.015
"""Height over which a shoulder rounds off below the photo, meters."""
COLLAR_SLOPE = 0.35
"""Above the chin, clothes are higher behind than in front: meters per meter."""
_MAX_REACH = 0.29
"""Largest reach of a shoulder to one side, meters."""
# The generic bust by the drop below the chin: half width, front and back relative to the middle of the neck, meters.
# Anthropometric: an average adult's (neck 12 cm wide, shoulders 45 cm), rounded; the source was not recorded.
_DROP = np.array([0.00, 0.03, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.115, 0.135, 0.17, 0.27])
_HALF_WIDTH = np.array([0.056, 0.058, 0.065, 0.073, 0.086, 0.104, 0.126, 0.148, 0.172, 0.190, 0.203, 0.208])
_FRONT = np.array([0.050, 0.050, 0.048, 0.047, 0.047, 0.049, 0.051, 0.054, 0.060, 0.068, 0.080, 0.092])
_BACK = np.array([0.050, 0.052, 0.062, 0.070, 0.077, 0.083, 0.088, 0.092, 0.098, 0.104, 0.110, 0.114])


@dataclass(frozen=True, eq=False)
class Bust:
    """The body below the head."""

    axes: Float[ndarray, "3 3"]
    """Rows: the body's left, up and front in the world."""
    origin: Float[ndarray, "3"]
    """Middle of the neck at the height of the chin."""
    drop: Float[ndarray, "rows"]
    left: Float[ndarray, "rows"]
    right: Float[ndarray, "rows"]
    front: Float[ndarray, "rows"]
    back: Float[ndarray, "rows"]
    """Reach of each section, meters, all positive."""

    def field(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """About the depth below the surface in meters, negative outside."""
        level, least = self._level((points - self.origin) @ self.axes.T)
        return np.asarray(np.minimum((1 - level) * least, self.axes[1] @ (self.origin - points).T - self.drop[0]))

    def clip_inside(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Pull points below the neck inside, so that the head model's own shoulders end within the bust."""
        local = (points - self.origin) @ self.axes.T
        level, _ = self._level(local)
        allowed = np.interp(-local[:, 1], [0.0, *_TAKEOVER], [2.0, 1.02, 0.9])
        shrink = np.where(-local[:, 1] > 0, np.minimum(1, allowed / np.maximum(level, 1e-6)), 1)
        local[:, [0, 2]] *= shrink[:, None]
        inside: ndarray = local @ self.axes + self.origin
        return inside

    def _level(self, local: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "n"], Float[ndarray, "n"]]:
        """Where in its section a point lies (0 in the middle, 1 on the surface), and the section's lesser half axis."""
        x, y, z = local.T
        rows = np.arange(len(self.drop))
        at = (-y - self.drop[0]) / _ROW
        left, right, front, back = (
            np.interp(at, rows, reach) for reach in (self.left, self.right, self.front, self.back)
        )
        middle, half = (left - right) / 2, (left + right) / 2
        depth = np.where(z > 0, front, back)
        # shoulders are deep to their ends, a neck is round
        power = np.interp(-y, _TAKEOVER, _POWER)
        level = (np.abs((x - middle) / half) ** power + np.abs(z / depth) ** power) ** (1 / power)
        return level, np.minimum(half, depth)


def _body_axes(head: Head) -> Float[ndarray, "3 3"]:
    """The body stands upright in the photo and, when the head is turned away, faces the camera."""
    turn = np.radians(head.camera.azimuth) * smoothstep(np.array(abs(head.camera.azimuth)), 6, 18)
    front = np.array([np.sin(turn), 0, np.cos(turn)])
    level = head.camera.viewmat[0, :3]  # the image's horizontal
    left = np.array([np.cos(turn), np.clip(level[1], -0.35, 0.35), -np.sin(turn)])
    left /= np.linalg.norm(left)
    return np.stack([left, np.cross(front, left), front])


def fit_bust(head: Head, outline: Outline) -> Bust:
    """Shape the generic bust to this head's neck and, side by side, to the outline of the photo."""
    chin = head.landmarks[CHIN]
    drop = _ROW * np.arange(-round(_ABOVE_CHIN / _ROW), round(DEPTH_BELOW_CHIN / _ROW) + 1)
    neck_drops, necks = _neck_sections(head)
    left, right, front, back = necks.T
    middle = (front[0] + back[0]) / 2
    origin = np.array([chin[0], chin[1], middle])
    axes = _body_axes(head)

    # the head's own neck first, slightly inside it so that the head shows; the generic bust further down
    own = 1 - smoothstep(drop, *_TAKEOVER)
    margin = np.interp(drop, [0.0, *_TAKEOVER], [0.94, 0.96, 1.03])

    # an open mouth lowers the chin, not the shoulders
    lips = float(head.landmarks[62, 1] - head.landmarks[66, 1])
    opened = float(np.clip(lips - _PARTED, 0, _WIDEST_MOUTH))

    def blended(neck: ndarray, table: ndarray) -> ndarray:
        return np.asarray(own * np.interp(drop, neck_drops, neck) + (1 - own) * np.interp(drop + opened, _DROP, table))

    generic = blended((right - left) / 2, _HALF_WIDTH)
    ahead, behind = blended(front - middle, _FRONT), blended(middle - back, _BACK)
    ahead = np.where(drop < 0, np.maximum(ahead + drop / COLLAR_SLOPE, 0.004), ahead)
    sides, first = _measured_sides(head, outline, axes, origin, drop, generic)
    to_left, to_right = (side * margin for side in sides)
    half = (to_left + to_right) / 2
    wider = np.maximum(1, half / generic) ** 0.7  # a wide collar is deep as well
    # raised shoulders are not deeper than others of that width
    collar = 1 - smoothstep(drop, *_TAKEOVER)

    def deep(depth: ndarray, table: ndarray) -> ndarray:
        raised = np.minimum(depth * wider, np.maximum(depth, np.interp(half, _HALF_WIDTH, table)))
        # nobody gets thinner below the shoulders
        grown = np.maximum.accumulate(margin * (collar * depth * wider + (1 - collar) * raised))
        # without a crease where it stops growing
        return np.asarray(collar * grown + (1 - collar) * ndimage.gaussian_filter1d(grown, _ROUNDED, mode="nearest"))

    to_front, to_back = deep(ahead, _FRONT), deep(behind, _BACK)
    return Bust(axes, origin, *(rows[first:] for rows in (drop, to_left, to_right, to_front, to_back)))


def _neck_sections(head: Head) -> tuple[Float[ndarray, "k"], Float[ndarray, "k 4"]]:
    """Right-most, left-most, front-most and back-most reach (x, x, z, z) of the head's neck at some drops."""
    chin = head.landmarks[CHIN]
    drops = np.array([0.0, 0.015, 0.03, 0.045])
    edges, _ = unique_edges(head.skin_faces)
    first, second = head.vertices[edges[:, 0]], head.vertices[edges[:, 1]]
    sections = []
    for drop in drops:
        height = chin[1] - drop
        crossing = (first[:, 1] < height) != (second[:, 1] < height)
        a, b = first[crossing], second[crossing]
        ring = a + (b - a) * ((height - a[:, 1]) / (b[:, 1] - a[:, 1]))[:, None]
        spine = ring[np.abs(ring[:, 0] - chin[0]) < 0.02]
        sections.append([ring[:, 0].min(), ring[:, 0].max(), spine[:, 2].max(), spine[:, 2].min()])
    reach = np.array(sections)
    reach[:2, 2] = reach[2, 2]  # at the height of the chin the jaw is in front of the neck
    reach[0, :2] = reach[1, :2]
    return drops, reach


@dataclass(frozen=True, eq=False)
class _Side:
    """What the photo shows of one side of the body, row by row."""

    reach: Float[ndarray, "rows"]
    """From the neck's middle to the person's outline, meters."""
    known: Bool[ndarray, "rows"]
    """Whether that is the body's own outline: within the photo, and not of hair."""
    clothed: Bool[ndarray, "rows"]
    """Whether clothes stand on it."""
    least: Float[ndarray, "rows"]
    """Reach of what is certainly body, meters."""


def _seen_side(
    head: Head,
    outline: Outline,
    outwards: Float[ndarray, "3"],
    up: Float[ndarray, "3"],
    origin: Float[ndarray, "3"],
    drop: Float[ndarray, "rows"],
) -> _Side:
    """Follow each row from the neck's middle outwards through the photo."""
    across = np.arange(0, 0.34, 0.002)
    grid = origin + across[None, :, None] * outwards - drop[:, None, None] * up
    at = head.camera.project(grid.reshape(-1, 3))

    def shows(where: ndarray) -> Bool[ndarray, "rows columns"]:
        return np.asarray(sample(where.astype(np.float32), at).reshape(len(drop), -1) > 0.5)

    inside = shows(outline.valid)
    person = shows(outline.person > 0) & inside
    hair, cloth = shows(outline.part == HAIR) & person, shows(outline.part == CLOTH)
    last = np.where(person.any(1), person.shape[1] - 1 - person[:, ::-1].argmax(1), 0)
    rows, within = np.arange(len(drop)), np.maximum(last - 3, 0)
    cut = ~inside[rows, np.minimum(last + 3, person.shape[1] - 1)] | ~person.any(1)
    body = person & ~hair
    return _Side(
        reach=across[last],
        known=~cut & ~hair[rows, last] & ~hair[rows, within],
        clothed=cloth[rows, within],
        least=np.where(body.any(1), across[person.shape[1] - 1 - body[:, ::-1].argmax(1)], 0),
    )


def _measured_sides(
    head: Head,
    outline: Outline,
    axes: Float[ndarray, "3 3"],
    origin: Float[ndarray, "3"],
    drop: Float[ndarray, "rows"],
    generic: Float[ndarray, "rows"],
) -> tuple[list[Float[ndarray, "rows"]], int]:
    """Reach to the body's left and right per row, meters: the photo's where it is visible, the generic one elsewhere.

    And the first row with clothes beside the neck, at the latest that at the height of the chin.
    """
    first = int(np.searchsorted(drop, 0))
    seen = [_seen_side(head, outline, sign * axes[0], axes[1], origin, drop) for sign in (1.0, -1.0)]
    sides = []
    for own, other in zip(seen, seen[::-1], strict=True):
        side = _visible_reach(own, other, drop, generic)
        collar = _collar_rows(own, drop, generic)
        first = min(first, int(collar.argmax()))
        # at the height of the chin the neck is the head's own, unless clothes stand beside it
        free = np.where(collar, 1.0, smoothstep(drop, *_JAW))
        # the jaw's outline says nothing about the neck, which does not narrow below it
        below_jaw = np.where(free < 1, side[int((free == 1).argmax())], side)
        widening = np.maximum.accumulate(ndimage.median_filter(below_jaw, 5))
        side = widening * free + np.clip(side, 0.95 * generic, 1.05 * generic) * (1 - free)
        visible = np.flatnonzero(own.known | other.known)
        if len(visible):
            side = _continue_below(side, int(visible[-1]), drop, generic)
        sides.append(ndimage.gaussian_filter1d(np.minimum(side, _MAX_REACH), 2.0, mode="nearest"))
    return sides, first


def _visible_reach(
    own: _Side, other: _Side, drop: Float[ndarray, "rows"], generic: Float[ndarray, "rows"]
) -> Float[ndarray, "rows"]:
    """Reach of one side, meters: the photo's, else by the other side, else the generic one; within plausible limits."""
    neck = 1 - smoothstep(drop, *_NECK_ENDS)
    reach = np.where(own.known, own.reach, np.maximum(generic, own.least))
    facing = np.where(other.known, other.reach, np.maximum(generic, other.least))
    # one shoulder may be higher than the other, but a raised hand or arm is not a shoulder
    opposite = np.maximum(np.where(other.known, facing, 0), generic)
    tilt = np.where(own.clothed, _CLOTHED_TILT, _TILT)
    most = np.maximum(1.15 * np.interp(drop + tilt, drop, opposite), generic + 0.02)
    # a neck that leans to the hidden side has its usual width; hidden shoulders are like those that are seen
    leaning = neck * np.where(facing < generic, 2 * generic - facing, (generic + facing) / 2) + (1 - neck) * facing
    # clothes beside the neck reach at least as far as the photo shows them
    measured = own.known | own.clothed & (drop < _NECK_ENDS[0])
    side = np.where(measured, reach, np.where(other.known, leaning, reach))
    return np.asarray(np.clip(side, 0.5 * generic, most))


def _collar_rows(own: _Side, drop: Float[ndarray, "rows"], generic: Float[ndarray, "rows"]) -> Bool[ndarray, "rows"]:
    """Rows in which clothes, or a bare shoulder above them, stand beside the neck, and all below the jaw."""
    collar = np.logical_and.accumulate((own.clothed | (drop > _JAW[1]))[::-1])[::-1]
    highest = int(collar.argmax())
    if own.clothed[highest]:  # from the clothes the bare shoulder continues up to the neck
        bare = own.known & (own.reach > generic) & (drop > drop[highest] - _BARE_SHOULDER)
        collar[:highest] = np.logical_and.accumulate(bare[:highest][::-1])[::-1]
    return np.asarray(collar)


def _continue_below(
    side: Float[ndarray, "rows"], last: int, drop: Float[ndarray, "rows"], generic: Float[ndarray, "rows"]
) -> Float[ndarray, "rows"]:
    """Below the ``last`` visible row the shoulder rounds off, or the generic one continues from the width reached."""
    below = np.maximum(drop - drop[last], 0)
    slope = np.clip((side[last] - side[max(last - 3, 0)]) / (3 * _ROW), 0, 2)
    rounding = side[last] + slope * _SHOULDER * (1 - np.exp(-below / _SHOULDER))
    continued = np.interp(below + np.interp(side[last], generic, drop), drop, generic)
    return np.where(below > 0, np.maximum(side, np.maximum(rounding, continued)), side)


def mesh_bust(
    head: Head, bust: Bust, outline: Outline
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"], Float[ndarray, "n 3"]]:
    """Closed surface of the bust inside the photo's outline: vertices, faces, normals."""
    sideways = max(bust.left.max(), bust.right.max())
    reach = np.array([sideways, DEPTH_BELOW_CHIN, max(bust.front.max(), bust.back.max())]) + 0.01
    upwards = -bust.drop[0] / reach[1]
    corners = reach * [[x, y, z] for x in (-1, 1) for y in (-1, upwards) for z in (-1, 1)]
    world = corners @ bust.axes + bust.origin
    grid = VoxelGrid.over(world.min(0), world.max(0), _CELL)
    points = grid.points
    field = bust.field(points)
    # a little beyond the outline is allowed: smoothing takes it back; more at the neck, which joins the head
    spare = np.interp(bust.origin[1] - points[:, 1], [0.05, 0.09], [0.008, 0.0])
    at = head.camera.project(points)
    apart = smoothstep(np.hypot(*(points - bust.origin)[:, [0, 2]].T), 0.07, 0.09)
    # little is known of the outline beyond the photo
    spare = 0.001 + np.maximum(spare * (1 - apart), 0.03 * smoothstep(sample(outline.beyond, at), 0.0, 0.01))
    field = np.minimum(field, sample(outline.person, at) + spare)
    field = np.minimum(field, points[:, 1] - (bust.origin[1] - DEPTH_BELOW_CHIN))
    vertices, faces = grid.surface(field.reshape(grid.shape), 0.8)
    relaxed, normals = relax(vertices, faces, 4)
    return relaxed, faces, normals
