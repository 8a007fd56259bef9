"""The lab's face model as a head model."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from instax3d import HeadModel, HeadParameters
from instax3d.assets import require
from instax3d.headmodel import joint_transforms, skin

from .config import LabFaceConfig

PARENTS = (-1, 0)
JOINTS = ((0.0, -0.09, -0.02), (0.0, 0.005, 0.02))
"""Neck and jaw, meters."""


class LabFace(HeadModel[LabFaceConfig]):
    """A mean, identities and expressions in millimeters, as BFM and FaceVerse have them; neck and jaw are added."""

    name = "labface"
    expression_bounds = (-3.0, 3.0)
    joint_names = ("neck", "jaw")

    def __init__(self, config: LabFaceConfig) -> None:
        super().__init__(config)
        with np.load(require("labface", config.file).path, allow_pickle=False) as file:
            data = {name: torch.from_numpy(file[name]) for name in file.files}
        self.faces = data["triangles"]
        self.landmark_faces = data["keypoints"][:, None].repeat(1, 3)
        self.landmark_weights = torch.tensor([1.0, 0.0, 0.0]).repeat(68, 1)
        self.regions = {name.removeprefix("part "): mask for name, mask in data.items() if name.startswith("part ")}
        self._mean, self._identity, self._expression = (
            data[name] * 0.001 for name in ("mean", "identity", "expression")
        )
        self.shape_components = self.fitted_components = len(self._identity)
        self.expression_names = tuple(f"labface{number:02}" for number in range(len(self._expression)))
        self._joints = torch.tensor(JOINTS)
        _, y, z = self._mean.unbind(1)
        mouth = y[self.regions["lips"]].mean()
        head = ((y + 0.3 * z + 0.14) / 0.075).clamp(0, 1)
        jaw = self.regions["face"] * ((mouth - y) / 0.01).clamp(0, 1) * ((z - JOINTS[1][2]) / 0.05).clamp(0, 1)
        self._weights = torch.stack([1 - head, head * (1 - jaw), head * jaw], 1)

    def __call__(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
        """Posed vertices. Differentiable."""
        rest = (
            self._mean
            + torch.einsum("k,knc->nc", parameters.shape, self._identity)
            + torch.einsum("k,knc->nc", parameters.expression, self._expression)
        )
        return skin(rest, self._joints, parameters.pose, PARENTS, self._weights)

    def posed_joints(self, parameters: HeadParameters) -> Float[Tensor, "2 3"]:
        """Posed joints. Differentiable."""
        rotations, shifts = joint_transforms(self._joints, parameters.pose, PARENTS)
        return (rotations @ self._joints[..., None])[..., 0] + shifts
