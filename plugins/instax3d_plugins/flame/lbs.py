"""FLAME's vertices: blend shapes, corrections by pose, linear blend skinning.

Li, Bolkart, Black, Li, Romero: Learning a model of facial shape and expression from 4D scans. SIGGRAPH Asia 2017.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.headmodel import joint_transforms, rotation_matrices, skin

from .data import PARENTS, FlameData


class Lbs:
    """A FLAME model as tensors of one dtype."""

    def __init__(self, data: FlameData, *, shapes: int, expressions: int, dtype: torch.dtype = torch.float32) -> None:
        def tensor(array: object) -> Tensor:
            return torch.as_tensor(array, dtype=dtype).contiguous()

        chosen = [*range(shapes), *range(300, 300 + expressions)]
        directions = torch.as_tensor(data.directions[:, :, chosen]).permute(2, 0, 1)
        regressor = torch.as_tensor(data.regressor)
        self._template = tensor(data.template)
        self._directions = tensor(directions)
        self._corrections = tensor(torch.as_tensor(data.corrections).permute(2, 0, 1))
        self._joints = tensor(regressor @ torch.as_tensor(data.template))
        self._joint_directions = tensor(torch.einsum("jv,kvc->kjc", regressor, directions))
        static = torch.zeros(len(data.template), 1, dtype=dtype)
        self._weights = torch.cat([static, tensor(data.weights)], 1)

    def vertices(
        self,
        shape: Float[Tensor, "shapes"],
        expression: Float[Tensor, "expressions"],
        pose: Float[Tensor, "5 3"],
        chosen: Int[Tensor, "chosen"] | slice = slice(None),
    ) -> Float[Tensor, "n 3"]:
        """Posed vertices, or some of them. Differentiable.

        Args:
            shape: in standard deviations.
            expression: likewise.
            pose: axis-angle of root, neck, jaw, left and right eye, radians.
            chosen: which vertices.
        """
        weights = torch.cat([shape, expression])
        pose_features = (rotation_matrices(pose[1:]) - torch.eye(3, dtype=pose.dtype)).flatten()
        rest = (
            self._template[chosen]
            + torch.einsum("k,kvc->vc", weights, self._directions[:, chosen])
            + torch.einsum("k,kvc->vc", pose_features, self._corrections[:, chosen])
        )
        return skin(rest, self._rest_joints(weights), pose, PARENTS, self._weights[chosen])

    def joints(
        self, shape: Float[Tensor, "shapes"], expression: Float[Tensor, "expressions"], pose: Float[Tensor, "5 3"]
    ) -> Float[Tensor, "5 3"]:
        """Posed joints: root, neck, jaw, left and right eye. Differentiable."""
        rest = self._rest_joints(torch.cat([shape, expression]))
        rotations, shifts = joint_transforms(rest, pose, PARENTS)
        return (rotations @ rest[..., None])[..., 0] + shifts

    def _rest_joints(self, weights: Tensor) -> Tensor:
        return self._joints + torch.einsum("k,kjc->jc", weights, self._joint_directions)

    def motion(self, shape: Float[Tensor, "shapes"]) -> dict[str, Any]:
        """How a head of this shape moves: fields of `instax3d.headmodel.BakedHead`."""
        directions, joint_directions = self._directions, self._joint_directions
        count = len(shape)
        return {
            "vertices": self._template + torch.einsum("k,kvc->vc", shape, directions[:count]),
            "expressions": directions[count:],
            "pose_correctives": self._corrections,
            "joints": self._joints + torch.einsum("k,kjc->jc", shape, joint_directions[:count]),
            "joint_moves": joint_directions[count:],
            "parents": PARENTS,
            "skinning": self._weights,
        }
