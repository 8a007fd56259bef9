"""What is solved for: the place of a head in the world, its shape and expression, and a photo's focal length."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.headmodel import HeadModel, HeadParameters, rotation_matrices
from instax3d.types import Cameras

from .initial import Placement
from .layout import Block, Layout

Vector = Float[Tensor, "unknowns"]

SHAPE_SIGMA = 0.65
SHAPE_BOUND = 1.95
"""Both in standard deviations of the model. The prior is narrower than the model, as landmarks of one view leave much
open, and costs a captured head less than 0.1 mm; the bound keeps weights within two whatever a photo does."""
EXPRESSION_SIGMA = 0.3
"""In sensible ranges: 1 for blend shapes, 3 for components in standard deviations."""
NOT_IN_LANDMARKS = ("eyeLook", "mouthClose")
"""Beginnings of expressions that are not fitted: the gaze is the eye joints'; mouthClose only undoes jawOpen."""
JAW_SIGMA = 0.1
"""Radians; only for models without an expression that opens the jaw."""
GAZE_SIGMA, GAZE_BOUND = 0.4, 0.7
"""Radians by which both eyes turn together, upwards or downwards and sidewards."""


@dataclass(frozen=True)
class LogNormal:
    """A belief about a positive number."""

    mean: float
    sigma: float
    """Of the logarithm."""

    def deviation(self, value: Float[Tensor, ""]) -> Float[Tensor, "1"]:
        """How many standard deviations off. Differentiable."""
        return ((value.log() - math.log(self.mean)) / self.sigma)[None]


@dataclass(frozen=True)
class Priors:
    """What is thought before looking."""

    shape_components: int
    """How many of the model's components are fitted."""
    scale: LogNormal | None = None
    """World units per meter; None where the start is exact."""
    distance: LogNormal | None = None
    """Meters from the head to the only camera, whose focal length is unknown; None where it is known."""
    gaze: bool = False
    """Whether irises were seen, by which the eyes are turned."""
    known: HeadParameters | None = None
    """What someone else has told of the head: of the model's parameters, only the gaze is then solved for."""
    turned: bool = True
    """Whether the head's rotation is solved for; else that of the start is kept."""


class FitVariables:
    """Maps the vector of unknowns to the head and the cameras it means. All methods are differentiable."""

    def __init__(self, model: HeadModel, cameras: Cameras, start: Placement, beliefs: Priors) -> None:
        self.model, self._cameras, self._start, self._beliefs = model, cameras, start, beliefs
        blocks = {} if beliefs.known else self._of_the_face()
        self._eyes = [number for number, name in enumerate(model.joint_names) if "eye" in name]
        if beliefs.gaze and self._eyes:
            blocks["gaze"] = Block(torch.zeros(2), GAZE_SIGMA, (-GAZE_BOUND, GAZE_BOUND))
        self._of_model = sum(len(block.start) for block in blocks.values())
        if beliefs.turned:
            blocks["rotation"] = Block(torch.zeros(3))
        blocks["translation"] = Block(start.translation)
        if beliefs.scale:
            blocks["scale"] = Block(torch.tensor([start.scale]))
        if beliefs.distance:
            blocks["focal"] = Block(torch.ones(1))
        self.layout = Layout(blocks)

    def _of_the_face(self) -> dict[str, Block]:
        """Shape and expression, and the jaw where no expression opens it."""
        model = self.model
        low, high = model.expression_bounds
        named = [not name.startswith(NOT_IN_LANDMARKS) for name in model.expression_names]
        fitted = torch.tensor(named, dtype=torch.bool)
        self._spread = torch.eye(len(fitted))[:, fitted]
        blocks = {
            "shape": Block(torch.zeros(self._beliefs.shape_components), SHAPE_SIGMA, (-SHAPE_BOUND, SHAPE_BOUND)),
            "expression": Block(torch.zeros(int(fitted.sum())), EXPRESSION_SIGMA * high, (low, high)),
        }
        if _needs_jaw(model):
            blocks["jaw"] = Block(torch.zeros(3), JAW_SIGMA, (-0.6, 0.6))
        return blocks

    def parameters(self, vector: Vector) -> HeadParameters:
        """Those of the model; components and joints that are not fitted stay neutral."""
        parts = self.layout.split(vector)
        rest = self._beliefs.known or self.model.neutral()
        turns = dict(enumerate(rest.pose))
        if "jaw" in parts:
            turns[self.model.joint_names.index("jaw")] = parts["jaw"]
        if "gaze" in parts:
            turns |= dict.fromkeys(self._eyes, torch.cat([parts["gaze"], torch.zeros(1)]))
        pose = torch.stack(list(turns.values())) if turns else rest.pose
        if "shape" not in parts:
            return HeadParameters(rest.shape, rest.expression, pose)
        shape = torch.cat([parts["shape"], rest.shape[len(parts["shape"]) :]])
        return HeadParameters(shape, self._spread @ parts["expression"], pose)

    def scale(self, vector: Vector) -> Float[Tensor, ""]:
        """World units per meter."""
        parts = self.layout.split(vector)
        return parts["scale"][0] if "scale" in parts else torch.tensor(self._start.scale)

    def rotation(self, vector: Vector) -> Float[Tensor, "3 3"]:
        """From the head's axes to the world's."""
        parts = self.layout.split(vector)
        start = self._start.rotation
        return rotation_matrices(parts["rotation"]) @ start if "rotation" in parts else start

    def translation(self, vector: Vector) -> Float[Tensor, "3"]:
        """Where the head's origin is in the world."""
        return self.layout.split(vector)["translation"]

    def place(self, vector: Vector, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Points of the head in the world."""
        return self.scale(vector) * points @ self.rotation(vector).T + self.translation(vector)

    def vertices(self, vector: Vector) -> Float[Tensor, "vertices 3"]:
        """The head in the world."""
        return self.place(vector, self.model(self.parameters(vector)))

    def linearized(self, vector: Vector, chosen: Int[Tensor, "n"]) -> Callable[[Vector], Float[Tensor, "n 3"]]:
        """Chosen vertices in the world, linear in the model's parameters about ``vector`` and exact in all else.

        Head models are linear in shape and expression but for the joints' small rotations, and evaluating them with
        all derivatives at every step of a solver would take most of the time.
        """
        count = self._of_model

        def posed(of_model: Tensor) -> Tensor:
            return self.model.at(self.parameters(torch.cat([of_model, vector[count:]])), chosen)

        center, at_center = vector[:count], posed(vector[:count])
        if count == 0:
            return lambda moved: self.place(moved, at_center)
        slopes = torch.func.jacfwd(posed)(center)
        return lambda moved: self.place(moved, at_center + slopes @ (moved[:count] - center))

    def cameras(self, vector: Vector) -> Cameras:
        """The given cameras, or that of the photo with the current focal length."""
        parts = self.layout.split(vector)
        if "focal" not in parts:
            return self._cameras
        factors = torch.cat([parts["focal"], parts["focal"], torch.ones(1)])
        axes, centers = self._cameras.Ks[..., :2], self._cameras.Ks[..., 2:]
        return replace(self._cameras, Ks=torch.cat([axes * factors[:, None], centers], -1))

    def prior(self, vector: Vector) -> Float[Tensor, "priors"]:
        """All beliefs as deviations in standard deviations."""
        found = [self.layout.prior(vector)]
        if self._beliefs.scale:
            found.append(self._beliefs.scale.deviation(self.scale(vector)))
        if self._beliefs.distance:
            ahead = self._cameras.viewmats[0, 2, :3] @ self.translation(vector) + self._cameras.viewmats[0, 2, 3]
            found.append(self._beliefs.distance.deviation(ahead / self.scale(vector)))
        return torch.cat(found)


def _needs_jaw(model: HeadModel) -> bool:
    return "jaw" in model.joint_names and "jawOpen" not in model.expression_names
