"""Light on triangle meshes: what a distant light reaches, and how much of the sky each place sees."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .mesh_raster import project, rasterize
from .sample_image import sample

_IMAGE = 200
"""Pixels of the depth images of `exposure`."""
_FAR = 20.0
"""Distance of lights, in radii of the mesh's world (meters): far enough for parallel rays."""
_BIAS = 0.008
"""What lies no deeper than this behind the nearest surface is lit, world units (meters)."""


def lit(
    vertices: Float[ndarray, "n 3"],
    faces: Int[ndarray, "f 3"],
    direction: Float[ndarray, "3"],
    *,
    image: int = _IMAGE,
    bias: float = _BIAS,
) -> Bool[ndarray, "n"]:
    """Which vertices nothing hides from a distant light in a unit ``direction`` (a shadow map of ``image`` pixels)."""
    middle = (vertices.min(0) + vertices.max(0)) / 2
    radius = float(np.linalg.norm(vertices - middle, axis=1).max())
    K = np.diag([_FAR * image / (2 * radius), _FAR * image / (2 * radius), 1.0])
    K[:2, 2] = image / 2
    viewmat = np.eye(4)
    forward = -direction
    right = np.cross([0.0, 0.0, 1.0] if abs(direction[1]) > 0.9 else [0.0, -1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    viewmat[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    viewmat[:3, 3] = -viewmat[:3, :3] @ (middle + _FAR * direction)
    depth = rasterize(vertices, faces, viewmat, K, image, image).depth
    depth[~np.isfinite(depth)] = 2 * _FAR
    at = project(vertices, viewmat, K)
    return np.asarray(at[:, 2] < sample(depth, at) + bias)


def exposure(
    vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"], normals: Float[ndarray, "n 3"], *, directions: int = 40
) -> Float[ndarray, "n"]:
    """Share of the sky each vertex sees, weighed by the cosine to its normal, in [0, 1] (ambient occlusion)."""
    seen, possible = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    golden = np.pi * (3 - np.sqrt(5))
    for k in range(directions):
        # evenly over the upper three quarters of the sphere (Fibonacci lattice): little light comes from below
        height = 1 - 1.5 * (k + 0.5) / directions
        flat = np.sqrt(1 - height**2)
        direction = np.array([flat * np.cos(golden * k), height, flat * np.sin(golden * k)])
        cosine = np.clip(normals @ direction, 0, None)
        seen += cosine * lit(vertices, faces, direction)
        possible += cosine
    # where surfaces meet, each hides in the other: even that out
    return smoothed(np.clip(seen / possible, 0, 1), faces)


def smoothed(values: Float[ndarray, "n"], faces: Int[ndarray, "f 3"], rounds: int = 8) -> Float[ndarray, "n"]:
    """Averaged over each vertex and its neighbors, several times."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = 1 + np.bincount(edges[:, 0], minlength=len(values))
    for _ in range(rounds):
        values = (values + np.bincount(edges[:, 0], values[edges[:, 1]], len(values))) / count
    return values
