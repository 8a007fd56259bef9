"""Fitted parameters of a head model as ``parameters.npz``: what they are of, and the head's place in the world."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from instax3d.errors import AssetError
from instax3d.io.files import atomic
from instax3d.types import Rig

FORMAT = 1
"""Of the file; readers refuse a newer one."""


@dataclass(frozen=True)
class FittedHead:
    """Parameters of a head model and where the head stands: world = scale * rotation @ head + translation."""

    model: str
    identity: str
    """`HeadModel.identity`; "" where it is not known."""
    shape: Float[ndarray, "components"]
    """In standard deviations."""
    expression: Float[ndarray, "expressions"]
    pose: Float[ndarray, "joints 3"]
    """Axis-angle, radians."""
    rotation: Float[ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    translation: Float[ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    scale: float = 1.0
    """World units per meter."""
    root: Float[ndarray, "3"] | None = None
    """The first joint of the shaped head, in the head's axes; None where it is not known."""
    expression_names: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, rig: Rig) -> "FittedHead":
        """What a fit found."""
        model, found = rig.head, rig.parameters
        try:
            root = model.posed_joints(found)[0].detach().double().numpy()
        except (NotImplementedError, IndexError):
            root = None
        return cls(
            model.name,
            model.identity,
            found.shape.detach().numpy(),
            found.expression.detach().numpy(),
            found.pose.detach().numpy(),
            rig.rotation.detach().double().numpy(),
            rig.translation.detach().double().numpy(),
            float(rig.scale),
            root,
            model.expression_names,
            model.joint_names,
        )


def write_head(path: Path, head: FittedHead) -> None:
    """Write the parameters in one step.

    Raises:
        AssetError: the file cannot be written.
    """
    arrays = {name: np.asarray(value) for name, value in vars(head).items() if value is not None}
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, format=np.array(FORMAT), **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise AssetError(f"cannot write {path}: {error.strerror or error}") from error


def read_head(path: Path) -> FittedHead:
    """Read parameters back.

    Raises:
        AssetError: the file is absent, none of this kind, or of a newer version.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        if int(found.pop("format")) > FORMAT:
            raise AssetError(f"{path} was written by a newer instax3d; update yours")
        return FittedHead(
            str(found["model"]),
            str(found["identity"]),
            found["shape"],
            found["expression"],
            found["pose"],
            found["rotation"],
            found["translation"],
            float(found["scale"]),
            found.get("root"),
            tuple(map(str, found["expression_names"])),
            tuple(map(str, found["joint_names"])),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise AssetError(f"{path} holds no parameters of a head ({type(error).__name__}: {error})") from error
