"""Reads data sets of turntables, clip by clip, and checks them against their checksums."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from instax3d.errors import DatasetError
from instax3d.geometry.cameras import read_transforms
from instax3d.inputs.capture import load_frames
from instax3d.io.files import stays_inside
from instax3d.types import TurntableClip, Views

from .layout import (
    CLIP,
    DATASET,
    FORMAT,
    FRAMES,
    INDEX,
    INPUT_VIEW,
    TRANSFORMS,
    damaged,
    read_checksums,
    read_index,
    read_json,
    sha256,
)


@dataclass(frozen=True)
class Clip:
    """One clip on disk."""

    folder: Path
    sha256: str
    """Of its ``clip.json``, which holds those of all its other files: a key for caches."""

    def load(self, size: int | None = None) -> TurntableClip:
        """Read the frames, reduced to ``size`` pixels where it is given.

        Raises:
            DatasetError: it is damaged, does not have 21 views, or is smaller than ``size``.
            CaptureError: a frame is missing or cannot be read.
        """
        path = self.folder / CLIP
        facts = read_json(path)
        elevation, about = facts.get("elevation_deg"), facts.get("about")
        if isinstance(elevation, bool) or not isinstance(elevation, int | float) or not isinstance(about, dict):
            raise damaged(path, "it needs a number elevation_deg and an object about")
        cameras, files = read_transforms(self.folder / TRANSFORMS)
        outside = [name for name in cameras.names if not stays_inside(name)]
        if outside:
            raise damaged(self.folder / TRANSFORMS, f"{outside[0]!r} lies outside the clip")
        if len(cameras) != FRAMES:
            raise DatasetError(f"{self.folder} has {len(cameras)} views; a turntable has {FRAMES}: make it again")
        if size is not None and size != cameras.width:
            if size > cameras.width:
                raise DatasetError(
                    f"{self.folder} has {cameras.width} pixels a side, but {size} were requested: make larger ones"
                )
            cameras = cameras.scaled(size / cameras.width)
        images, alpha = load_frames(cameras, files)
        views = Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=INPUT_VIEW)
        return TurntableClip(views, float(elevation), about)


def open_dataset(folder: Path) -> tuple[Clip, ...]:
    """The clips of all finished shards; also of a data set that is still being made.

    Raises:
        DatasetError: the folder holds no turntables, or its index is damaged.
    """
    if not (folder / DATASET).is_file():
        raise DatasetError(f"{folder} holds no turntables (no {DATASET}); `instax3d dataset make` makes some")
    if read_json(folder / DATASET).get("format") != FORMAT:
        raise DatasetError(f"{folder} was not made by this version ({FORMAT!r}); make it again")
    clips = []
    for index in sorted(folder.glob(f"shard-*/{INDEX}")):
        clips += [Clip(index.parent / name, digest) for name, digest in read_index(index, "clips")]
    if not clips:
        raise DatasetError(f"{folder} has no finished shard yet; run the same `instax3d dataset make` again")
    return tuple(clips)


def problems(folder: Path) -> Iterator[str]:
    """What is missing or differs from its checksum, one sentence each; reads every byte.

    Raises:
        DatasetError: the folder holds no turntables.
    """
    if not (folder / INDEX).is_file():
        yield f"{folder} is not finished; run the same `instax3d dataset make` again"
    else:
        for name, digest in read_index(folder / INDEX, "shards"):
            yield from _differs(folder / name / INDEX, digest)
    for clip in open_dataset(folder):
        differences = list(_differs(clip.folder / CLIP, clip.sha256))
        yield from differences
        if not differences:
            for name, digest in read_checksums(clip.folder / CLIP).items():
                yield from _differs(clip.folder / name, digest)


def _differs(path: Path, digest: str) -> Iterator[str]:
    try:
        if sha256(path.read_bytes()) != digest:
            yield f"{path} was changed or damaged: remove its clip and run the same `instax3d dataset make` again"
    except OSError as error:
        yield f"cannot read {path} ({error.strerror or error})"
