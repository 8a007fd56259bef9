"""Parameters of a fitted head as ``parameters.npz``: with the model's name and the head's place in the world."""

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
"""Version of the file; newer ones are refused."""


@dataclass(frozen=True, eq=False)
class FittedHead:
    """Parameters of a head model, and the head's place: world = scale * rotation @ head + translation."""

    model: str
    """`HeadModel.name`."""
    identity: str
    """`HeadModel.identity`; "" if unknown."""
    shape: Float[ndarray, "components"]
    """In standard deviations."""
    expression: Float[ndarray, "expressions"]
    """In the model's units; see `HeadModel.expression_bounds`."""
    pose: Float[ndarray, "joints 3"]
    """Axis-angle, radians."""
    rotation: Float[ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    """From the head's axes to the world's."""
    translation: Float[ndarray, "3"] = field(default_factory=lambda: np.zeros(3))
    """World units."""
    scale: float = 1.0
    """World units per meter."""
    root: Float[ndarray, "3"] | None = None
    """The first joint of the shaped head, in the head's axes, meters; None if unknown."""
    expression_names: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, rig: Rig) -> "FittedHead":
        """The head of a rig."""
        model, parameters = rig.head, rig.parameters
        try:
            root = model.posed_joints(parameters)[0].detach().double().numpy()
        except (NotImplementedError, IndexError):
            root = None
        return cls(
            model.name,
            model.identity,
            parameters.shape.detach().numpy(),
            parameters.expression.detach().numpy(),
            parameters.pose.detach().numpy(),
            rig.rotation.detach().double().numpy(),
            rig.translation.detach().double().numpy(),
            float(rig.scale),
            root,
            model.expression_names,
            model.joint_names,
        )


def write_head(path: Path, head: FittedHead) -> None:
    """Write a head's parameters atomically.

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
    """Read a head's parameters.

    Raises:
        AssetError: the file does not exist, is not of this kind, or has a newer version.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if int(arrays.pop("format")) > FORMAT:
            raise AssetError(f"{path} was written by a newer version of instax3d; update instax3d")
        return FittedHead(
            str(arrays["model"]),
            str(arrays["identity"]),
            arrays["shape"],
            arrays["expression"],
            arrays["pose"],
            arrays["rotation"],
            arrays["translation"],
            float(arrays["scale"]),
            arrays.get("root"),
            tuple(map(str, arrays["expression_names"])),
            tuple(map(str, arrays["joint_names"])),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise AssetError(
            f"{path} is not a file of head parameters ({type(error).__name__}: {error}); use a parameters.npz that "
            "`instax3d fit` wrote"
        ) from error
