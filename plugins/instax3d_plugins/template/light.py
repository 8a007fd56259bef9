"""How much light reaches each place: occlusion, with light that bounces, and a first-order fit to the photo."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .scene import HAIR_PART, Scene

_FRONT_LIGHT = 0.1
"""Share of the light that comes from the photo's direction."""
_ROUNDS = 6
"""Of the fixed-point iteration."""
_GAMMA = 2.2
"""Exponent that leads from the photo's values to amounts of light, about."""


@dataclass(frozen=True)
class Light:
    """Light at each vertex, relative to the photo's values."""

    open: Float[ndarray, "n"]
    """What occlusion leaves of it on a black surface."""
    falling: Float[ndarray, "n"]
    """What falls in without occlusion."""

    def on(self, albedo: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """The colors of surfaces."""
        return albedo * self._reaching(albedo) * self.falling[:, None]

    def taken_off(self, color: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """The surfaces' own colors, by fixed-point iteration."""
        albedo = color / self.falling[:, None]
        for _ in range(_ROUNDS):
            albedo = color / (self._reaching(albedo) * self.falling[:, None])
        return albedo

    def _reaching(self, albedo: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Share of the light that reaches each place: bright surroundings pass light on, so that shadows on skin are
        warm and light (Jimenez et al., "Practical Realtime Strategies for Accurate Indirect Occlusion", 2016).
        """
        a = np.clip(albedo, 0, 1) ** _GAMMA
        x = self.open[:, None] ** _GAMMA
        cubic = ((2.0404 * a - 0.3324) * x - (4.7951 * a - 0.6417)) * x + 2.7552 * a + 0.6903
        reaching: ndarray = np.maximum(x, cubic * x) ** (1 / _GAMMA)
        return reaching


def shading(
    scene: Scene,
    exposed: Float[ndarray, "n"],
    facing: Float[ndarray, "n"],
    color: Float[ndarray, "n 3"],
    weight: Float[ndarray, "n"],
) -> Light:
    """Occlusion, and a light from the side and from above.

    The light's direction is fitted to the seen colors of hair and of the rest, but for its front-to-back part: nothing
    tells how bright it is behind, and photographers light the front.
    """
    reaching = 0.6 + 0.4 * exposed
    falling = 1 - _FRONT_LIGHT + _FRONT_LIGHT * facing
    brightness = color.mean(1)
    for which in (scene.part == HAIR_PART, scene.part != HAIR_PART):
        w = weight * which
        if w.sum() < 50:
            continue
        even = brightness / (reaching * falling)
        relative = even / max(float((w * even).sum() / w.sum()), 1e-3)
        terms = np.c_[np.ones(len(w)), scene.normals]
        ridge = np.diag([0, 1, 1, 1]) * 0.05 * w.sum()
        fitted = np.linalg.solve(terms.T @ (w[:, None] * terms) + ridge, terms.T @ (w * relative))
        sideways, upwards = np.clip(fitted[1:3], -0.25, 0.25)
        falling[which] *= 1 + scene.normals[which] @ [sideways, upwards, 0]
    return Light(reaching, np.maximum(falling, 0.3))
