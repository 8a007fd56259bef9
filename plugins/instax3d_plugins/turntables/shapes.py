"""What a head model lacks: hair as a layer over the scalp that may hang down, and shoulders."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.interpolate import PchipInterpolator
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from instax3d.geometry.ambient_occlusion import smoothed
from instax3d.geometry.landmarks68 import BROWS, CHIN, JAW_ENDS, NOSTRILS
from instax3d.geometry.mesh import vertex_normals
from instax3d.geometry.smoothstep import smoothstep

from .person import HairStyle
from .skin import near, waves

_CELL = 0.005
_BARE = -0.012
"""Thickness where no hair grows, meters."""
_SCALP_REACH = 10
"""Rounds of averaging that turn the scalp's mask into a soft one."""
_TORSO = np.array(
    [
        # meters below the neck's measured section, half width, half depth and middle (z), for the mean person
        (0.024, 0.078, 0.062, -0.016),
        (0.038, 0.110, 0.068, -0.020),
        (0.057, 0.142, 0.078, -0.025),
        (0.087, 0.172, 0.092, -0.030),
        (0.127, 0.190, 0.104, -0.032),
        (0.202, 0.203, 0.113, -0.032),
        (0.370, 0.195, 0.118, -0.028),
    ]
)
_RINGS, _SPOKES = 48, 96
_SQUARENESS = 2.4
"""Exponent of the superellipse that the torso's sections are."""


@dataclass(frozen=True, eq=False)
class Skull:
    """The head at the model's own resolution."""

    vertices: Float[ndarray, "n 3"]
    faces: Int[ndarray, "f 3"]
    scalp: Bool[ndarray, "n"]
    skin: Bool[ndarray, "n"]
    """Neither eyes, teeth nor the inside of the mouth."""
    landmarks: Float[ndarray, "68 3"]

    def hairiness(self, style: HairStyle) -> Float[ndarray, "n"]:
        """How much hair grows at each vertex, 0 to 1, with a soft hairline; a fringe covers part of the forehead."""
        grown = smoothed(self.scalp.astype(np.float64), self.faces, _SCALP_REACH)
        if style.fringe:
            brows = self.landmarks[BROWS]
            above = (self.vertices[:, 1] - brows[:, 1].max()) / (self.vertices[:, 1].max() - brows[:, 1].max())
            forehead = (self.vertices[:, 2] > self.landmarks[list(JAW_ENDS), 2].mean()) & self.skin
            grown = np.maximum(
                grown, forehead * smoothstep(above, 0.5 - 0.42 * style.fringe, 0.6 - 0.35 * style.fringe)
            )
        return smoothstep(grown, 0.25, 0.75)


def hair_shell(
    skull: Skull, style: HairStyle, seed: int
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"], Float[ndarray, "n 3"]]:
    """The hair's surface: vertices, faces and normals. Marching cubes over a layer of varying thickness."""
    grown = skull.hairiness(style)
    kept = np.flatnonzero(skull.skin)
    vertices, normals = skull.vertices[kept], vertex_normals(skull.vertices, skull.faces)[kept]
    thickness = _BARE + grown[kept] * (style.thickness - _BARE) * _by_height(vertices)
    thickness *= 1 + style.lumps * np.where(thickness > 0, waves(vertices, 0.06, seed), 0)
    chin = float(skull.landmarks[CHIN, 1])
    low, high = vertices[grown[kept] > 0.1].min(0) - 0.07, vertices[grown[kept] > 0.1].max(0) + 0.07
    low[1] = min(low[1], chin - (style.end or 0.0) - 0.05)
    axes = [np.arange(a, b, _CELL) for a, b in zip(low, high)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    points = grid.reshape(-1, 3)
    distance, nearest = cKDTree(vertices).query(points, k=3)
    weight = 1 / (distance + 0.002) ** 2
    weight /= weight.sum(1, keepdims=True)
    height = ((points[:, None] - vertices[nearest]) * normals[nearest]).sum(2)
    # far from the surface the tangent planes say nothing
    away = np.where(np.abs(height) < 0.5 * distance, np.sign(height) * distance, height)
    layer = ((thickness[nearest] - away) * weight).sum(1).reshape(grid.shape[:3])
    layer = ndimage.gaussian_filter(layer, 1.0)
    field = layer if style.end is None else np.maximum(layer, _hanging(grid, layer, skull, style, seed))
    surface, faces, _, _ = marching_cubes(field, 0.0, spacing=(_CELL,) * 3, gradient_direction="ascent")
    surface = surface + low
    for axis in range(3):
        surface[:, axis] = smoothed(surface[:, axis], faces, 2)
    faces = faces.astype(np.int64)
    return surface.astype(np.float64), faces, vertex_normals(surface, faces)


def _hanging(
    grid: Float[ndarray, "x y z 3"], layer: Float[ndarray, "x y z"], skull: Skull, style: HairStyle, seed: int
) -> Float[ndarray, "x y z"]:
    """Hair that falls from its widest section behind the face."""
    assert style.end is not None
    x, y, z = (grid[..., k] for k in range(3))
    ears = skull.landmarks[list(JAW_ENDS)].mean(0)
    from_height = ears[1] + 0.03
    row = int(np.argmin(np.abs(y[0, :, 0] - from_height)))
    section = layer[:, max(row - 1, 0) : row + 4].max(1)
    fallen = np.clip(from_height - y, 0, None)
    falling = section[:, None, :] - 0.06 * fallen + 0.35 * np.maximum(fallen - 0.12, 0)
    end = (
        skull.landmarks[CHIN, 1]
        - style.end
        + 0.012 * waves(grid.reshape(-1, 3) * [1, 0, 1], 0.03, seed + 1, 16).reshape(x.shape)
    )
    front = ears[2] + style.front - 0.1 * fallen - z
    return np.asarray(np.minimum.reduce([falling, front, y - end, from_height + 0.02 - y]))


def torso(neck: Float[ndarray, "k 3"], width: float) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"]]:
    """Shoulders and chest below the neck, open at the bottom; ``width`` scales them sideways.

    Args:
        neck: points around a level section of the neck, which the torso begins with.
    """
    low, high = neck.min(0), neck.max(0)
    height, half, middle = neck[:, 1].mean(), (high - low) / 2, (high + low) / 2
    section = [-0.02, half[0] - 0.008, half[2] - 0.008, middle[2]], [0.0, half[0] - 0.002, half[2] - 0.002, middle[2]]
    profile = np.vstack([*section, _TORSO])
    below = np.linspace(profile[0, 0], profile[-1, 0], _RINGS)
    a, b, depth = PchipInterpolator(profile[:, 0], profile[:, 1:])(below).T
    a = a + (width - 1) * np.clip(a - half[0], 0, None)
    heights = height - below
    angle = np.linspace(0, 2 * np.pi, _SPOKES, endpoint=False)
    across, along = np.sin(angle), np.cos(angle)
    power = 2 / _SQUARENESS
    ring = np.stack([np.sign(across) * np.abs(across) ** power, np.sign(along) * np.abs(along) ** power])
    vertices = np.stack(
        [
            a[:, None] * ring[0],
            np.repeat(heights[:, None], _SPOKES, 1),
            depth[:, None] + b[:, None] * ring[1],
        ],
        -1,
    ).reshape(-1, 3)
    i, j = np.mgrid[: _RINGS - 1, :_SPOKES]
    p, q = i * _SPOKES + j, i * _SPOKES + (j + 1) % _SPOKES
    faces = np.concatenate(
        [np.stack(t, -1).reshape(-1, 3) for t in ((p, p + _SPOKES, q), (q, p + _SPOKES, q + _SPOKES))]
    )
    return vertices, faces


def beard_area(points: Float[ndarray, "n 3"], landmarks: Float[ndarray, "68 3"]) -> Float[ndarray, "n"]:
    """Where a beard grows, 0 to 1: jaw, chin and upper lip."""
    jaw = near(points, landmarks[2:15], 0.018)
    lip = near(points, 0.5 * (landmarks[[49, 50, 51, 52, 53]] + landmarks[NOSTRILS]), 0.009)
    chin = near(points, landmarks[[57, 58, 56, CHIN]] * 0.6 + landmarks[[CHIN, 7, 9, CHIN]] * 0.4, 0.014)
    in_front = smoothstep(points[:, 2], landmarks[[1, 15], 2].mean() - 0.01, landmarks[[1, 15], 2].mean() + 0.02)
    return np.asarray(np.maximum.reduce([jaw * in_front, lip, chin]))


def _by_height(points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
    """Thickness relative to the crown's: less towards the nape and the ears."""
    low, high = points[:, 1].min(), points[:, 1].max()
    return np.asarray(0.55 + 0.45 * smoothstep((points[:, 1] - low) / (high - low), 0.45, 0.95))
