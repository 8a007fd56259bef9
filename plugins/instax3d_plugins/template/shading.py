"""Draws the scene from a camera: deferred shading that samples the photo at full resolution."""

from dataclasses import dataclass
from typing import Any, no_type_check

import cv2
import numpy as np
from jaxtyping import Float
from numba import njit, prange
from numpy import ndarray

from instax3d.geometry.mesh_raster import rasterize

from .head import PhotoCamera
from .noise import PIXEL, SIZE, Noise
from .provenance import CONFIDENCE, GRAZED_TRUST, GUESSED, MIRRORED, SEEN, complete
from .scene import BUST, HAIR_PART, HEAD, Scene
from .texture import WORN, Appearance
from .volume import smoothstep

_SUPERSAMPLING = 2
_CROWN_Z, _AXIS_Z = -0.04, 0.0
"""The crown, from which the hair grows outwards, and the axis around which it hangs lie so far in front, meters."""
_DEEPEST = 0.6
"""Largest share of a color that made-up or mirrored detail takes away."""
_GRAZED_DETAIL = 0.03
"""Largest detail taken from where the photo grazes."""
_STRETCHED = (0.15, 0.5)
"""Photo's cosine over the view's from which on near views take its pixels for right; below, few are stretched..."""
_STRETCHED_COVER = (0.3, 0.7)
"""...and what is not the part's own, such as a strand before skin."""
_MIRRORED_CLOTH = 0.06
"""Largest detail of clothes that is mirrored: folds, not what lies on them on one side."""
_UNDER_HAIR = 0.03
"""Depth behind what the photo shows as hair to which the head counts as covered by it, meters."""
_RAGGED = 0.2
"""By how much the cosine at which hair counts as seen varies from strand to strand."""
# columns of the interpolated attributes
_POSITION, _BASE, _COVER, _BORDER, _MIRROR_AT, _MIRROR_WEIGHT, _MIRROR_SHARE = 0, 3, 6, 9, 10, 12, 13
_FACING, _MIRROR_FACING, _GRAIN, _PLANES, _HAIRY, _TURNED_TO = 14, 15, 16, 17, 20, 21


@dataclass(frozen=True)
class Drawing:
    """One view."""

    image: Float[ndarray, "s s 3"]
    """In [0, 1] on white."""
    alpha: Float[ndarray, "s s"]
    provenance: Float[ndarray, "s s 3"]
    """Shares of what was seen, mirrored and guessed."""
    confidence: Float[ndarray, "s s"]
    """How far each pixel may be believed, in [0, 1]."""


class Painter:
    """Draws views of one scene."""

    def __init__(self, scene: Scene, appearance: Appearance, camera: PhotoCamera, noise: Noise) -> None:
        self._scene, self._camera = scene, camera
        look = appearance
        planes = scene.normals**4 + 1e-6
        columns = {
            _POSITION: scene.vertices,
            _BASE: look.base,
            _COVER: look.cover,
            _BORDER: look.border[:, None],
            _MIRROR_AT: look.mirror_at,
            _MIRROR_WEIGHT: look.mirror_weight[:, None],
            _MIRROR_SHARE: look.mirror_share[:, None],
            _FACING: look.facing[:, None],
            _MIRROR_FACING: look.mirror_facing[:, None],
            _GRAIN: look.grain[:, None],
            _PLANES: planes / planes.sum(1, keepdims=True),
            _HAIRY: look.hairy[:, None],
            _TURNED_TO: np.zeros((len(scene.vertices), 1)),  # to each view's camera
        }
        assert list(columns) == sorted(columns)
        self._attributes = np.concatenate(list(columns.values()), axis=1).astype(np.float32)
        self._part = scene.part[scene.faces[:, 0]]
        cloth = np.zeros((1, 1, 3), np.float32) if look.cloth is None else noise.like(look.cloth)
        self._textures = (
            look.photo,
            look.detail,
            look.depth,
            look.usable,
            look.fits,
            noise.strands,
            noise.grain,
            cloth,
        )
        self._hair_bands = look.hair_bands.astype(np.float32)
        self._scale = np.array([scene.top, look.pixel, look.shortness])

    def draw(self, viewmat: Float[ndarray, "4 4"], K: Float[ndarray, "3 3"], size: int) -> Drawing:
        """The scene from a camera."""
        scene = self._scene
        raster = rasterize(scene.vertices, scene.faces, viewmat, K, size, size, supersample=_SUPERSAMPLING)
        center = -viewmat[:3, :3].T @ viewmat[:3, 3]
        attributes = self._attributes.copy()
        towards = center - scene.vertices
        attributes[:, _TURNED_TO] = (scene.normals * towards).sum(1) / np.linalg.norm(towards, axis=1)
        values = raster.interpolate(attributes, scene.faces)
        azimuth = float(np.degrees(np.arctan2(center[0], center[2])))
        turned = abs((azimuth - self._camera.azimuth + 180) % 360 - 180)
        # near its own direction the photo is right even where it grazes the surface
        near = 1 - float(smoothstep(np.array(turned), 8, 35))
        to_photo = self._camera.K @ self._camera.viewmat[:3]
        mask = raster.mask
        kind = self._part[raster.face[mask]]
        image, shares = np.ones((*mask.shape, 3), np.float32), np.zeros((*mask.shape, 3), np.float32)
        confidence = np.zeros(mask.shape, np.float32)
        image[mask], shares[mask], confidence[mask] = _colors(
            values, kind, to_photo, near, self._scale, self._hair_bands, *self._textures
        )
        small, alpha, shares, sure = (
            cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
            for part in (image, mask.astype(np.float32), shares, confidence)
        )
        return Drawing(small, alpha, *complete(shares, sure, alpha))


@njit(inline="always")
@no_type_check
def _corners(x: float, y: float, size: int) -> Any:
    """Upper left pixel and fractions for bilinear sampling, edges continued."""
    x, y = min(max(x - 0.5, 0.0), size - 1.001), min(max(y - 0.5, 0.0), size - 1.001)
    return int(x), int(y), x - int(x), y - int(y)


@njit(inline="always")
@no_type_check
def _bilinear(image: Any, column: int, row: int, u: float, v: float) -> Any:
    upper = image[row, column] * (1 - u) + image[row, column + 1] * u
    lower = image[row + 1, column] * (1 - u) + image[row + 1, column + 1] * u
    return upper * (1 - v) + lower * v


@njit(inline="always")
@no_type_check
def _step(x: float, low: float, high: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(inline="always")
@no_type_check
def _wrapped(tile: Any, x: float, y: float, channel: int) -> Any:
    """Bilinear value of a tile that goes on for ever; its side is a power of 2."""
    last = len(tile) - 1
    left, upper = np.floor(x), np.floor(y)
    u, v = x - left, y - upper
    c0, r0 = int(left) & last, int(upper) & last
    c1, r1 = (c0 + 1) & last, (r0 + 1) & last
    above = tile[r0, c0, channel] * (1 - u) + tile[r0, c1, channel] * u
    below = tile[r1, c0, channel] * (1 - u) + tile[r1, c1, channel] * u
    return above * (1 - v) + below * v


@njit(inline="always")
@no_type_check
def _strands(x: float, y: float, z: float, top: float, shortness: float, strands: Any, out: Any) -> None:
    """Layers of strands at a place: they run from the crown over the head and then straight down.

    They keep their width where they fan out: two octaves of the texture are mixed by the distance from the crown.
    """
    below = top - y
    behind = z - (_CROWN_Z + (_AXIS_Z - _CROWN_Z) * _step(below, 0.0, 0.12))
    radius = np.hypot(x, behind)
    # cut in front, where hair is parted
    turn = np.arctan2(-x, -behind) / (2 * np.pi)
    along = shortness * (radius + max(below, 0.0)) / (2 * PIXEL)
    octave = max(np.log2(max(radius, 1e-3) * (2 * np.pi / PIXEL / SIZE)), -4.0)
    whole = np.floor(octave)
    part = octave - whole
    even = 1 / np.sqrt(part * part + (1 - part) * (1 - part))
    finer = turn * SIZE * 2.0**whole
    for band in range(3):
        out[band] = even * (
            (1 - part) * _wrapped(strands, finer, along + 311 * whole, band)
            + part * _wrapped(strands, 2 * finer, along + 311 * (whole + 1), band)
        )


@njit(inline="always")
@no_type_check
def _cloth(x: float, y: float, z: float, value: Any, pixel: float, cloth: Any, channel: int, plain: float) -> float:
    """Made-up cloth, laid on from the three sides; plain grain where the photo tells nothing of it."""
    if len(cloth) == 1:
        return plain
    side, above, front = value[_PLANES], value[_PLANES + 1], value[_PLANES + 2]
    even = 1 / np.sqrt(side * side + above * above + front * front)
    x, y, z = x / pixel, y / pixel, z / pixel
    return even * (
        side * _wrapped(cloth, z, y, channel)
        + above * _wrapped(cloth, x, z, channel)
        + front * _wrapped(cloth, x, y, channel)
    )


@njit(cache=True, parallel=True)
@no_type_check
def _colors(
    values: Any,
    kinds: Any,
    to_photo: Any,
    near: float,
    scale: Any,
    hair_bands: Any,
    photo: Any,
    detail: Any,
    depth: Any,
    usable: Any,
    fits: Any,
    strands: Any,
    grain: Any,
    cloth: Any,
) -> Any:
    """Color, provenance and confidence of each pixel from its interpolated attributes and its kind.

    ``near`` is 1 in the photo's own direction; ``scale`` holds the height of the head's top, the
    photo's pixel size and how much shorter than usual strands are.
    """
    size = len(photo)
    top, pixel, shortness = scale
    out, shares = np.empty((len(values), 3), np.float32), np.empty((len(values), 3), np.float32)
    confidence = np.empty(len(values), np.float32)
    for i in prange(len(values)):
        value, kind = values[i], kinds[i]
        x, y, z = value[0], value[1], value[2]
        away = to_photo[2, 0] * x + to_photo[2, 1] * y + to_photo[2, 2] * z + to_photo[2, 3]
        px = (to_photo[0, 0] * x + to_photo[0, 1] * y + to_photo[0, 2] * z + to_photo[0, 3]) / away
        py = (to_photo[1, 0] * x + to_photo[1, 1] * y + to_photo[1, 2] * z + to_photo[1, 3]) / away
        column, row, u, v = _corners(px, py, size)
        mirrored_column, mirrored_row, mirrored_u, mirrored_v = _corners(value[_MIRROR_AT], value[_MIRROR_AT + 1], size)
        facing, mirror_weight = value[_FACING], value[_MIRROR_WEIGHT]
        turned_to = max(value[_TURNED_TO], 0.05)
        right = near * _step(facing, _STRETCHED[0] * turned_to, _STRETCHED[1] * turned_to)
        foreign = near * _step(facing, _STRETCHED_COVER[0] * turned_to, _STRETCHED_COVER[1] * turned_to)
        fitting = _bilinear(fits[:, :, kind], column, row, u, v)
        mirror_fitting = _bilinear(fits[:, :, kind], mirrored_column, mirrored_row, mirrored_u, mirrored_v)
        border = value[_BORDER]
        if kind == HEAD:  # where hair begins, the photo's own transition is right; what is worn shows as long as it can
            fitting = max(fitting, value[_HAIRY], _step(border, 0.1, 0.6))
            mirror_fitting = max(mirror_fitting, value[_HAIRY])
            worn = _bilinear(fits[:, :, WORN], column, row, u, v)
            right, foreign = max(right, worn), max(foreign, worn)
        low = 0.30 - 0.28 * right
        high = low + 0.3 - 0.15 * right
        deeper = _bilinear(depth, column, row, u, v) - away
        weight = _step(deeper, -0.006, -0.003)
        weight *= _bilinear(usable, column, row, u, v) * max(fitting, foreign)
        mirror_better = _step(value[_MIRROR_FACING] - facing, 0.2, 0.45) * (1 - _step(facing, 0.45, 0.75))
        weight *= 1 - (1 - right) * mirror_weight * mirror_better
        strand = np.zeros(3)
        if kind >= HAIR_PART or (kind == HEAD and border > 0):
            _strands(x, y, z, top, shortness, strands, strand)
        if kind >= HAIR_PART:  # seen and made-up hair pass into each other along the strands
            ragged = (1 - near) * _RAGGED * (strand[1] + strand[2])
            facing += ragged
            mirror_weight = _step(mirror_weight + 4 * ragged * mirror_weight * (1 - mirror_weight), 0.0, 1.0)
        # what grazes the surface keeps the photo's detail longer than its tone
        toned = weight * _step(facing, low + 0.12 * (1 - right), high + 0.15 * (1 - right))
        weight *= _step(facing, low, high)
        mirror_weight *= mirror_fitting * _bilinear(usable, mirrored_column, mirrored_row, mirrored_u, mirrored_v)

        second = 0.0  # share of the second material
        shadow = 1.0
        if kind == HEAD:
            second = _step(border + 0.05 * strand[0], 0.1, 1.0) if border > 0 else 0.0
            # near the photo's direction, what lies beyond a lock of hair that it shows is under it
            under = _step(near, 0.6, 0.8) * _step(deeper, -_UNDER_HAIR, -0.5 * _UNDER_HAIR)
            second = max(second, under * _bilinear(fits[:, :, HAIR_PART], column, row, u, v))
        elif kind == BUST:
            second = _step(border, -0.0008, 0.0008)
            shadow = 1 - 0.2 * (1 - second) * np.exp(-((border / 0.005) ** 2))
        spot = grain[int(y * 1400) % SIZE, int(np.arctan2(x, z) * 126) % SIZE] * value[_GRAIN]
        for k in range(3):
            tress = strand[0] * hair_bands[0, k] + strand[1] * hair_bands[1, k] + strand[2] * hair_bands[2, k]
            first, over = value[_BASE + k], value[_COVER + k]
            if kind >= HAIR_PART:
                made_up = tress
            else:
                made_up = (1 - second) * spot
                first *= shadow
                if kind == HEAD:
                    made_up += second * tress
                elif second > 0:
                    made_up += second * _cloth(x, y, z, value, pixel, cloth, k, spot)
            guess = (1 - second) * first + second * over
            mirrored = _bilinear(detail[:, :, k], mirrored_column, mirrored_row, mirrored_u, mirrored_v)
            if kind == BUST:
                mirrored = min(max(mirrored, -_MIRRORED_CLOTH), _MIRRORED_CLOTH)
            own = _bilinear(detail[:, :, k], column, row, u, v)
            tone = toned * (_bilinear(photo[:, :, k], column, row, u, v) - own) + (1 - toned) * guess
            fine = mirror_weight * mirrored + (1 - mirror_weight) * made_up
            fine = max(fine, -_DEEPEST * guess)
            # what grazes the surface tells texture, not shades
            grazed = min(max(own, -_GRAZED_DETAIL), _GRAZED_DETAIL)
            color = tone + toned * own + (weight - toned) * grazed + (1 - weight) * fine
            out[i, k] = min(max(color, 0.0), 1.0)
        mirror_share = (1 - second) * value[_MIRROR_SHARE]
        shares[i, SEEN] = weight
        shares[i, MIRRORED] = (1 - weight) * mirror_share
        shares[i, GUESSED] = (1 - weight) * (1 - mirror_share)
        frontal = GRAZED_TRUST + (CONFIDENCE[SEEN] - GRAZED_TRUST) * _step(facing, 0.2, 0.6)
        confidence[i] = (
            shares[i, SEEN] * frontal
            + shares[i, MIRRORED] * CONFIDENCE[MIRRORED]
            + shares[i, GUESSED] * CONFIDENCE[GUESSED]
        )
    return out, shares, confidence
