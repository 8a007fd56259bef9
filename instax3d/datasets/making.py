"""Makes a data set of turntables in parallel processes; it can be interrupted at any moment and resumed."""

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from instax3d.errors import DatasetError, IncompatiblePipelineError
from instax3d.interfaces import ClipSource
from instax3d.io.files import atomic
from instax3d.io.progress import Progress, Silent
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.types import TurntableClip

from .layout import CLIP, DATASET, FORMAT, INDEX, TRANSFORMS, as_json, clip_name, read_json, sha256, shard_name

_LOCK = ".lock"
_PARTIAL = ".partial-"
_AHEAD = 2
"""Clips submitted for each process: no more are in memory, however many there will be."""


@dataclass(frozen=True)
class Recipe:
    """All that the clips depend on."""

    source: str
    options: Mapping[str, Any]
    seed: int
    shard_size: int = 100

    def build(self) -> ClipSource[Any]:
        """The source.

        Raises:
            UnknownPluginError, BrokenPluginError: there is none of that name.
            ConfigError: an option is wrong.
            IncompatiblePipelineError: it needs what is not there, such as CUDA.
        """
        have = {"cpu", *(["cuda"] if torch.cuda.is_available() else [])}
        missing = registry().get(Kind.CLIP_SOURCE, self.source).spec.needs - have
        if missing:
            raise IncompatiblePipelineError(
                f"clip source {self.source!r} needs {', '.join(sorted(missing))}, which is not there; "
                f"this machine gives: {', '.join(sorted(have))}"
            )
        source: ClipSource[Any] = build(ClipSource, self.source, **self.options)
        return source


def make_dataset(
    folder: Path, recipe: Recipe, *, clips: int | None, processes: int = 1, progress: Progress | None = None
) -> int:
    """Make the clips of a data set that are not there yet.

    Args:
        folder: a new one, or one of the same recipe, which is completed, or extended if ``clips`` has grown.
        clips: how many; None for all that the source has.
        processes: how many side by side; the clips' bytes do not depend on it.

    Returns:
        The number of clips in the data set.

    Raises:
        DatasetError: the folder holds something else, another program writes to it, the source has fewer clips, a clip
            cannot be made, or a process was killed. Finished clips stay.
    """
    progress = progress or Silent()
    source = recipe.build()
    total = _how_many(source, clips)
    description = {
        "format": FORMAT,
        "source": recipe.source,
        "options": source.config.model_dump(mode="json"),
        "seed": recipe.seed,
        "shard_size": recipe.shard_size,
        "license": source.license,
    }
    with _locked(folder):
        _begin(folder, description)
        for path in folder.glob(f"shard-*/{_PARTIAL}*"):
            shutil.rmtree(path, ignore_errors=True)
        missing = [k for k in range(total) if not _clip_folder(folder, recipe, k).is_dir()]
        if len(missing) < total:
            progress.note(f"{total - len(missing)} of {total} clips are there already")
        if missing:
            (folder / INDEX).unlink(missing_ok=True)
            progress.start("turntables", len(missing))
            for done, index in enumerate(_make_clips(folder, recipe, missing, processes), 1):
                progress.step(done)
                _index_shard(folder, recipe, index // recipe.shard_size, total)
        for shard in range(-(-total // recipe.shard_size)):
            _index_shard(folder, recipe, shard, total)
        _index_all(folder, recipe, total)
    return total


def _how_many(source: ClipSource[Any], clips: int | None) -> int:
    available = source.clips()
    if clips is None:
        if available is None:
            raise DatasetError("this source can always make more clips; say how many with --clips")
        return available
    if available is not None and clips > available:
        raise DatasetError(f"the source has {available} clips, not {clips}; lower --clips, or leave it out to get all")
    return clips


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK, timeout=0):
            yield
    except Timeout as error:
        raise DatasetError(f"another program is writing to {folder}; wait for it, or choose another folder") from error
    except OSError as error:
        raise DatasetError(f"cannot write to {folder}: {error.strerror or error}") from error


def _begin(folder: Path, description: Mapping[str, Any]) -> None:
    """Write the description, or compare it with the one that is already there."""
    path = folder / DATASET
    if not path.exists():
        if any(entry.name != _LOCK for entry in folder.iterdir()):
            raise DatasetError(f"{folder} holds something other than turntables; choose a new folder")
        _write(path, as_json(description))
        return
    before = read_json(path)
    if before != description:
        names = [name for name in {**before, **description} if before.get(name) != description.get(name)]
        changes = [
            f"{name} was {json.dumps(before.get(name))}, now {json.dumps(description.get(name))}" for name in names
        ]
        raise DatasetError(
            f"{folder} was made with other options ({'; '.join(changes)}); use the same, or choose a new folder"
        )


def _clip_folder(folder: Path, recipe: Recipe, index: int) -> Path:
    return folder / shard_name(index // recipe.shard_size) / clip_name(index)


def _make_clips(folder: Path, recipe: Recipe, indices: list[int], processes: int) -> Iterator[int]:
    """Make clips in child processes; yields each one's index when its folder is there."""
    # spawned, not forked: threads of torch and numba do not survive a fork
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _start_child)
    try:
        running: set[Future[int]] = set()
        for index in indices:
            running.add(pool.submit(_make_clip, _clip_folder(folder, recipe, index), recipe, index))
            if len(running) >= _AHEAD * processes:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise DatasetError(
            "a process that made clips was killed, perhaps for lack of memory; "
            "run the same command again with fewer --processes: finished clips are kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_child() -> None:
    """One thread a process, Ctrl-C left to the parent, and an exit when the parent is gone, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import numba
    import torch

    torch.set_num_threads(1)
    numba.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def exit_with_parent() -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


@cache
def _source(source: str, options: str) -> ClipSource[Any]:
    """Built once per process."""
    return Recipe(source, json.loads(options), 0).build()


def _make_clip(target: Path, recipe: Recipe, index: int) -> int:
    turntable = _source(recipe.source, json.dumps(dict(recipe.options))).make(index, seed=recipe.seed)
    write_clip(target, turntable)
    return index


def write_clip(target: Path, turntable: TurntableClip) -> None:
    """Write a clip's folder in one step.

    Raises:
        OSError: it cannot be written.
    """
    from instax3d.geometry.cameras import write_transforms
    from instax3d.io.images import png_bytes

    views = turntable.views
    partial = target.with_name(f"{_PARTIAL}{target.name}-{uuid.uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    try:
        files = {f"{k:02d}.png": png_bytes(views.images[k], views.alpha[k]) for k in range(len(views))}
        for name, data in files.items():
            (partial / name).write_bytes(data)
        write_transforms(partial / TRANSFORMS, views.cameras, list(files))
        files[TRANSFORMS] = (partial / TRANSFORMS).read_bytes()
        facts = {
            "elevation_deg": turntable.elevation_deg,
            "about": dict(turntable.about),
            "sha256": {name: sha256(data) for name, data in files.items()},
        }
        (partial / CLIP).write_bytes(as_json(facts))
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _index_shard(folder: Path, recipe: Recipe, shard: int, total: int) -> None:
    """Write a shard's index once all of its clips are there."""
    first, shard_folder = shard * recipe.shard_size, folder / shard_name(shard)
    names = [clip_name(k) for k in range(first, min(first + recipe.shard_size, total))]
    if not all((shard_folder / name).is_dir() for name in names):
        return
    clips = [{"name": name, "sha256": sha256((shard_folder / name / CLIP).read_bytes())} for name in names]
    _write(shard_folder / INDEX, as_json({"clips": clips}))


def _index_all(folder: Path, recipe: Recipe, total: int) -> None:
    shards = []
    for number in range(-(-total // recipe.shard_size)):
        data = (folder / shard_name(number) / INDEX).read_bytes()
        shards.append({"name": shard_name(number), "clips": len(json.loads(data)["clips"]), "sha256": sha256(data)})
    _write(folder / INDEX, as_json({"clips": total, "shards": shards}))


def _write(path: Path, data: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(data)
