"""Eyes and jaw: where they turn, and what follows the jaw."""

from dataclasses import dataclass

import numpy as np

from instax3d.geometry.landmarks68 import CHIN
from instax3d.heads.facekit import LANDMARKS

from ..table import Array
from .fits import Fit
from .half import Half
from .measure import Skin
from .reference import Reference

CORNEA = 8.6
"""The eyeball's vertices in front of this z bulge out of the sphere, cm."""
HINGE = (0.0, 0.3, 1.8)
"""The jaw's hinge, in front of the ear, cm."""
CHIN_VERTEX = LANDMARKS[CHIN]
LEAST_ARM = 0.3
"""Square of the smallest motion of a jaw's rotation, cm², against which a vertex's own is measured."""
JAW_SMOOTHNESS = 2e-2


@dataclass(frozen=True)
class Eyeball:
    """The left one, cm."""

    center: Array
    radius: float


def eyeball(reference: Reference) -> Eyeball:
    """The sphere through the left eyeball but for its cornea."""
    points = reference.neutral[reference.left_eyeball]
    points = points[points[:, 2] < CORNEA]
    system = np.c_[2 * points, np.ones(len(points))]
    *center, rest = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return Eyeball(np.array(center), float(np.sqrt(rest + np.square(center).sum())))


def jaw_weights(skin: Skin, reference: Reference, half: Half) -> Array:
    """[half of level 1] how far each control point goes with the rigid rotation that takes the chin along jawOpen."""
    moves = reference.symmetric(reference.expression("jawOpen"))
    hinge = np.array(HINGE)
    angle = np.linalg.norm(moves[CHIN_VERTEX]) / np.linalg.norm(reference.skin[CHIN_VERTEX, 1:] - hinge[1:])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    arms = skin.vertices[skin.cage.levels[-1].half][:, 1:] - hinge[1:]
    rigid = arms @ rotation.T - arms
    real = (skin.correspondence @ moves[half.ids])[:, 1:]
    follows = (real * rigid).sum(1) / np.maximum((rigid**2).sum(1), LEAST_ARM)
    follows[arms[:, 1] < 0] *= 0.5
    return Fit.of_half(skin.cage, 1, JAW_SMOOTHNESS).scalars(np.clip(follows, 0, 1))
