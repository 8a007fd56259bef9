"""The results of stages as arrays, to be stored and read back exactly."""

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.types import Cameras, Face, Gaussians, HeadMesh, Rig, Views

from .files import atomic

Artifact = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and plain values."""

_FACE = "face"
"""Prefix of the names of a face's points, before its view and their scheme, which is empty for the landmarks."""
_PIXELS = ("images", "alpha", "confidence", "provenance")
_VALUES = "values"
_BINDING = "binding"
UNREADABLE = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What `read_artifact` raises for files that are damaged or something else."""


def write_artifact(path: Path, artifact: Artifact, *, compress: bool = False) -> None:
    """Write an .npz file in one step; images are compressed always, other numbers, which shrink little, if asked for.

    Raises:
        OSError: the file cannot be written.
    """
    tensors, values = artifact
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    images = any(array.dtype == np.uint8 for array in arrays.values())
    save = np.savez_compressed if compress or images else np.savez
    with atomic(path) as temporary:
        save(temporary, **{_VALUES: np.array(json.dumps(values))}, **arrays)  # type: ignore[arg-type]


def read_artifact(path: Path, *, largest: int | None = None) -> Artifact:
    """What `write_artifact` wrote.

    Args:
        largest: bytes that it may take in memory, for files that others made; None for the program's own.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error: it is damaged, too large,
            or something else (see `UNREADABLE`).
    """
    if largest is not None:
        _check_sizes(path, largest)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        values = json.loads(str(stored[_VALUES]))
        if not isinstance(values, dict):
            raise ValueError(f"{path.name} holds no plain values by name")
        return {name: torch.from_numpy(stored[name]) for name in stored.files if name != _VALUES}, values


def _check_sizes(path: Path, largest: int) -> None:
    """Raises ValueError where the arrays would take more memory than allowed, or claim to be larger than they are."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > largest:
            raise ValueError(f"its arrays would take more than {largest / 2**20:.0f} MiB")
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename} is smaller than it says")


def quantized(views: Views) -> Views:
    """The views as eight-bit files hold them, so that what is stored is what was used."""
    pixels: dict[str, Any] = {name: _unpacked(_packed(values)) for name, values in _pixels(views).items()}
    return replace(views, **pixels)


def _pixels(views: Views) -> dict[str, Tensor]:
    return {name: getattr(views, name) for name in _PIXELS if getattr(views, name) is not None}


def _packed(values: Tensor) -> Tensor:
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def _unpacked(values: Tensor) -> Tensor:
    return values.float() / 255


def pack_views(views: Views) -> Artifact:
    """Of views that are `quantized`."""
    cameras = views.cameras
    faces = {index: face for index, face in enumerate(views.faces) if face is not None}
    tensors = {name: _packed(values) for name, values in _pixels(views).items()}
    tensors |= {"viewmats": cameras.viewmats, "Ks": cameras.Ks}
    for index, face in faces.items():
        points = {"": face.landmarks, **face.points}
        tensors |= {f"{_FACE} {index} {scheme}": at for scheme, at in points.items() if at is not None}
    values = {
        "size": [cameras.width, cameras.height],
        "names": list(cameras.names),
        "photo_index": views.photo_index,
        "faces": {str(index): [*face.box, face.score] for index, face in faces.items()},
        "face_slots": len(views.faces),
    }
    return tensors, values


def unpack_views(artifact: Artifact) -> Views:
    """What `pack_views` was given."""
    tensors, values = artifact
    width, height = values["size"]
    faces: list[Face | None] = [None] * values["face_slots"]
    for index, (*box, score) in values["faces"].items():
        prefix = f"{_FACE} {index} "
        points = {name.removeprefix(prefix): at for name, at in tensors.items() if name.startswith(prefix)}
        faces[int(index)] = Face((box[0], box[1], box[2], box[3]), score, points.pop("", None), points)
    pixels: dict[str, Any] = {name: _unpacked(tensors[name]) for name in _PIXELS if name in tensors}
    return Views(
        **pixels,
        cameras=Cameras(tensors["viewmats"], tensors["Ks"], width, height, tuple(values["names"])),
        photo_index=values["photo_index"],
        faces=tuple(faces),
    )


def pack_mesh(mesh: HeadMesh) -> Artifact:
    """A fitted head; of its rig the parameters and the place, not the model."""
    tensors = {"vertices": mesh.vertices, "faces": mesh.faces}
    tensors |= {f"region {name}": region for name, region in mesh.regions.items()}
    tensors |= {name: value for name in ("landmarks", "axes") if (value := getattr(mesh, name)) is not None}
    if mesh.rig is not None:
        rig = mesh.rig
        tensors |= {f"rig {field.name}": getattr(rig.parameters, field.name) for field in fields(HeadParameters)}
        tensors |= {"rig rotation": rig.rotation, "rig translation": rig.translation}
        tensors["rig scale"] = torch.tensor(rig.scale, dtype=torch.float64)
    return tensors, {"units_per_meter": mesh.units_per_meter, "metrics": dict(mesh.metrics)}


def unpack_mesh(artifact: Artifact, head_model: Callable[[], HeadModel] | None = None) -> HeadMesh:
    """What `pack_mesh` packed.

    Args:
        head_model: gives the model of the rig, where there is one; without it the rig is left out.

    Raises:
        KeyError, ValueError: it is something else.
    """
    tensors, values = artifact
    _check_mesh(tensors["vertices"], tensors["faces"])
    if not isinstance(values["metrics"], dict) or not isinstance(values["units_per_meter"], int | float):
        raise ValueError("metrics and units per meter must be numbers")
    rig = None
    if head_model is not None and "rig scale" in tensors:
        parameters = HeadParameters(**{field.name: tensors[f"rig {field.name}"] for field in fields(HeadParameters)})
        rig = Rig(
            head_model(), parameters, tensors["rig rotation"], tensors["rig translation"], float(tensors["rig scale"])
        )
    return HeadMesh(
        tensors["vertices"],
        tensors["faces"],
        landmarks=tensors.get("landmarks"),
        regions={name.removeprefix("region "): region for name, region in tensors.items() if name[:7] == "region "},
        rig=rig,
        axes=tensors.get("axes"),
        units_per_meter=values["units_per_meter"],
        metrics=values["metrics"],
    )


def _check_mesh(vertices: Tensor, faces: Tensor) -> None:
    """Raises ValueError where shapes or indices are not those of a mesh, which would fail only later."""
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not vertices.is_floating_point():
        raise ValueError("vertices must be rows of three numbers")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.is_floating_point():
        raise ValueError("faces must be rows of three indices")
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise ValueError("a face has a vertex that is not there")


def pack_gaussians(
    gaussians: Gaussians, losses: Mapping[str, float], binding: Int[Tensor, "n"] | None = None
) -> Artifact:
    """Gaussians in the world, the last losses of their construction, and the triangles that they are bound to."""
    tensors = {field.name: getattr(gaussians, field.name) for field in fields(Gaussians)}
    return tensors | ({} if binding is None else {_BINDING: binding}), {"losses": dict(losses)}


def unpack_gaussians(artifact: Artifact) -> tuple[Gaussians, dict[str, float], Tensor | None]:
    """What `pack_gaussians` was given."""
    tensors, values = artifact
    parts = {name: part for name, part in tensors.items() if name != _BINDING}
    return Gaussians(**parts), values["losses"], tensors.get(_BINDING)
