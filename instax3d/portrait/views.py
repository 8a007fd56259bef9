"""The folder ``views`` of a portrait: the images it was made from, as a capture that is read back for measuring."""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import PortraitError
from instax3d.geometry.cameras import read_transforms, write_transforms
from instax3d.inputs.capture import load_frames
from instax3d.interfaces import LandmarkDetector
from instax3d.io.files import stays_inside
from instax3d.io.images import to_uint8, write_png
from instax3d.types import Photo, Views

from .layout import VIEWS
from .preview import write_contact_sheet

_TRANSFORMS = "transforms.json"
_PHOTO = "photo"
"""Marks the frame of ``transforms.json`` that is the photo."""
_PROVENANCE = "provenance"


def write_views(folder: Path, views: Views) -> None:
    """Write images, cameras, and where each pixel came from.

    Raises:
        OSError: the folder exists, or cannot be written.
    """
    folder.mkdir()
    names = [f"{index:03d}.png" for index in range(len(views))]
    for name, image, alpha in zip(names, views.images, views.alpha):
        write_png(folder / name, image, alpha)
    extra: list[dict[str, Any]] = [{"confidence": round(float(mean), 4)} for mean in views.view_confidence]
    if views.photo_index is not None:
        extra[views.photo_index][_PHOTO] = True
    if views.provenance is not None:
        (folder / _PROVENANCE).mkdir()
        for name, entry, shares in zip(names, extra, views.provenance):
            entry["provenance_path"] = f"{_PROVENANCE}/{name}"
            write_png(folder / _PROVENANCE / name, shares)
        tinted = 0.5 * (views.images.mean(1, keepdim=True) + views.provenance)
        write_contact_sheet(folder / f"{_PROVENANCE}.png", 1 + views.alpha * (tinted - 1))
    write_transforms(folder / _TRANSFORMS, views.cameras, names, extra)


def has_views(portrait: Path) -> bool:
    """Whether the portrait in that folder keeps its views."""
    return (portrait / VIEWS / _TRANSFORMS).is_file()


def read_views(portrait: Path) -> Views:
    """The views of the portrait in that folder, with full confidence and without provenance.

    Raises:
        PortraitError: it keeps none, or one lies outside the folder.
        CaptureError: one cannot be read.
    """
    path = portrait / VIEWS / _TRANSFORMS
    if not path.is_file():
        raise PortraitError(
            f"{portrait} has no {VIEWS}/{_TRANSFORMS}, so there is nothing to measure the portrait against; "
            "make the portrait again (a posed one keeps none: measure the portrait that was posed)"
        )
    cameras, files = read_transforms(path)
    outside = [name for name in cameras.names if not stays_inside(name)]
    if outside:
        raise PortraitError(f"{path} names {outside[0]!r}, which lies outside the portrait; make the portrait again")
    images, alpha = load_frames(cameras, files)
    frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
    photo = next((index for index, frame in enumerate(frames) if frame.get(_PHOTO)), None)
    return Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=photo)


def photo_of(views: Views, detector: LandmarkDetector[Any]) -> Photo | None:
    """The photo as its own view shows it; None where no view is one, or the detector finds no face in it."""
    index = views.photo_index
    if index is None:
        return None
    faces = detector.detect(to_uint8(views.images[index]))
    if not faces:
        return None
    return Photo(views.images[index], views.alpha[index], faces[0], name=Path(views.cameras.names[index]).name)


def photo_image(views: Views | None) -> Float[Tensor, "3 h w"] | None:
    """The view that is the photo, where there is one."""
    return None if views is None or views.photo_index is None else views.images[views.photo_index]
