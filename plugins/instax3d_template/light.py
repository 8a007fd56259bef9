"""How much light reaches each place: occlusion seen from many directions and a first-order fit to the photo."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from instax3d.mesh_raster import project, rasterise

from .head import sample
from .scene import HAIR_PART, Scene

_DIRECTIONS = 40
_IMAGE = 200
"""Pixels of the depth images that occlusion is counted with."""
_FRONT_LIGHT = 0.1
"""Share of the light that comes from the photo's direction."""
_FAR = 20.0
"""Metres: far enough for parallel rays."""


def exposure(scene: Scene) -> Float[ndarray, "n"]:
    """Share of the sky each vertex sees, weighed by the cosine to its normal, in [0, 1] (ambient occlusion)."""
    middle = (scene.vertices.min(0) + scene.vertices.max(0)) / 2
    radius = float(np.linalg.norm(scene.vertices - middle, axis=1).max())
    K = np.diag([_FAR * _IMAGE / (2 * radius), _FAR * _IMAGE / (2 * radius), 1.0])
    K[:2, 2] = _IMAGE / 2
    seen, possible = np.zeros(len(scene.vertices)), np.full(len(scene.vertices), 1e-6)
    golden = np.pi * (3 - np.sqrt(5))
    for k in range(_DIRECTIONS):
        # evenly over the upper three quarters of the sphere (Fibonacci lattice): little light comes from below
        height = 1 - 1.5 * (k + 0.5) / _DIRECTIONS
        flat = np.sqrt(1 - height**2)
        direction = np.array([flat * np.cos(golden * k), height, flat * np.sin(golden * k)])
        viewmat = np.eye(4)
        forward = -direction
        right = np.cross([0.0, 0.0, 1.0] if abs(height) > 0.9 else [0.0, -1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        viewmat[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        viewmat[:3, 3] = -viewmat[:3, :3] @ (middle + _FAR * direction)
        depth = rasterise(scene.vertices, scene.faces, viewmat, K, _IMAGE, _IMAGE).depth
        depth[~np.isfinite(depth)] = 2 * _FAR
        at = project(scene.vertices, viewmat, K)
        open_sky = at[:, 2] < sample(depth, at) + 0.008
        cosine = np.clip(scene.normals @ direction, 0, None)
        seen += cosine * open_sky
        possible += cosine
    # where surfaces meet, each hides in the other: even that out
    return _smoothed(np.clip(seen / possible, 0, 1), scene.faces)


def _smoothed(values: Float[ndarray, "n"], faces: Int[ndarray, "f 3"], rounds: int = 8) -> Float[ndarray, "n"]:
    """Averaged over each vertex and its neighbours, several times."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = 1 + np.bincount(edges[:, 0], minlength=len(values))
    for _ in range(rounds):
        values = (values + np.bincount(edges[:, 0], values[edges[:, 1]], len(values))) / count
    return values


def shading(
    scene: Scene,
    exposed: Float[ndarray, "n"],
    facing: Float[ndarray, "n"],
    colour: Float[ndarray, "n 3"],
    weight: Float[ndarray, "n"],
) -> Float[ndarray, "n"]:
    """Brightness of a white surface at each vertex: occlusion times a light from the side and from above.

    The light's direction is fitted to the seen colours of hair and of the rest, but for its front-to-back part: nothing
    tells how bright it is behind, and photographers light the front.
    """
    light = (0.6 + 0.4 * exposed) * (1 - _FRONT_LIGHT + _FRONT_LIGHT * facing)
    brightness = colour.mean(1)
    for which in (scene.part == HAIR_PART, scene.part != HAIR_PART):
        w = weight * which
        if w.sum() < 50:
            continue
        relative = brightness / light / max(float((w * brightness / light).sum() / w.sum()), 1e-3)
        terms = np.c_[np.ones(len(w)), scene.normals]
        ridge = np.diag([0, 1, 1, 1]) * 0.05 * w.sum()
        fitted = np.linalg.solve(terms.T @ (w[:, None] * terms) + ridge, terms.T @ (w * relative))
        sideways, upwards = np.clip(fitted[1:3], -0.25, 0.25)
        light[which] *= 1 + scene.normals[which] @ [sideways, upwards, 0]
    return np.maximum(light, 0.2)
