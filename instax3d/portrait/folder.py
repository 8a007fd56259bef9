"""Reads and writes all of a result folder.

What a loaded portrait did not change is copied rather than written anew, so that loading and saving keeps the bits of
every file. Drawn anew are turntable and contact sheet, where the Gaussians changed or the renderer or the output was
overridden; ``run.json`` is written anew, in the current format.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.errors import PortraitError
from instax3d.io.artifacts import UNREADABLE, Artifact, pack_mesh, read_artifact, unpack_mesh, write_artifact
from instax3d.io.files import atomic_folder
from instax3d.io.obj import read_obj, write_obj
from instax3d.io.ply import read_ply, write_ply
from instax3d.types import Cameras, Gaussians, HeadMesh, Views

from .layout import CONFIG, GAUSSIANS, HEAD, MANIFEST, MESH, RIG, SHEET, VIDEO, VIEWS
from .manifest import check_output, read_manifest
from .orbit import Orbit
from .preview import write_contact_sheet, write_video
from .recipe import Recipe
from .rig_file import LARGEST, BoundRig, pack_rig, read_rig
from .views import photo_image, write_views


@dataclass(frozen=True, eq=False)
class Contents:
    """What a result folder holds, but for what is drawn from it and for the views."""

    gaussians: Gaussians
    mesh: HeadMesh
    recipe: Recipe
    manifest: dict[str, Any]
    """``run.json`` without the orbit."""
    orbit: Orbit
    binding: Int[Tensor, "n"] | None
    """The triangle that each Gaussian moves with; None where there is no rig."""


def read_folder(folder: Path, overrides: Iterable[str]) -> Contents:
    """All but the views, which `instax3d.portrait.views.read_views` reads.

    Raises:
        PortraitError: it is not a portrait, is damaged, or was written by a newer version.
        ConfigError: its configuration is not readable, or an override has no effect on a finished portrait.
    """
    manifest = read_manifest(folder)
    try:
        orbit = Orbit.from_dict(manifest.pop("orbit"))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PortraitError(
            f"{folder / MANIFEST} does not say from where the portrait is seen (orbit); make the portrait again"
        ) from error
    recipe = Recipe.read(folder, overrides)
    gaussians, mesh, binding = read_ply(folder / GAUSSIANS), _read_mesh(folder, orbit), None
    if (folder / RIG).is_file():
        bound = read_rig(folder / RIG)
        if len(bound.binding) != len(gaussians) or not torch.equal(bound.rig.head.faces, mesh.faces):
            raise PortraitError(f"{folder / RIG} is of another portrait; make the portrait again")
        mesh, binding = replace(mesh, rig=bound.rig), bound.binding
    return Contents(gaussians, mesh, recipe, manifest, orbit, binding)


def write_folder(
    folder: Path,
    contents: Contents,
    draw: Callable[[Cameras], Float[Tensor, "views 3 h w"]],
    *,
    views: Callable[[], Views | None],
    loaded_from: Path | None,
) -> None:
    """Write a result folder in one step; an earlier portrait of that name is replaced, anything else is refused.

    Args:
        draw: the Gaussians from some cameras, on white.
        views: gives what the portrait was made from; asked where they must be written or the photo be shown.
        loaded_from: the folder that the portrait comes from: what it holds and the portrait lacks, its views, reports
            and files of the user's own, is taken along.

    Raises:
        PortraitError: ``folder`` exists and is not a portrait, or cannot be written.
    """
    check_output(folder)
    try:
        with atomic_folder(folder) as new:
            _write(new, contents, draw, views, loaded_from)
            if loaded_from is not None:
                _copy_rest(loaded_from, new, folder)
    except OSError as error:
        raise PortraitError(f"cannot write the portrait to {folder}: {error.strerror or error}") from error


def _write(
    new: Path,
    contents: Contents,
    draw: Callable[[Cameras], Float[Tensor, "views 3 h w"]],
    views: Callable[[], Views | None],
    old: Path | None,
) -> None:
    drawn_alike = _write_gaussians(new, contents.gaussians, old)
    _write_head(new, contents, old)
    (new / CONFIG).write_bytes(contents.recipe.text.encode("utf-8"))
    kept = drawn_alike and not contents.recipe.changes_pictures
    if not (kept and _copied(old, new, VIDEO) and _copied(old, new, SHEET)):
        output = contents.recipe.output
        write_video(new / VIDEO, draw(contents.orbit.turn(output.turntable_frames)))
        write_contact_sheet(new / SHEET, draw(contents.orbit.turn(output.sheet_views)), first=photo_image(views()))
    if old is None and (images := views()) is not None:
        write_views(new / VIEWS, images)
    manifest = {**contents.manifest, "orbit": contents.orbit.to_dict()}
    (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _write_gaussians(new: Path, gaussians: Gaussians, old: Path | None) -> bool:
    """Whether they are those of the folder ``old``, whose file is then copied: reading it rounds."""
    if old is not None and (old / GAUSSIANS).is_file():
        before = read_ply(old / GAUSSIANS)
        if all(torch.equal(a, b) for a, b in zip(vars(before).values(), vars(gaussians).values(), strict=True)):
            return _copied(old, new, GAUSSIANS)
    write_ply(new / GAUSSIANS, gaussians)
    return False


def _write_head(new: Path, contents: Contents, old: Path | None) -> None:
    mesh = contents.mesh
    # without the rig, which has a file of its own
    head = pack_mesh(replace(mesh, rig=None))
    if not (_holds(old, HEAD, head) and _copied(old, new, HEAD) and _copied(old, new, MESH)):
        write_artifact(new / HEAD, head)
        write_obj(new / MESH, mesh.vertices, mesh.faces)
    if mesh.rig is not None and contents.binding is not None:
        rig = pack_rig(BoundRig(mesh.rig, contents.binding))
        if not (_holds(old, RIG, rig) and _copied(old, new, RIG)):
            write_artifact(new / RIG, rig, compress=True)


def _holds(folder: Path | None, name: str, artifact: Artifact) -> bool:
    """Whether a file holds just that."""
    if folder is None or not (folder / name).is_file():
        return False
    try:
        tensors, values = read_artifact(folder / name, largest=LARGEST)
    except UNREADABLE:
        return False
    same = values == artifact[1] and set(tensors) == set(artifact[0])
    return same and all(torch.equal(tensors[key], tensor.detach().cpu()) for key, tensor in artifact[0].items())


def _copied(old: Path | None, new: Path, name: str) -> bool:
    """Whether the file was there to be copied."""
    if old is None or not (old / name).is_file():
        return False
    shutil.copy2(old / name, new / name)
    return True


def _copy_rest(source: Path, new: Path, final: Path) -> None:
    """Copy what the portrait in ``source`` holds and ``new`` lacks; ``final`` may lie in ``source``."""
    for entry in source.iterdir():
        if (new / entry.name).exists():
            continue
        if entry.is_symlink() or not entry.is_dir():
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)
        elif not any(path.resolve().is_relative_to(entry.resolve()) for path in (new, final)):
            shutil.copytree(entry, new / entry.name, symlinks=True)


def _read_mesh(folder: Path, orbit: Orbit) -> HeadMesh:
    """The fitted head without its rig; of a portrait made by an older version the bare mesh.

    Raises:
        PortraitError: it cannot be read.
    """
    path = folder / HEAD
    if not path.is_file():
        vertices, faces = read_obj(folder / MESH)
        return HeadMesh(vertices, faces, axes=orbit.axes)
    try:
        return unpack_mesh(read_artifact(path, largest=LARGEST))
    except UNREADABLE as error:
        raise PortraitError(f"{path} cannot be read ({error}); make the portrait again") from error
