"""Renders the scene from a camera: deferred shading that samples the photo at full resolution."""

from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import cv2
import numpy as np
from jaxtyping import Float
from numba import njit, prange
from numpy import ndarray

from instax3d.geometry.mesh_raster import rasterize
from instax3d.geometry.smoothstep import smoothstep

from .head import PhotoCamera
from .noise import PIXEL, SIZE, Noise
from .provenance import CONFIDENCE, GRAZED_CONFIDENCE, GUESSED, MIRRORED, SEEN, complete
from .scene import BUST, HAIR_PART, HEAD, HeadScene
from .texture import MIRROR_GAIN, MIRROR_GRAZED, WORN, Appearance

# Chosen by eye on the eight photos of docs/template_views.md, like the limits in the kernel.
_SUPERSAMPLING = 2
_CROWN_Z, _AXIS_Z = -0.04, 0.0
"""World z of the crown, from which the hair grows outwards, and of the axis around which it hangs, meters."""
_DEEPEST = 0.6
"""Largest share of a color that made-up or mirrored detail may subtract."""
_GRAZED_DETAIL = 0.03
"""Largest detail taken from where the photo sees the surface at a grazing angle."""
_STRETCHED = (0.15, 0.5)
"""Ratios of the photo's cosine to the view's between which views near the photo come to take its pixels as they are;
below, they would be stretched..."""
_STRETCHED_OCCLUDER = (0.3, 0.7)
"""...and the same for what is not the part's own, such as a strand before skin."""
_MIRRORED_CLOTH = 0.06
"""Largest detail of clothes that is mirrored: folds, but no print or button that is on one side alone."""
_UNDER_HAIR = 0.03
"""The head counts as covered by what the photo shows as hair up to this far behind it, meters."""
_RAGGED = 0.2
"""Variation of the cosine at which hair counts as seen, from strand to strand."""
# columns of the interpolated attributes
_POSITION, _BASE, _OVERLAY, _BORDER, _MIRROR_AT, _MIRROR_WEIGHT, _MIRROR_SHARE = 0, 3, 6, 9, 10, 12, 13
_FACING, _MIRROR_FACING, _GRAIN, _PLANES, _HAIRY, _TURNED_TO = 14, 15, 16, 17, 20, 21


@dataclass(frozen=True, eq=False)
class Drawing:
    """One view."""

    image: Float[ndarray, "s s 3"]
    """In [0, 1] on white."""
    alpha: Float[ndarray, "s s"]
    provenance: Float[ndarray, "s s 3"]
    """Shares of what was seen, mirrored and guessed."""
    confidence: Float[ndarray, "s s"]
    """In [0, 1]."""


class _PhotoLayers(NamedTuple):
    """What is sampled where the photo sees a place: see `Appearance`."""

    photo: Float[ndarray, "s s 3"]
    detail: Float[ndarray, "s s 3"]
    depth: Float[ndarray, "s s"]
    usable: Float[ndarray, "s s"]
    fits: Float[ndarray, "s s 4"]


class _Patterns(NamedTuple):
    """Made-up detail: see `noise.Noise`."""

    hair_bands: Float[ndarray, "3 3"]
    strands: Float[ndarray, "n n 3"]
    grain: Float[ndarray, "n n"]
    cloth: Float[ndarray, "m m 3"]
    """A single pixel where the photo does not show how cloth looks."""


class Painter:
    """Renders views of one scene."""

    def __init__(self, scene: HeadScene, appearance: Appearance, camera: PhotoCamera, noise: Noise) -> None:
        self._scene, self._camera = scene, camera
        planes = scene.normals**4 + 1e-6
        columns = {
            _POSITION: scene.vertices,
            _BASE: appearance.base,
            _OVERLAY: appearance.overlay,
            _BORDER: appearance.border[:, None],
            _MIRROR_AT: appearance.mirror_at,
            _MIRROR_WEIGHT: appearance.mirror_weight[:, None],
            _MIRROR_SHARE: appearance.mirror_share[:, None],
            _FACING: appearance.facing[:, None],
            _MIRROR_FACING: appearance.mirror_facing[:, None],
            _GRAIN: appearance.grain[:, None],
            _PLANES: planes / planes.sum(1, keepdims=True),
            _HAIRY: appearance.hairy[:, None],
            _TURNED_TO: np.zeros((len(scene.vertices), 1)),  # to each view's camera
        }
        assert list(columns) == sorted(columns)
        self._attributes = np.concatenate(list(columns.values()), axis=1).astype(np.float32)
        self._part = scene.part[scene.faces[:, 0]]
        cloth = np.zeros((1, 1, 3), np.float32) if appearance.cloth is None else noise.like(appearance.cloth)
        self._layers = _PhotoLayers(
            appearance.photo, appearance.detail, appearance.depth, appearance.usable, appearance.fits
        )
        bands = appearance.hair_bands.astype(np.float32)
        self._patterns = _Patterns(bands, noise.strands, noise.grain, cloth)
        self._scale = np.array([scene.top, appearance.meters_per_pixel, appearance.shortness])

    def draw(self, viewmat: Float[ndarray, "4 4"], K: Float[ndarray, "3 3"], size: int) -> Drawing:
        """Render the scene from a camera with ``size`` pixels on a side."""
        scene = self._scene
        raster = rasterize(scene.vertices, scene.faces, viewmat, K, size, size, supersample=_SUPERSAMPLING)
        center = -viewmat[:3, :3].T @ viewmat[:3, 3]
        attributes = self._attributes.copy()
        towards = center - scene.vertices
        attributes[:, _TURNED_TO] = (scene.normals * towards).sum(1) / np.linalg.norm(towards, axis=1)
        values = raster.interpolate(attributes, scene.faces)
        azimuth = float(np.degrees(np.arctan2(center[0], center[2])))
        turned = abs((azimuth - self._camera.azimuth + 180) % 360 - 180)
        # near its own direction the photo is right even at grazing angles
        near = 1 - float(smoothstep(np.array(turned), 8, 35))
        to_photo = self._camera.K @ self._camera.viewmat[:3]
        mask = raster.mask
        part = self._part[raster.face[mask]]
        image, shares = np.ones((*mask.shape, 3), np.float32), np.zeros((*mask.shape, 3), np.float32)
        confidence = np.zeros(mask.shape, np.float32)
        image[mask], shares[mask], confidence[mask] = _colors(
            values, part, to_photo, near, self._scale, self._layers, self._patterns
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
def _smoothstep(x: float, low: float, high: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(inline="always")
@no_type_check
def _wrapped(tile: Any, x: float, y: float, channel: int) -> Any:
    """Bilinear value of a tile that repeats without end; its side is a power of 2."""
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
    """Layers of strands at a point: they run from the crown over the head and then straight down.

    They keep their width where they fan out: two octaves of the texture are mixed by the distance from the crown.
    """
    below = top - y
    behind = z - (_CROWN_Z + (_AXIS_Z - _CROWN_Z) * _smoothstep(below, 0.0, 0.12))
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
    """Made-up cloth by triplanar mapping; plain grain where the photo does not show how cloth looks."""
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
    parts: Any,
    to_photo: Any,
    near: float,
    scale: Any,
    layers: Any,
    patterns: Any,
) -> Any:
    """Color, provenance and confidence of each pixel from its interpolated attributes and its part.

    Args:
        values: attributes, by the columns named above; float32 [n, 22].
        parts: part of the scene; uint8 [n].
        to_photo: the photo's projection; float64 [3, 4].
        near: 1 in the photo's own direction, falling to 0 away from it.
        scale: height of the head's top, size of the photo's pixels (both meters), and how many times shorter than
            straight hair's the strands are.
        layers: `_PhotoLayers`.
        patterns: `_Patterns`.
    """
    photo, detail, depth, usable, fits = layers
    hair_bands, strands, grain, cloth = patterns
    size = len(photo)
    top, pixel, shortness = scale
    out, shares = np.empty((len(values), 3), np.float32), np.empty((len(values), 3), np.float32)
    confidence = np.empty(len(values), np.float32)
    for i in prange(len(values)):
        value, part = values[i], parts[i]
        x, y, z = value[0], value[1], value[2]
        photo_depth = to_photo[2, 0] * x + to_photo[2, 1] * y + to_photo[2, 2] * z + to_photo[2, 3]
        px = (to_photo[0, 0] * x + to_photo[0, 1] * y + to_photo[0, 2] * z + to_photo[0, 3]) / photo_depth
        py = (to_photo[1, 0] * x + to_photo[1, 1] * y + to_photo[1, 2] * z + to_photo[1, 3]) / photo_depth
        column, row, u, v = _corners(px, py, size)
        mirrored_column, mirrored_row, mirrored_u, mirrored_v = _corners(value[_MIRROR_AT], value[_MIRROR_AT + 1], size)
        facing, mirror_weight = value[_FACING], value[_MIRROR_WEIGHT]
        turned_to = max(value[_TURNED_TO], 0.05)
        reliable = near * _smoothstep(facing, _STRETCHED[0] * turned_to, _STRETCHED[1] * turned_to)
        occluder = near * _smoothstep(facing, _STRETCHED_OCCLUDER[0] * turned_to, _STRETCHED_OCCLUDER[1] * turned_to)
        fitting = _bilinear(fits[:, :, part], column, row, u, v)
        mirror_fitting = _bilinear(fits[:, :, part], mirrored_column, mirrored_row, mirrored_u, mirrored_v)
        border = value[_BORDER]
        if part == HEAD:  # at the hairline the photo's own transition is right; glasses show as long as they can
            fitting = max(fitting, value[_HAIRY], _smoothstep(border, 0.1, 0.6))
            mirror_fitting = max(mirror_fitting, value[_HAIRY])
            worn = _bilinear(fits[:, :, WORN], column, row, u, v)
            reliable, occluder = max(reliable, worn), max(occluder, worn)
        low = 0.30 - 0.28 * reliable
        high = low + 0.3 - 0.15 * reliable
        deeper = _bilinear(depth, column, row, u, v) - photo_depth
        weight = _smoothstep(deeper, -0.006, -0.003)
        weight *= _bilinear(usable, column, row, u, v) * max(fitting, occluder)
        mirror_better = _smoothstep(value[_MIRROR_FACING] - facing, MIRROR_GAIN[0], MIRROR_GAIN[1])
        mirror_better *= 1 - _smoothstep(facing, MIRROR_GRAZED[0], MIRROR_GRAZED[1])
        weight *= 1 - (1 - reliable) * mirror_weight * mirror_better
        strand = np.zeros(3)
        if part >= HAIR_PART or (part == HEAD and border > 0):
            _strands(x, y, z, top, shortness, strands, strand)
        if part >= HAIR_PART:  # seen and made-up hair blend along the strands
            ragged = (1 - near) * _RAGGED * (strand[1] + strand[2])
            facing += ragged
            mirror_weight = _smoothstep(mirror_weight + 4 * ragged * mirror_weight * (1 - mirror_weight), 0.0, 1.0)
        # at grazing angles the photo's detail is kept longer than its tone
        toned = weight * _smoothstep(facing, low + 0.12 * (1 - reliable), high + 0.15 * (1 - reliable))
        weight *= _smoothstep(facing, low, high)
        mirror_weight *= mirror_fitting * _bilinear(usable, mirrored_column, mirrored_row, mirrored_u, mirrored_v)

        overlay_share = 0.0
        shadow = 1.0
        if part == HEAD:
            overlay_share = _smoothstep(border + 0.05 * strand[0], 0.1, 1.0) if border > 0 else 0.0
            # near the photo's direction, what lies behind a lock of hair that it shows is under it
            under = _smoothstep(near, 0.6, 0.8) * _smoothstep(deeper, -_UNDER_HAIR, -0.5 * _UNDER_HAIR)
            overlay_share = max(overlay_share, under * _bilinear(fits[:, :, HAIR_PART], column, row, u, v))
        elif part == BUST:
            overlay_share = _smoothstep(border, -0.0008, 0.0008)
            shadow = 1 - 0.2 * (1 - overlay_share) * np.exp(-((border / 0.005) ** 2))
        spot = grain[int(y * 1400) % SIZE, int(np.arctan2(x, z) * 126) % SIZE] * value[_GRAIN]
        for k in range(3):
            strand_detail = strand[0] * hair_bands[0, k] + strand[1] * hair_bands[1, k] + strand[2] * hair_bands[2, k]
            base, overlay = value[_BASE + k], value[_OVERLAY + k]
            if part >= HAIR_PART:
                made_up = strand_detail
            else:
                made_up = (1 - overlay_share) * spot
                base *= shadow
                if part == HEAD:
                    made_up += overlay_share * strand_detail
                elif overlay_share > 0:
                    made_up += overlay_share * _cloth(x, y, z, value, pixel, cloth, k, spot)
            guess = (1 - overlay_share) * base + overlay_share * overlay
            mirrored = _bilinear(detail[:, :, k], mirrored_column, mirrored_row, mirrored_u, mirrored_v)
            if part == BUST:
                mirrored = min(max(mirrored, -_MIRRORED_CLOTH), _MIRRORED_CLOTH)
            own = _bilinear(detail[:, :, k], column, row, u, v)
            tone = toned * (_bilinear(photo[:, :, k], column, row, u, v) - own) + (1 - toned) * guess
            fine = mirror_weight * mirrored + (1 - mirror_weight) * made_up
            fine = max(fine, -_DEEPEST * guess)
            # grazing angles give texture, not tone
            grazed = min(max(own, -_GRAZED_DETAIL), _GRAZED_DETAIL)
            color = tone + toned * own + (weight - toned) * grazed + (1 - weight) * fine
            out[i, k] = min(max(color, 0.0), 1.0)
        mirror_share = (1 - overlay_share) * value[_MIRROR_SHARE]
        shares[i, SEEN] = weight
        shares[i, MIRRORED] = (1 - weight) * mirror_share
        shares[i, GUESSED] = (1 - weight) * (1 - mirror_share)
        frontal = GRAZED_CONFIDENCE + (CONFIDENCE[SEEN] - GRAZED_CONFIDENCE) * _smoothstep(facing, 0.2, 0.6)
        confidence[i] = (
            shares[i, SEEN] * frontal
            + shares[i, MIRRORED] * CONFIDENCE[MIRRORED]
            + shares[i, GUESSED] * CONFIDENCE[GUESSED]
        )
    return out, shares, confidence
