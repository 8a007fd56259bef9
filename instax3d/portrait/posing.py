"""From names and numbers that a user gives to parameters of a rig."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from instax3d.errors import PortraitError, did_you_mean
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.types import Rig

Turn = Sequence[float]
"""Of a joint: axis-angle x, y, z in degrees, in the axes of the head at rest: x to the subject's left, y up, z to the
front. (15, 0, 0) opens a jaw or nods, (0, 20, 0) turns to the subject's left, (0, 0, 20) tilts the crown to the
subject's right."""
EYES = ("eye_left", "eye_right")


@dataclass(frozen=True)
class Pose:
    """What is to be changed of a rig, in a user's words; what is not named stays as it was fitted."""

    expression: Mapping[str, float]
    """Weights by name; each takes the place of the fitted one."""
    joints: Mapping[str, Turn]
    """Turns by the joints' names, and by ``eyes`` for both; each takes the place of the fitted one."""

    def parameters(self, rig: Rig) -> HeadParameters:
        """The rig's parameters with these changes.

        Raises:
            PortraitError: a name is not the head's, or a value is not usable.
        """
        head, fitted = rig.head, rig.parameters
        expression, pose = fitted.expression.clone(), fitted.pose.clone()
        for name, weight in self.expression.items():
            expression[_index(name, head.expression_names, "expression", head)] = _weight(name, weight, head)
        for joint, turn in self.turns().items():
            pose[_index(joint, head.joint_names, "joint", head)] = torch.tensor(_turn(joint, turn)).deg2rad()
        return replace(fitted, expression=expression, pose=pose)

    def turns(self) -> dict[str, Turn]:
        """Turns by the joints' own names.

        Raises:
            PortraitError: an eye is named twice.
        """
        turns: dict[str, Turn] = {}
        for name, turn in self.joints.items():
            for joint in EYES if name == "eyes" else (name,):
                if joint in turns:
                    raise PortraitError(f"both eyes and {joint} are given; leave one of them out")
                turns[joint] = turn
        return turns

    def record(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """What ``run.json`` says of the pose: plain values, those of earlier poses of the portrait included."""
        before = manifest.get("posed", {})
        joints = {name: [float(part) for part in turn] for name, turn in self.turns().items()}
        weights = {name: float(weight) for name, weight in self.expression.items()}
        return {
            "expression": {**before.get("expression", {}), **weights},
            "joints_deg": {**before.get("joints_deg", {}), **joints},
        }


def _index(name: str, names: tuple[str, ...], what: str, head: HeadModel[Any]) -> int:
    if name in names:
        return names.index(name)
    if not names:
        raise PortraitError(f"the head model {head.name} has no {what}s, so {name!r} cannot be set; leave it out")
    raise PortraitError(f"{head.name} has no {what} {name!r}{did_you_mean(name, names)} there are: {', '.join(names)}")


def _weight(name: str, weight: float, head: HeadModel[Any]) -> float:
    """The weight, if it is one that makes sense: what lies beyond the bounds is refused, as faces break there."""
    low, high = head.expression_bounds
    if not low <= weight <= high:
        raise PortraitError(
            f"{name}={weight:g} is outside the range of {head.name}; give a weight in [{low:g}, {high:g}]"
        )
    return float(weight)


def _turn(joint: str, turn: Turn) -> list[float]:
    parts = [float(part) for part in turn]
    if len(parts) != 3 or not all(math.isfinite(part) for part in parts):
        raise PortraitError(f"{joint} needs three angles x, y, z in degrees, as in {joint}=0,20,0; got {parts}")
    return parts
