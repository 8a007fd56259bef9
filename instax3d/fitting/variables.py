"""What a fit solves for: a head's place in the world, shape, expression and gaze, and a photo's focal length."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.headmodel import HeadModel, HeadParameters, rotation_matrices
from instax3d.types import Cameras

from .initial import Placement
from .parameter_blocks import ParameterBlock, ParameterBlocks

Vector = Float[Tensor, "variables"]
"""All variables of a fit, in the order of its `ParameterBlocks`."""

SHAPE_SIGMA, SHAPE_BOUND = 0.65, 1.95
"""Both in standard deviations of the model. The prior is narrower than the model, as the landmarks of one view leave
much open; it costs a captured head less than 0.1 mm. The bound keeps weights within two whatever the photo."""
EXPRESSION_SIGMA = 0.3
"""Relative to an expression's upper bound: 1 for blend shapes, 3 for components in standard deviations."""
NOT_IN_LANDMARKS = ("eyeLook", "mouthClose")
"""Prefixes of expressions that are not fitted: eye joints make the gaze; mouthClose only undoes jawOpen."""
JAW_SIGMA = 0.1
"""Radians; only for models without an expression that opens the jaw."""
GAZE_SIGMA, GAZE_BOUND = 0.4, 0.7
"""Radians by which both eyes turn together, vertically and horizontally."""


@dataclass(frozen=True)
class LogNormal:
    """A log-normal prior of a positive number."""

    median: float
    sigma: float
    """Standard deviation of the logarithm."""

    def deviation(self, value: Float[Tensor, ""]) -> Float[Tensor, "1"]:
        """How many standard deviations the logarithm of ``value`` is off. Differentiable."""
        return ((value.log() - math.log(self.median)) / self.sigma)[None]


@dataclass(frozen=True, eq=False)
class Priors:
    """What is assumed before the views are looked at."""

    shape_components: int
    """How many of the model's shape components are fitted, in its order."""
    scale: LogNormal | None = None
    """World units per meter; None keeps the scale of the initial placement."""
    distance: LogNormal | None = None
    """Meters from the head to the only camera, whose focal length is unknown; None where it is known."""
    gaze: bool = False
    """Whether the eyes are turned to irises that were found."""
    known: HeadParameters | None = None
    """Parameters from another source: of the model's parameters, only the gaze is then solved for."""
    fit_rotation: bool = True
    """Whether the head's rotation is solved for; otherwise that of the initial placement is kept."""


class FitVariables:
    """Maps the vector of variables to the head and the cameras that it describes. All methods are differentiable.

    Args:
        cameras: of all views; with an unknown focal length, the photo's with a first guess.
        start: initial placement of the head.
    """

    def __init__(self, model: HeadModel, cameras: Cameras, start: Placement, priors: Priors) -> None:
        self.model, self._cameras, self._start, self._priors = model, cameras, start, priors
        blocks = {} if priors.known else self._face_blocks()
        self._eyes = [number for number, name in enumerate(model.joint_names) if "eye" in name]
        if priors.gaze and self._eyes:
            blocks["gaze"] = ParameterBlock(torch.zeros(2), GAZE_SIGMA, (-GAZE_BOUND, GAZE_BOUND))
        self._model_count = sum(len(block.start) for block in blocks.values())
        if priors.fit_rotation:
            blocks["rotation"] = ParameterBlock(torch.zeros(3))
        blocks["translation"] = ParameterBlock(start.translation)
        if priors.scale:
            blocks["scale"] = ParameterBlock(torch.tensor([start.scale]))
        if priors.distance:
            blocks["focal"] = ParameterBlock(torch.ones(1))
        self.blocks = ParameterBlocks(blocks)

    def _face_blocks(self) -> dict[str, ParameterBlock]:
        """Shape and expression, and the jaw joint where no expression opens it."""
        model = self.model
        low, high = model.expression_bounds
        visible = [not name.startswith(NOT_IN_LANDMARKS) for name in model.expression_names]
        fitted = torch.tensor(visible, dtype=torch.bool)
        self._scatter = torch.eye(len(fitted))[:, fitted]
        blocks = {
            "shape": ParameterBlock(
                torch.zeros(self._priors.shape_components), SHAPE_SIGMA, (-SHAPE_BOUND, SHAPE_BOUND)
            ),
            "expression": ParameterBlock(torch.zeros(int(fitted.sum())), EXPRESSION_SIGMA * high, (low, high)),
        }
        if _needs_jaw(model):
            blocks["jaw"] = ParameterBlock(torch.zeros(3), JAW_SIGMA, (-0.6, 0.6))
        return blocks

    def parameters(self, vector: Vector) -> HeadParameters:
        """The model's parameters; components and joints that are not fitted stay neutral or as in `Priors.known`."""
        parts = self.blocks.split(vector)
        rest = self._priors.known or self.model.neutral()
        turns = dict(enumerate(rest.pose))
        if "jaw" in parts:
            turns[self.model.joint_names.index("jaw")] = parts["jaw"]
        if "gaze" in parts:
            turns |= dict.fromkeys(self._eyes, torch.cat([parts["gaze"], torch.zeros(1)]))
        pose = torch.stack(list(turns.values())) if turns else rest.pose
        if "shape" not in parts:
            return HeadParameters(rest.shape, rest.expression, pose)
        shape = torch.cat([parts["shape"], rest.shape[len(parts["shape"]) :]])
        return HeadParameters(shape, self._scatter @ parts["expression"], pose)

    def scale(self, vector: Vector) -> Float[Tensor, ""]:
        """World units per meter."""
        parts = self.blocks.split(vector)
        return parts["scale"][0] if "scale" in parts else torch.tensor(self._start.scale)

    def rotation(self, vector: Vector) -> Float[Tensor, "3 3"]:
        """From the head's axes to the world's."""
        parts = self.blocks.split(vector)
        start = self._start.rotation
        return rotation_matrices(parts["rotation"]) @ start if "rotation" in parts else start

    def translation(self, vector: Vector) -> Float[Tensor, "3"]:
        """Where the head's origin is in the world."""
        return self.blocks.split(vector)["translation"]

    def place(self, vector: Vector, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Points of the head (meters) in the world."""
        return self.scale(vector) * points @ self.rotation(vector).T + self.translation(vector)

    def vertices(self, vector: Vector) -> Float[Tensor, "vertices 3"]:
        """The head's vertices in the world."""
        return self.place(vector, self.model(self.parameters(vector)))

    def linearized(self, vector: Vector, indices: Int[Tensor, "n"]) -> Callable[[Vector], Float[Tensor, "n 3"]]:
        """Vertices of these ``indices`` in the world, linear in the model's parameters about ``vector``, else exact.

        Head models are linear in shape and expression but for the joints' small rotations, and evaluating them with
        all derivatives at every step of a solver would take most of the time.
        """
        count = self._model_count

        def posed(model_part: Tensor) -> Tensor:
            return self.model.at(self.parameters(torch.cat([model_part, vector[count:]])), indices)

        center, at_center = vector[:count], posed(vector[:count])
        if count == 0:
            return lambda moved: self.place(moved, at_center)
        slopes = torch.func.jacfwd(posed)(center)
        return lambda moved: self.place(moved, at_center + slopes @ (moved[:count] - center))

    def cameras(self, vector: Vector) -> Cameras:
        """The cameras; that of a photo with the current focal length."""
        parts = self.blocks.split(vector)
        if "focal" not in parts:
            return self._cameras
        factors = torch.cat([parts["focal"], parts["focal"], torch.ones(1)])
        axes, centers = self._cameras.Ks[..., :2], self._cameras.Ks[..., 2:]
        return replace(self._cameras, Ks=torch.cat([axes * factors[:, None], centers], -1))

    def prior(self, vector: Vector) -> Float[Tensor, "priors"]:
        """Deviations from all priors, in standard deviations."""
        deviations = [self.blocks.prior(vector)]
        if self._priors.scale:
            deviations.append(self._priors.scale.deviation(self.scale(vector)))
        if self._priors.distance:
            ahead = self._cameras.viewmats[0, 2, :3] @ self.translation(vector) + self._cameras.viewmats[0, 2, 3]
            deviations.append(self._priors.distance.deviation(ahead / self.scale(vector)))
        return torch.cat(deviations)


def _needs_jaw(model: HeadModel) -> bool:
    """Whether only a joint opens the jaw."""
    return "jaw" in model.joint_names and "jawOpen" not in model.expression_names
