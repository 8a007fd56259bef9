"""FLAME's 68 landmarks by the published rules, whose jaw line depends on the head's yaw."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.headmodel import rotation_matrices

from .data import LandmarkEmbedding

Rule = Literal["deca", "flame_pytorch"]
"""They select rows of the table by angles of opposite sign; see the README."""


def contour_row(pose: Float[Tensor, "5 3"], rule: Rule) -> int:
    """The row (0 to 78) of the table of jaw lines for a pose.

    The angle is the y Euler angle of root times neck in whole degrees, at most 39 either way: rows 0 to 39, and 40 to
    78 for angles below zero. DECA keeps its sign (and its pose has no neck), FLAME_PyTorch negates it.
    """
    root, neck = rotation_matrices(pose[:2])
    rotation = root @ neck
    angle = math.degrees(float(torch.atan2(-rotation[2, 0], torch.hypot(rotation[0, 0], rotation[1, 0]))))
    degrees = round(min(angle if rule == "deca" else -angle, 39.0))
    if degrees >= 0:
        return degrees
    return 78 if degrees < -39 else 39 - degrees


def landmarks_by_rule(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    landmarks: LandmarkEmbedding,
    pose: Float[Tensor, "5 3"],
    rule: Rule,
) -> Float[Tensor, "68 3"]:
    """The 17 points of the visible jaw line, then the 51 that are fixed to the skin. Differentiable in vertices."""
    row = contour_row(pose, rule)
    chosen = torch.cat([torch.as_tensor(landmarks.dynamic_faces[row]), torch.as_tensor(landmarks.static_faces)])
    weights = torch.cat([torch.as_tensor(landmarks.dynamic_weights[row]), torch.as_tensor(landmarks.static_weights)])
    return (vertices[faces[chosen]] * weights.to(vertices.dtype)[..., None]).sum(1)
