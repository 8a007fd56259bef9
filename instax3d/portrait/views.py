"""The views in a result folder, and the photo among them, read back for measuring."""

import json
from pathlib import Path
from typing import Any

import torch

from instax3d.errors import PortraitError
from instax3d.geometry.cameras import read_transforms
from instax3d.inputs.capture import load_frames
from instax3d.interfaces import LandmarkDetector
from instax3d.io.images import to_uint8
from instax3d.types import Photo, Views

PHOTO = "photo"
"""Marks the frame of ``views/transforms.json`` that is the photo."""
VIEWS = Path("views") / "transforms.json"


def read_saved(folder: Path, detector: LandmarkDetector[Any]) -> tuple[Views, Photo | None]:
    """What a saved portrait was made from, fully trusted; the photo as its own view shows it.

    Raises:
        PortraitError: the folder keeps no views.
    """
    path = folder / VIEWS
    if not path.is_file():
        raise PortraitError(f"{folder} has no {VIEWS.as_posix()}, so there is nothing to measure the portrait against")
    cameras, files = read_transforms(path)
    images, alpha = load_frames(cameras, files)
    frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
    index = next((i for i, frame in enumerate(frames) if frame.get(PHOTO)), None)
    views = Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=index)
    if index is None:
        return views, None
    faces = detector.detect(to_uint8(images[index]))
    return views, Photo(images[index], alpha[index], faces[0], name=files[index].name) if faces else None
