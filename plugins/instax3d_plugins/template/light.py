"""How much light reaches each vertex: occlusion with interreflection, and a first-order fit to the photo."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .scene import HAIR_PART, HeadScene

# Chosen by eye on the eight photos of docs/template_views.md, like the limits of the fit below.
_FRONT_LIGHT = 0.1
"""Share of the light that comes from the photo's direction."""
_ROUNDS = 6
"""Iterations of the fixed point; it converges within 1 % (tests)."""
_GAMMA = 2.2
"""Exponent from the photo's values to linear light, about that of sRGB."""


@dataclass(frozen=True, eq=False)
class EstimatedLight:
    """Light at each vertex, relative to the photo's values."""

    openness: Float[ndarray, "n"]
    """Share of it that occlusion leaves on a black surface."""
    incident: Float[ndarray, "n"]
    """What arrives without occlusion."""

    def relight(self, albedo: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """The colors of surfaces."""
        color: ndarray = albedo * self._unoccluded_share(albedo) * self.incident[:, None]
        return color

    def delight(self, color: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """The surfaces' albedo, by fixed-point iteration."""
        albedo: ndarray = color / self.incident[:, None]
        for _ in range(_ROUNDS):
            albedo = color / (self._unoccluded_share(albedo) * self.incident[:, None])
        return albedo

    def _unoccluded_share(self, albedo: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Share of the light that reaches each place: bright surroundings reflect light, so that shadows on skin are
        warm and light (Jimenez et al., "Practical Realtime Strategies for Accurate Indirect Occlusion", 2016).
        """
        a = np.clip(albedo, 0, 1) ** _GAMMA
        x = self.openness[:, None] ** _GAMMA
        cubic = ((2.0404 * a - 0.3324) * x - (4.7951 * a - 0.6417)) * x + 2.7552 * a + 0.6903
        share: ndarray = np.maximum(x, cubic * x) ** (1 / _GAMMA)
        return share


def estimate_light(
    scene: HeadScene,
    exposed: Float[ndarray, "n"],
    facing: Float[ndarray, "n"],
    color: Float[ndarray, "n 3"],
    weight: Float[ndarray, "n"],
) -> EstimatedLight:
    """Occlusion, and a light from the side and from above.

    The light's direction is fitted separately to the seen colors of hair and of the rest, but for its front-to-back
    part: the photo does not show how bright it is behind, and photographers light the front.
    """
    openness = 0.6 + 0.4 * exposed
    incident = 1 - _FRONT_LIGHT + _FRONT_LIGHT * facing
    brightness = color.mean(1)
    for which in (scene.part == HAIR_PART, scene.part != HAIR_PART):
        w = weight * which
        if w.sum() < 50:
            continue
        even = brightness / (openness * incident)
        relative = even / max(float((w * even).sum() / w.sum()), 1e-3)
        terms = np.c_[np.ones(len(w)), scene.normals]
        ridge = np.diag([0, 1, 1, 1]) * 0.05 * w.sum()
        fitted = np.linalg.solve(terms.T @ (w[:, None] * terms) + ridge, terms.T @ (w * relative))
        sideways, upwards = np.clip(fitted[1:3], -0.25, 0.25)
        incident[which] *= 1 + scene.normals[which] @ [sideways, upwards, 0]
    return EstimatedLight(openness, np.maximum(incident, 0.3))
