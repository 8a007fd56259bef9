"""ICT-FaceKit as a head model."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree
from torch import Tensor

from instax3d.assets import require
from instax3d.headmodel import BakedHead, HeadModel, HeadParameters, joint_transforms, skin
from instax3d.heads.facekit import LANDMARKS, FaceKit, read_facekit

from .anatomy import JOINTS, PARENTS, joints, regions, skinning_weights
from .config import IctConfig

METERS = 0.01
MERGED = ("browInnerUp", "cheekPuff")
"""Left and right expressions that ARKit merges into one."""


class IctModel(HeadModel[IctConfig]):
    """Skin and eyeballs of ICT-FaceKit: 14,388 vertices, identities in standard deviations, ARKit's expressions.

    Meters, y up, face towards +z, origin between the ears, as in the published files. Joints are this project's own;
    the eyes can be turned by them or by the expressions eyeLook…, the jaw by its joint or by jawOpen.
    """

    name = "ict"
    joint_names = JOINTS
    expression_bounds = (0.0, 1.0)
    fitted_components = 50

    def __init__(self, config: IctConfig) -> None:
        """Read the model.

        Raises:
            AssetError: it is not there, or is not ICT-FaceKit.
        """
        super().__init__(config)
        kit = read_facekit(require("ict-facekit", config.model).path)
        names, expressions = arkit(kit)
        rest, moves = joints(kit)
        self.faces = torch.as_tensor(kit.faces)
        self.landmark_faces = torch.as_tensor(LANDMARKS)[:, None].repeat(1, 3)
        self.landmark_weights = torch.tensor([1.0, 0.0, 0.0]).repeat(68, 1)
        self.shape_components, self.expression_names = len(kit.identities), names
        self.regions = {name: torch.as_tensor(mask) for name, mask in regions(kit).items()}
        self.mirror = torch.as_tensor(cKDTree(kit.neutral).query(kit.neutral * [-1, 1, 1])[1])
        self.skinning = _float(skinning_weights(kit))
        self._neutral = _float(kit.neutral * METERS)
        self._shape = _float(kit.identities * METERS)
        self._expression = _float(expressions * METERS)
        self._joints, self._joint_moves = _float(rest * METERS), _float(moves * METERS)

    def __call__(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
        """Posed vertices. Differentiable."""
        return self._posed(parameters, slice(None))

    def at(self, parameters: HeadParameters, chosen: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen 3"]:
        """Some of the posed vertices. Differentiable."""
        return self._posed(parameters, chosen)

    def posed_joints(self, parameters: HeadParameters) -> Float[Tensor, "joints 3"]:
        """Posed joints. Differentiable."""
        rest = self._joints_at_rest(parameters)
        rotations, shifts = joint_transforms(rest, parameters.pose, PARENTS)
        return (rotations @ rest[..., None])[..., 0] + shifts

    def _joints_at_rest(self, parameters: HeadParameters) -> Tensor:
        return self._joints + torch.einsum("k,kjc->jc", parameters.shape, self._joint_moves)

    def _posed(self, parameters: HeadParameters, chosen: slice | Tensor) -> Tensor:
        rest = (
            self._neutral[chosen]
            + torch.einsum("k,knc->nc", parameters.shape, self._shape[:, chosen])
            + torch.einsum("k,knc->nc", parameters.expression, self._expression[:, chosen])
        )
        return skin(rest, self._joints_at_rest(parameters), parameters.pose, PARENTS, self.skinning[chosen])

    def bake(self, parameters: HeadParameters) -> BakedHead:
        """A head of this shape that moves without the model."""
        return BakedHead.of(
            self,
            self._neutral + torch.einsum("k,knc->nc", parameters.shape, self._shape),
            self._expression,
            joints=self._joints_at_rest(parameters),
            parents=PARENTS,
            skinning=self.skinning,
        )


def arkit(kit: FaceKit) -> tuple[tuple[str, ...], Float[ndarray, "expressions n 3"]]:
    """Expressions under ARKit's names; those that ARKit lacks keep theirs, with Left and Right spelled out."""
    expressions: dict[str, ndarray] = {}
    for name, moves in zip(kit.expression_names, kit.expressions, strict=True):
        stem, _, side = name.partition("_")
        merged = stem in MERGED or not side
        full = stem if merged else stem + {"L": "Left", "R": "Right"}[side]
        expressions[full] = expressions[full] + moves if full in expressions else moves
    return tuple(expressions), np.stack(list(expressions.values()))


def _float(array: ndarray) -> Tensor:
    return torch.tensor(array, dtype=torch.float32)
