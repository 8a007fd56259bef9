"""Light on triangle meshes: shadow maps of a distant light, and ambient occlusion."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .mesh_raster import project, rasterize
from .sample_image import sample

_SIDE = 200
"""Side of shadow maps, pixels."""
_LIGHT_DISTANCE = 20.0
"""Of the light from the mesh, meters: far enough for parallel rays."""
_BIAS = 0.008
"""Vertices no deeper than this behind the nearest surface are lit, meters."""
_DIRECTIONS = 40
"""Of the sky."""


def lit(
    vertices: Float[ndarray, "n 3"],
    faces: Int[ndarray, "f 3"],
    direction: Float[ndarray, "3"],
    *,
    side: int = _SIDE,
    bias: float = _BIAS,
) -> Bool[ndarray, "n"]:
    """Which vertices of a mesh (meters) a distant light reaches, by a shadow map.

    Args:
        direction: unit vector from the mesh to the light.
        side: of the shadow map, pixels.
        bias: depth behind the nearest surface up to which a vertex is lit, meters.
    """
    center = (vertices.min(0) + vertices.max(0)) / 2
    radius = float(np.linalg.norm(vertices - center, axis=1).max())
    K = np.diag([_LIGHT_DISTANCE * side / (2 * radius), _LIGHT_DISTANCE * side / (2 * radius), 1.0])
    K[:2, 2] = side / 2
    viewmat = np.eye(4)
    forward = -direction
    right = np.cross([0.0, 0.0, 1.0] if abs(direction[1]) > 0.9 else [0.0, -1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    viewmat[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    viewmat[:3, 3] = -viewmat[:3, :3] @ (center + _LIGHT_DISTANCE * direction)
    depth = rasterize(vertices, faces, viewmat, K, side, side).depth
    depth[~np.isfinite(depth)] = 2 * _LIGHT_DISTANCE
    pixels = project(vertices, viewmat, K)
    reached: Bool[ndarray, "n"] = pixels[:, 2] < sample(depth, pixels) + bias
    return reached


def exposure(
    vertices: Float[ndarray, "n 3"],
    faces: Int[ndarray, "f 3"],
    normals: Float[ndarray, "n 3"],
    *,
    directions: int = _DIRECTIONS,
) -> Float[ndarray, "n"]:
    """Share of the sky that each vertex sees, weighted by the cosine to its normal, in [0, 1]: 1 - ambient occlusion.

    Args:
        vertices: meters.
        normals: of unit length.
        directions: from how many the sky is sampled.
    """
    visible, possible = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    golden = np.pi * (3 - np.sqrt(5))
    for k in range(directions):
        # uniformly over the upper three quarters of the sphere (Fibonacci lattice): little light comes from below
        height = 1 - 1.5 * (k + 0.5) / directions
        radius = np.sqrt(1 - height**2)
        direction = np.array([radius * np.cos(golden * k), height, radius * np.sin(golden * k)])
        cosine = np.clip(normals @ direction, 0, None)
        visible += cosine * lit(vertices, faces, direction)
        possible += cosine
    # where surfaces intersect, each hides in the other: smooth that
    return smoothed(np.clip(visible / possible, 0, 1), faces)


def smoothed(values: Float[ndarray, "n"], faces: Int[ndarray, "f 3"], rounds: int = 8) -> Float[ndarray, "n"]:
    """Values averaged over each vertex and its neighbors, ``rounds`` times."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = 1 + np.bincount(edges[:, 0], minlength=len(values))
    for _ in range(rounds):
        values = (values + np.bincount(edges[:, 0], values[edges[:, 1]], len(values))) / count
    return values
