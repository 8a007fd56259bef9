"""The small interface behind every parametric head: parameters in, posed vertices out."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import abc
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class HeadParameters:
    """Parameters of a head model; all differentiable."""

    shape: Float[Tensor, "components"]
    """In standard deviations."""
    expression: Float[Tensor, "expressions"]
    """Weights of `HeadModel.expression_names`."""
    pose: Float[Tensor, "joints 3"]
    """Axis-angle of each of `HeadModel.joint_names`, radians, relative to the parent joint."""


class HeadModel(abc.ABC):
    """A parametric head in metres, y up, face towards +z, x to the subject's left, origin inside the head.

    Read-only and free of randomness; tensors are float32 on the CPU.
    """

    name: str
    faces: Int[Tensor, "faces 3"]
    landmark_faces: Int[Tensor, "68 3"]
    """Vertices of the triangle that carries each landmark (iBUG 68 order) in the neutral pose."""
    landmark_weights: Float[Tensor, "68 3"]
    """Barycentric weights of the landmarks."""
    shape_components: int
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

    def landmarks(self, vertices: Float[Tensor, "vertices 3"]) -> Float[Tensor, "68 3"]:
        """The 68 landmarks of posed vertices. Differentiable."""
        return (vertices[self.landmark_faces] * self.landmark_weights[..., None]).sum(1)

    def neutral(self) -> HeadParameters:
        """The mean head at rest."""
        zeros = self.landmark_weights.new_zeros
        return HeadParameters(
            zeros(self.shape_components), zeros(len(self.expression_names)), zeros((len(self.joint_names), 3))
        )
