"""``rig.npz``: the head that a portrait moves by, without the model that it was fitted with."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from instax3d.errors import PortraitError
from instax3d.headmodel import BakedHead, HeadParameters
from instax3d.io.artifacts import UNREADABLE, Artifact, read_artifact
from instax3d.types import Rig

FORMAT = 1
"""Version of the file; newer ones are refused."""
LARGEST = 2**30
"""Bytes that its arrays may take; a FLAME with 100 expressions takes 9 MB."""
_PLAIN = ("name", "identity", "regions", "expression_names", "expression_bounds", "joint_names", "parents")
_ARRAYS = tuple(each.name for each in fields(BakedHead) if each.init and each.name not in _PLAIN)


@dataclass(frozen=True, eq=False)
class BoundRig:
    """A baked head with its parameters and place, and the Gaussians that move with it."""

    rig: Rig
    """Its head is a `BakedHead`."""
    binding: Int[Tensor, "n"]
    """The triangle of each Gaussian."""


def baked(rig: Rig) -> Rig:
    """The same head, place and pose without the model, as `HeadModel.bake` makes it."""
    head = rig.head.bake(rig.parameters)
    kept = [rig.head.joint_names.index(name) for name in head.joint_names]
    expression, pose = rig.parameters.expression.detach(), rig.parameters.pose.detach()[kept]
    parameters = HeadParameters(expression.new_zeros(0), expression, pose)
    return Rig(head, parameters, rig.rotation.detach(), rig.translation.detach(), float(rig.scale))


def pack_rig(bound: BoundRig) -> Artifact:
    """Arrays by the names of `BakedHead`'s fields, the fitted parameters, the place, and the binding."""
    rig, head = bound.rig, bound.rig.head
    assert isinstance(head, BakedHead)
    tensors = {name: value for name in _ARRAYS if (value := getattr(head, name)) is not None}
    tensors |= {f"region {name}": mask for name, mask in head.regions.items()}
    tensors |= {"expression": rig.parameters.expression, "pose": rig.parameters.pose}
    tensors |= {"rotation": rig.rotation, "translation": rig.translation}
    tensors = {name: _stored(tensor) for name, tensor in tensors.items()}
    tensors["binding"] = bound.binding.to(torch.int32)
    values = {
        "format": FORMAT,
        "name": head.name,
        "identity": head.identity,
        "expression_names": list(head.expression_names),
        "expression_bounds": list(head.expression_bounds),
        "joint_names": list(head.joint_names),
        "parents": list(head.parents),
        "scale": rig.scale,
    }
    return tensors, values


def _stored(tensor: Tensor) -> Tensor:
    """As the file holds it: single precision, indices of 64 bits."""
    if tensor.dtype == torch.bool:
        return tensor
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def read_rig(path: Path) -> BoundRig:
    """What `pack_rig` packed.

    Raises:
        PortraitError: it is damaged, something else, or was written by a newer version.
    """
    try:
        tensors, values = read_artifact(path, largest=LARGEST)
        if isinstance(values["format"], int) and values["format"] > FORMAT:
            raise PortraitError(f"{path} was written by a newer instax3d; update yours")
        return _unpacked(tensors, values)
    except (*UNREADABLE, TypeError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, PortraitError):
            raise
        raise PortraitError(f"{path} cannot be read ({error}); make the portrait again") from error


def _unpacked(tensors: dict[str, Tensor], values: dict[str, Any]) -> BoundRig:
    """Raises ValueError, KeyError or TypeError where something is not as it should be."""
    names, joint_names = tuple(values["expression_names"]), tuple(values["joint_names"])
    parents, (low, high) = tuple(values["parents"]), values["expression_bounds"]
    if not all(isinstance(name, str) for name in (values["name"], values["identity"], *names, *joint_names)):
        raise ValueError("names must be texts")
    if len(parents) != len(joint_names) or not all(-1 <= parent < joint for joint, parent in enumerate(parents)):
        raise ValueError("the joints' parents are not those of a tree")
    _check_arrays(tensors, len(names), len(joint_names))
    regions = {name.removeprefix("region "): mask for name, mask in tensors.items() if name.startswith("region ")}
    head = BakedHead(
        name=values["name"],
        identity=values["identity"],
        expression_names=names,
        expression_bounds=(float(low), float(high)),
        joint_names=joint_names,
        parents=parents,
        regions=regions,
        **{name: tensors.get(name) if name == "mirror" else tensors[name] for name in _ARRAYS},  # type: ignore[arg-type]
    )
    parameters = HeadParameters(tensors["expression"].new_zeros(0), tensors["expression"], tensors["pose"])
    scale = float(values["scale"])
    if not 0 < scale < float("inf"):
        raise ValueError("the scale must be positive")
    return BoundRig(
        Rig(head, parameters, tensors["rotation"], tensors["translation"], scale), tensors["binding"].long()
    )


def _check_arrays(tensors: dict[str, Tensor], expressions: int, joints: int) -> None:
    """Raises ValueError where shapes, types or indices would fail only later."""
    count, faces = len(tensors["vertices"]), len(tensors["faces"])
    sets = len(tensors["correctives"])
    features = 9 * max(joints - 1, 0) if len(tensors["pose_correctives"]) else 0
    shapes = {
        "vertices": (count, 3),
        "faces": (faces, 3),
        "landmark_faces": (68, 3),
        "landmark_weights": (68, 3),
        "mirror": (count,),
        "expressions": (expressions, count, 3),
        "correctives": (sets, count, 3),
        "corrected": (sets, expressions),
        "pose_correctives": (features, count, 3),
        "joints": (joints, 3),
        "joint_moves": (expressions, joints, 3),
        "turns": (expressions, joints, 3),
        "skinning": (count, 1 + joints),
        "expression": (expressions,),
        "pose": (joints, 3),
        "rotation": (3, 3),
        "translation": (3,),
        "binding": (len(tensors["binding"]),),
    }
    types = {"corrected": torch.bool, "binding": torch.int32}
    types |= dict.fromkeys(("faces", "landmark_faces", "mirror"), torch.int64)
    for name, tensor in tensors.items():
        region = name.startswith("region ")
        shape = (count,) if region else shapes[name]
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)} instead of {shape}")
        wanted = torch.bool if region else types.get(name, torch.float32)
        if tensor.dtype != wanted:
            raise ValueError(f"{name} holds {tensor.dtype} instead of {wanted}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds numbers that are not finite")
    for name, end in (("faces", count), ("landmark_faces", count), ("mirror", count), ("binding", faces)):
        indices = tensors.get(name)
        if indices is not None and indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < end:
            raise ValueError(f"{name} points to what is not there")
