"""Names and numbers that makers and readers of turntables share. Never imports torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from instax3d.errors import DatasetError

FRAMES = 21
INPUT_VIEW = FRAMES - 1
"""The view that a generator is given is the last one (SV3D)."""
AZIMUTHS_DEG = tuple(360.0 * (index + 1) / FRAMES % 360.0 for index in range(FRAMES))
"""Of the views relative to the input view, rising; the camera moves to its own right, the subject's left (SV3D)."""
FIELD_OF_VIEW_DEG = 33.8
"""Of SV3D's training views, as its users assume it; its authors state none."""

FORMAT = "instax3d turntables 1"
DATASET, INDEX, CLIP, TRANSFORMS = "dataset.json", "index.json", "clip.json", "transforms.json"


def shard_name(number: int) -> str:
    return f"shard-{number:05d}"


def clip_name(index: int) -> str:
    return f"clip-{index:06d}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def as_json(value: Any) -> bytes:
    """The same bytes for the same value."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file of a data set.

    Raises:
        DatasetError: it is absent or holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"cannot read {path} ({error}); make the data set again with `instax3d dataset make`"
        ) from error
    if not isinstance(value, dict):
        raise DatasetError(f"{path} must hold a JSON object; make the data set again with `instax3d dataset make`")
    return value
