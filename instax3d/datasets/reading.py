"""Reads data sets of turntables, clip by clip, and checks them against their checksums."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from instax3d.errors import DatasetError
from instax3d.geometry.cameras import read_transforms
from instax3d.inputs.capture import load_frames
from instax3d.types import TurntableClip, Views

from .layout import CLIP, DATASET, FORMAT, FRAMES, INDEX, INPUT_VIEW, TRANSFORMS, read_json, sha256


@dataclass(frozen=True)
class Clip:
    """One clip on disk."""

    folder: Path
    sha256: str
    """Of its ``clip.json``, which names those of all its other files: what caches may go by."""

    def load(self, size: int | None = None) -> TurntableClip:
        """Read the frames, reduced to ``size`` pixels where it is given.

        Raises:
            DatasetError: it does not have 21 views, or is smaller than ``size``.
            CaptureError: a frame is missing or cannot be read.
        """
        facts = read_json(self.folder / CLIP)
        cameras, files = read_transforms(self.folder / TRANSFORMS)
        if len(cameras) != FRAMES:
            raise DatasetError(f"{self.folder} has {len(cameras)} views; a turntable has {FRAMES}: make it again")
        if size is not None and size != cameras.width:
            if size > cameras.width:
                raise DatasetError(
                    f"{self.folder} has {cameras.width} pixels a side, {size} are asked for: make larger ones"
                )
            cameras = cameras.scaled(size / cameras.width)
        images, alpha = load_frames(cameras, files)
        views = Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=INPUT_VIEW)
        return TurntableClip(views, float(facts["elevation_deg"]), facts["about"])


def open_dataset(folder: Path) -> tuple[Clip, ...]:
    """The clips of all finished shards; also of a data set that is still being made.

    Raises:
        DatasetError: the folder holds no turntables.
    """
    if not (folder / DATASET).is_file():
        raise DatasetError(f"{folder} holds no turntables (no {DATASET}); `instax3d dataset make` makes some")
    if read_json(folder / DATASET).get("format") != FORMAT:
        raise DatasetError(f"{folder} is of another version than {FORMAT!r}; make it again with this program")
    clips = []
    for index in sorted(folder.glob(f"shard-*/{INDEX}")):
        clips += [Clip(index.parent / _plain(entry["name"]), entry["sha256"]) for entry in read_json(index)["clips"]]
    if not clips:
        raise DatasetError(f"{folder} has no finished shard yet; let `instax3d dataset make` go on")
    return tuple(clips)


def problems(folder: Path) -> Iterator[str]:
    """What is missing or differs from its checksum, one sentence each; reads every byte.

    Raises:
        DatasetError: the folder holds no turntables.
    """
    if not (folder / INDEX).is_file():
        yield f"{folder} is not finished; run the same `instax3d dataset make` again"
    else:
        for shard in read_json(folder / INDEX)["shards"]:
            yield from _differs(folder / _plain(shard["name"]) / INDEX, shard["sha256"])
    for clip in open_dataset(folder):
        wrong = list(_differs(clip.folder / CLIP, clip.sha256))
        yield from wrong
        if not wrong:
            for name, digest in read_json(clip.folder / CLIP)["sha256"].items():
                yield from _differs(clip.folder / _plain(name), digest)


def _differs(path: Path, digest: Any) -> Iterator[str]:
    try:
        if sha256(path.read_bytes()) != digest:
            yield f"{path} was changed or damaged: remove its clip and run the same `instax3d dataset make` again"
    except OSError as error:
        yield f"cannot read {path} ({error.strerror or error})"


def _plain(name: Any) -> str:
    """A name that leads nowhere else.

    Raises:
        DatasetError: it does.
    """
    if not isinstance(name, str) or PurePosixPath(name).name != name or name in ("", "."):
        raise DatasetError(f"an index names {name!r}, which is no plain name; make the data set again")
    return name
