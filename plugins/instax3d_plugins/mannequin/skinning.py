"""Joints and skinning weights: neck, jaw and eyes."""

from collections.abc import Mapping, Sequence

import numpy as np

from instax3d.geometry.smoothstep import smoothstep

from .parts import Parts
from .table import Array, Index

JOINTS = ("neck", "jaw", "eye_left", "eye_right")
PARENTS = (-1, 0, 0, 0)
"""The parent of each joint; -1 is the static bust."""
NECK_RISE = (-0.145, -0.065)
"""The neck takes over between these heights of y + 0.3 z (meters): lower behind than in front."""
GAZE = {"Down": (25, 0, 0), "In": (0, -30, 0), "Out": (0, 30, 0), "Up": (-25, 0, 0)}
"""Axis-angle in degrees by which the left eye turns in ARKit's looks: about how far eyes rotate without the head."""
FOLLOW = 0.03
"""A joint moves with shape as the skin does within this distance of its neighborhood's nearest vertex, meters."""


def skinning_weights(vertices: Array, jaw: Array, parts: Parts) -> Array:
    """Weights [n, 5] of the bust and the four joints; rows sum to one.

    Args:
        vertices: [n, 3] neutral vertices, the skin's first.
        jaw: [skin] how far the skin follows the jaw.
        parts: the added vertices.
    """
    n, skin = len(vertices), len(jaw)
    follows_jaw = np.zeros(n)
    follows_jaw[:skin] = jaw
    bag, loop = parts.indices["mouth_bag"], parts.loops["mouth"]
    follows_jaw[bag[:-1]] = np.tile(jaw[loop], len(bag) // len(loop))
    follows_jaw[bag[-1]] = 0.5
    follows_jaw[parts.indices["teeth_lower"]] = 1
    rise = smoothstep(vertices[:, 1] + 0.3 * vertices[:, 2], *NECK_RISE)
    bust = parts.indices["bust"]
    rise[bust] = np.r_[np.tile(rise[parts.loops["base"]], len(bust) // len(parts.loops["base"])), 0]
    weights = np.zeros((n, 5))
    weights[:, 2] = follows_jaw * rise
    weights[:, 1] = rise - weights[:, 2]
    weights[:, 0] = 1 - rise
    for column, side in ((3, "left"), (4, "right")):
        weights[parts.indices[f"eyeball_{side}"]] = np.eye(5)[column]
    return weights


def joint_moves(skin: Array, shape: Array, joints: Array, eyes: Array) -> Array:
    """How the joints move with each shape component, [components, 4, 3].

    Neck and jaw hinge lie on the plane of symmetry and follow the mean of the skin beside them; the eyes are measured.

    Args:
        skin: [n, 3] neutral skin.
        shape: [components, n, 3] its displacements.
        joints: [4, 3] neutral joints.
        eyes: [components, 2, 3] displacements of the eye centers.
    """
    moves = np.zeros((len(shape), len(joints), 3))
    for joint in range(2):
        across = np.linalg.norm(skin[:, 1:] - joints[joint, 1:], axis=1)
        near = across < across.min() + FOLLOW
        moves[:, joint, 1:] = shape[:, near, 1:].mean(1)
    moves[:, 2:] = eyes
    return moves


def gaze_turns(expressions: Sequence[str]) -> Array:
    """[expressions, 4, 3] axis-angles that the expressions add to the joints: ARKit's looks turn the eyes."""
    turns = np.zeros((len(expressions), len(JOINTS), 3))
    for number, name in enumerate(expressions):
        look = name.removeprefix("eyeLook").removesuffix("Left").removesuffix("Right")
        if look in GAZE:
            left = np.radians(GAZE[look])
            right = name.endswith("Right")
            turns[number, JOINTS.index("eye_right" if right else "eye_left")] = left * [1, -1, -1] if right else left
    return turns


def mirror_of(vertices: Array, skin_mirror: Index, parts: Mapping[str, Index]) -> Index:
    """The partner of each vertex; that of an added one is the vertex of the same kind at its mirrored place."""
    mirror: Index = np.r_[skin_mirror, np.zeros(len(vertices) - len(skin_mirror), np.int64)]
    for name, here in parts.items():
        partner = _other_side(name)
        there = parts[partner]
        distance = np.linalg.norm(vertices[here][:, None] * [-1, 1, 1] - vertices[there][None], axis=2)
        mirror[here] = there[distance.argmin(1)]
    return mirror


def _other_side(name: str) -> str:
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")
