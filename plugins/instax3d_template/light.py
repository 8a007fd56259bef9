"""How much light reaches each place: occlusion and a first-order fit to the photo."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .scene import HAIR_PART, Scene

_FRONT_LIGHT = 0.1
"""Share of the light that comes from the photo's direction."""


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
