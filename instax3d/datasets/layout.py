"""Names and numbers that writers and readers of turntables share. Never imports torch."""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from instax3d.errors import DatasetError
from instax3d.io.files import stays_inside

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
    """Name of a folder of clips."""
    return f"shard-{number:05d}"


def clip_name(index: int) -> str:
    """Name of a clip's folder, in the order of indices."""
    return f"clip-{index:06d}"


def sha256(data: bytes) -> str:
    """In lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def as_json(value: Any) -> bytes:
    """The same bytes for the same value."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a data set.

    Raises:
        DatasetError: it is absent, or holds something else.
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


def read_index(path: Path, key: str) -> list[tuple[str, str]]:
    """Names and SHA-256 that an index lists under ``key``; the names lead nowhere else.

    Raises:
        DatasetError: it is absent or damaged.
    """
    entries = read_json(path).get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise damaged(path, f"{key} must list objects")
    return [(_plain_name(path, entry.get("name")), _text(path, "sha256", entry.get("sha256"))) for entry in entries]


def read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 of the files of a clip, from its ``clip.json``; the names lead nowhere else.

    Raises:
        DatasetError: it is absent or damaged.
    """
    sums = read_json(path).get("sha256")
    if not isinstance(sums, dict):
        raise damaged(path, "sha256 must hold a checksum for each file")
    return {_plain_name(path, name): _text(path, name, value) for name, value in sums.items()}


def _plain_name(path: Path, name: object) -> str:
    """A name without any folder in it.

    Raises:
        DatasetError: it is something else; ``path`` is the file that it stands in.
    """
    if not isinstance(name, str) or not stays_inside(name) or PurePosixPath(name).name != name:
        raise damaged(path, f"{name!r} is not a plain file name")
    return name


def _text(path: Path, key: str, value: object) -> str:
    """A value that must be a text.

    Raises:
        DatasetError: it is something else; ``path`` is the file that it stands in.
    """
    if not isinstance(value, str):
        raise damaged(path, f"{key} must be a text, not {value!r}")
    return value


def damaged(path: Path, problem: str) -> DatasetError:
    """The error of a file of a data set that cannot be used, with the remedy."""
    return DatasetError(f"{path} is damaged: {problem}; make the data set again with `instax3d dataset make`")
