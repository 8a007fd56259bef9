"""What a worker does: one portrait, or the stages that several share. Imports torch when it is called, not before."""

import os
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from instax3d.errors import IncompatiblePipelineError, Instax3DError

if TYPE_CHECKING:
    from instax3d.portrait.portrait import Portrait
    from instax3d.stages.cache import StageCache

Status = Literal["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Job:
    """Plain values that a worker anywhere can act on. A URI is a path, or a URL that fsspec knows."""

    id: str
    """Of the cell, or of the shared stages where it `prepares_only`."""
    source: str
    """URI of the photo or capture."""
    overrides: tuple[str, ...]
    preset: str | None
    config: str | None
    """URI of a config file."""
    output: str | None
    """URI of the result folder. None: only make the views and the fitted head that several cells need, and leave them
    in the stage cache."""
    done_marker: str | None = None
    """URL of a file to write when the result is complete, where it does not appear in one step."""
    stages: str | None = None
    """URI of a stage cache without a limit; None is the user's own cache."""
    skip_existing: bool = False
    """Whether a result that is already there is left as it is."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Subject and axes, for the manifest."""

    @property
    def prepares_only(self) -> bool:
        """Whether it only makes stages that several cells share."""
        return self.output is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    status: Status
    seconds: float
    error: str = ""
    trace: str = ""


def run_job(job: Job) -> Outcome:
    """Execute a job; whatever goes wrong in it is part of the outcome."""
    since = time.perf_counter()

    def outcome(status: Status, error: BaseException | None = None, trace: str = "") -> Outcome:
        text = "" if error is None else f"{type(error).__name__}: {error}"
        return Outcome(status, round(time.perf_counter() - since, 3), text, trace)

    try:
        _execute(job)
    except IncompatiblePipelineError as error:
        return outcome("skipped", error)
    except Instax3DError as error:
        return outcome("failed", error)
    except Exception as error:
        return outcome("failed", error, traceback.format_exc())
    return outcome("done")


def _execute(job: Job) -> None:
    from instax3d.config import load_config, source_kind
    from instax3d.io.remote import fetch
    from instax3d.stages.pipeline import create, fit, warm_up

    if job.skip_existing and _exists(job):
        return  # another machine was faster
    path = fetch(job.source)
    file = None if job.config is None else fetch(job.config)
    config = load_config(preset=job.preset, path=file, overrides=job.overrides, source=source_kind(path))
    warm_up(config)  # so that the seconds of stages are without compilation
    cache = _cache(job.stages)
    if job.output is None:
        fit(path, config, cache=cache)
        return
    portrait = create(path, config=config, cache=cache, resume="if any")
    if job.labels:
        portrait.manifest["cell"] = {"id": job.id, **job.labels}
    _save(portrait, job.output, job.done_marker)


def _exists(job: Job) -> bool:
    from instax3d.io.remote import open_url

    if job.done_marker is not None:
        files, path = open_url(job.done_marker)
        return bool(files.exists(path))
    return job.output is not None and Path(job.output).is_dir()


def _cache(uri: str | None) -> "StageCache":
    from instax3d.io.remote import is_url
    from instax3d.stages.cache import StageCache

    from .remote_stages import RemoteStages

    if uri is None:
        return StageCache()
    return RemoteStages(uri) if is_url(uri) else StageCache(Path(uri), limit=_UNLIMITED)


_UNLIMITED = 2**62
"""Nothing that a cell of this benchmark still needs may be evicted."""


def _save(portrait: "Portrait", output: str, done_marker: str | None) -> None:
    from instax3d.io.remote import is_url, upload

    if not is_url(output):
        portrait.save(output)
        return
    with tempfile.TemporaryDirectory(prefix="instax3d-") as work:
        upload(portrait.save(Path(work) / "portrait"), output)
        if done_marker is not None:
            (empty := Path(work) / "done").touch()
            upload(empty, done_marker)


def use_threads(count: int) -> None:
    """Let this process calculate with so many threads; to be called before torch and numba are loaded."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
