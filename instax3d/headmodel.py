"""The small interface behind every parametric head: parameters in, posed vertices out."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .component import C, Component
from .plugin import Kind, PluginConfig


@dataclass(frozen=True, eq=False)
class HeadParameters:
    """Parameters of a head model; all differentiable."""

    shape: Float[Tensor, "components"]
    """In standard deviations."""
    expression: Float[Tensor, "expressions"]
    """Weights of `HeadModel.expression_names`."""
    pose: Float[Tensor, "joints 3"]
    """Axis-angle of each of `HeadModel.joint_names`, radians, relative to the parent joint."""


class HeadModel(Component[C]):
    """A parametric head: the model alone, which `instax3d.fitting` fits to photos and views::

        # plugin.py
        PluginSpec(kind=Kind.HEAD_MODEL, name="mine", summary="…",
                   target="my_package.head:Mine", config="my_package.config:MineConfig")

        # head.py
        class Mine(HeadModel[MineConfig]):
            name = "mine"
            joint_names = ("neck", "jaw")
            ...

            def __init__(self, config: MineConfig) -> None:
                super().__init__(config)
                self.faces = ...

            def __call__(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
                rest = self._mean + torch.einsum("k,knc->nc", parameters.shape, self._shapes)
                return skin(rest, self._joints, parameters.pose, (-1, 0), self._weights)

    Then ``mesh_prior=mine`` fits it, and so do options such as ``view_generator.head=mine``.

    In meters, y up, face towards +z, x to the subject's left, origin inside the head. Read-only and free of randomness:
    a process makes one for the same options. Tensors are float32 on the CPU.
    """

    kind: ClassVar[Kind] = Kind.HEAD_MODEL
    shared: ClassVar[bool] = True

    name: str
    """With its version, where there are several."""
    identity: str = ""
    """A digest of what the parameters mean, for models that come in versions: parameters transfer only between models
    that share it."""
    faces: Int[Tensor, "faces 3"]
    landmark_faces: Int[Tensor, "68 3"]
    """Vertices of the triangle that carries each landmark (iBUG 68 order) in the neutral pose."""
    landmark_weights: Float[Tensor, "68 3"]
    """Barycentric weights of the landmarks."""
    shape_components: int
    fitted_components: int | None = None
    """How many of them a fit to many views solves for unless it is told; None: as `instax3d.fitting.fit_head` says."""
    expression_names: tuple[str, ...]
    expression_bounds: tuple[float, float]
    """Smallest and largest sensible weight of an expression: (0, 1) for blend shapes, (-3, 3) for sigmas."""
    joint_names: tuple[str, ...]
    regions: Mapping[str, Bool[Tensor, "vertices"]]
    """At least ``face``, ``scalp``, ``ears``, ``neck``, ``eyeballs``, ``lips``."""
    mirror: Int[Tensor, "vertices"] | None = None
    """The vertex on the other side of the head, for models that are symmetric."""

    @abc.abstractmethod
    def __call__(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
        """Posed vertices. Differentiable."""

    def at(self, parameters: HeadParameters, chosen: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen 3"]:
        """Some of the posed vertices. Differentiable. Override it where this is cheaper than posing all of them."""
        return self(parameters)[chosen]

    def posed_joints(self, parameters: HeadParameters) -> Float[Tensor, "joints 3"]:
        """Where the joints are in the pose. Differentiable.

        Raises:
            NotImplementedError: the model does not tell.
        """
        raise NotImplementedError(f"{type(self).__name__} does not tell where its joints are")

    def bake(self, parameters: HeadParameters) -> "BakedHead":
        """A head of this shape that moves without the model, to be saved with a portrait.

        By default it is probed: each expression alone at weight 1, in the pose given, so it is exact where
        expressions add up. It has no joints, as these cannot be probed: it keeps the pose given. A model that
        knows its joints and weights overrides this (`BakedHead.of`).

        Args:
            parameters: the shape, and the pose that a head without joints keeps; its expression does not count.
        """
        rest = replace(parameters, expression=torch.zeros_like(parameters.expression))
        with torch.no_grad():
            vertices = self(rest)
            one = torch.eye(len(self.expression_names))
            moves = [self(replace(rest, expression=each)) - vertices for each in one]
        return BakedHead.of(self, vertices, torch.stack(moves) if moves else vertices.new_zeros(0, *vertices.shape))

    def landmarks(self, vertices: Float[Tensor, "vertices 3"]) -> Float[Tensor, "68 3"]:
        """The 68 landmarks of posed vertices. Differentiable."""
        return (vertices[self.landmark_faces] * self.landmark_weights[..., None]).sum(1)

    def shares_parameters_with(self, other: "HeadModel[Any]") -> bool:
        """Whether the parameters of one are those of the other: both are the same model, or equal copies of it."""
        same = (self.name, self.identity) == (other.name, other.identity)
        return self is other or (same and torch.equal(self.faces, other.faces))

    def neutral(self) -> HeadParameters:
        """The mean head at rest."""
        zeros = self.landmark_weights.new_zeros
        return HeadParameters(
            zeros(self.shape_components), zeros(len(self.expression_names)), zeros((len(self.joint_names), 3))
        )


def rotation_matrices(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations about the given axes by their lengths in radians (Rodrigues). Differentiable, also at zero."""
    square = (axis_angle**2).sum(-1)[..., None, None]
    small = square < 1e-8
    angle = torch.where(small, 1.0, square).sqrt()
    sine = torch.where(small, 1 - square / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - square / 24, 2 * ((angle / 2).sin() / angle) ** 2)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*axis_angle.shape, 3)
    return torch.eye(3, dtype=cross.dtype, device=cross.device) + sine * cross + cosine * cross @ cross


def joint_transforms(
    joints: Float[Tensor, "joints 3"], pose: Float[Tensor, "joints 3"], parents: Sequence[int]
) -> tuple[Float[Tensor, "joints 3 3"], Float[Tensor, "joints 3"]]:
    """Where each joint takes the points that follow it: rotations about the origin, then shifts. Differentiable.

    Args:
        joints: where each joint rests.
        pose: axis-angle of each joint relative to its parent, radians.
        parents: the parent of each joint, listed before it; -1 is what stays still.
    """
    local = rotation_matrices(pose)
    rotations: list[Tensor] = []
    shifts: list[Tensor] = []
    for joint, parent in enumerate(parents):
        rotation, shift = local[joint], joints[joint] - local[joint] @ joints[joint]
        if parent >= 0:
            rotation, shift = rotations[parent] @ rotation, rotations[parent] @ shift + shifts[parent]
        rotations.append(rotation)
        shifts.append(shift)
    return torch.stack(rotations), torch.stack(shifts)


def skin(
    rest: Float[Tensor, "vertices 3"],
    joints: Float[Tensor, "joints 3"],
    pose: Float[Tensor, "joints 3"],
    parents: Sequence[int],
    weights: Float[Tensor, "vertices slots"],
) -> Float[Tensor, "vertices 3"]:
    """Linear blend skinning of vertices at rest.

    Args:
        rest: vertices before posing.
        joints: where each joint rests.
        pose: axis-angle of each joint relative to its parent, radians.
        parents: the parent of each joint, listed before it; -1 is what stays still.
        weights: how far each vertex follows what stays still (first column) and each joint; rows sum to one.
    """
    rotations, shifts = joint_transforms(joints, pose, parents)
    moved = rest @ rotations.transpose(1, 2) + shifts[:, None]
    return weights[:, :1] * rest + torch.einsum("nj,jnc->nc", weights[:, 1:], moved)


@dataclass(eq=False, kw_only=True)
class BakedHead(HeadModel[PluginConfig]):
    """A head of fixed shape that moves by itself: plain arrays, made by `HeadModel.bake`.

    It is a head model without shape components, of the same expressions and, where the model told them, joints. Its
    vertices are at rest ``vertices`` and the displacements of expressions, sets of expressions and pose, summed as
    their weights say, then skinned.
    """

    name: str
    identity: str
    faces: Int[Tensor, "faces 3"]
    landmark_faces: Int[Tensor, "68 3"]
    landmark_weights: Float[Tensor, "68 3"]
    expression_names: tuple[str, ...]
    expression_bounds: tuple[float, float]
    joint_names: tuple[str, ...]
    regions: Mapping[str, Bool[Tensor, "vertices"]]
    mirror: Int[Tensor, "vertices"] | None
    shape_components: int = field(default=0, init=False)

    vertices: Float[Tensor, "vertices 3"]
    """Without expression, at rest."""
    expressions: Float[Tensor, "expressions vertices 3"]
    """Displacements at weight 1."""
    correctives: Float[Tensor, "correctives vertices 3"]
    """Further displacements of expressions that act together, weighted by the least of their weights."""
    corrected: Bool[Tensor, "correctives expressions"]
    """Which expressions each of these is of."""
    pose_correctives: Float[Tensor, "features vertices 3"]
    """Displacements by pose, as FLAME has them (Li et al. 2017): weighted by the entries, row by row, of the rotation
    matrices of all joints but the first, minus the identity; or none."""
    joints: Float[Tensor, "joints 3"]
    """At rest, without expression."""
    joint_moves: Float[Tensor, "expressions joints 3"]
    """Displacements of the joints by expressions."""
    turns: Float[Tensor, "expressions joints 3"]
    """Axis-angles, radians, that expressions add to the pose."""
    parents: tuple[int, ...]
    """The parent of each joint, listed before it; -1 is what stays still."""
    skinning: Float[Tensor, "vertices slots"]
    """How far each vertex follows what stays still (first column) and each joint; rows sum to one."""

    def __post_init__(self) -> None:
        super().__init__(PluginConfig())

    @classmethod
    def of(
        cls,
        model: HeadModel[Any],
        vertices: Float[Tensor, "vertices 3"],
        expressions: Float[Tensor, "expressions vertices 3"],
        *,
        joints: Float[Tensor, "joints 3"] | None = None,
        **more: Any,
    ) -> "BakedHead":
        """A head with the topology and the names of ``model``.

        Args:
            vertices, expressions: see the fields.
            joints: see the field; None for a head without joints.
            more: other fields of this class; those left out have no effect. ``parents`` and ``skinning`` come with
                ``joints``.
        """
        zeros = vertices.new_zeros
        count = 0 if joints is None else len(joints)
        none: dict[str, Any] = {
            "correctives": zeros(0, *vertices.shape),
            "corrected": zeros(0, len(expressions), dtype=torch.bool),
            "pose_correctives": zeros(0, *vertices.shape),
            "joint_moves": zeros(len(expressions), count, 3),
            "turns": zeros(len(expressions), count, 3),
            "parents": (),
            "skinning": torch.ones_like(vertices[:, :1]),
        }
        return cls(
            name=model.name,
            identity=model.identity,
            faces=model.faces,
            landmark_faces=model.landmark_faces,
            landmark_weights=model.landmark_weights,
            expression_names=model.expression_names,
            expression_bounds=model.expression_bounds,
            joint_names=() if joints is None else model.joint_names,
            regions=model.regions,
            mirror=model.mirror,
            vertices=vertices,
            expressions=expressions,
            joints=zeros(0, 3) if joints is None else joints,
            **(none | more),
        )

    def __call__(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
        """Posed vertices. Differentiable."""
        return self._posed(parameters, slice(None))

    def at(self, parameters: HeadParameters, chosen: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen 3"]:
        """Some of the posed vertices. Differentiable."""
        return self._posed(parameters, chosen)

    def posed_joints(self, parameters: HeadParameters) -> Float[Tensor, "joints 3"]:
        """Posed joints; none if the model that was baked did not tell them. Differentiable."""
        rest, pose = self._joints_at_rest(parameters.expression), self._pose(parameters)
        if not self.parents:
            return rest
        rotations, shifts = joint_transforms(rest, pose, self.parents)
        return (rotations @ rest[..., None])[..., 0] + shifts

    def bake(self, parameters: HeadParameters) -> "BakedHead":
        """Itself."""
        return self

    def _joints_at_rest(self, expression: Tensor) -> Tensor:
        return self.joints + torch.einsum("k,kjc->jc", expression, self.joint_moves)

    def _pose(self, parameters: HeadParameters) -> Tensor:
        return parameters.pose + torch.einsum("k,kjc->jc", parameters.expression, self.turns)

    def _posed(self, parameters: HeadParameters, chosen: slice | Tensor) -> Tensor:
        expression, pose = parameters.expression, self._pose(parameters)
        rest = self.vertices[chosen] + torch.einsum("k,knc->nc", expression, self.expressions[:, chosen])
        if len(self.correctives):
            least = torch.where(self.corrected, expression, torch.inf).amin(1)
            rest = rest + torch.einsum("k,knc->nc", least, self.correctives[:, chosen])
        if len(self.pose_correctives):
            features = (rotation_matrices(pose[1:]) - torch.eye(3)).flatten()
            rest = rest + torch.einsum("k,knc->nc", features, self.pose_correctives[:, chosen])
        if not self.parents:
            return rest
        return skin(rest, self._joints_at_rest(expression), pose, self.parents, self.skinning[chosen])
