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
    """Plain values that a worker anywhere can act on. Its places are paths, or URLs that fsspec knows."""

    id: str
    """Of the cell; of the shared stages for `share`."""
    source: str
    overrides: tuple[str, ...]
    preset: str | None
    config: str | None
    output: str | None
    """The result folder, a path or a URL. None: only make the views and the fitted head that several cells need, and
    leave them in the stage cache."""
    mark: str | None = None
    """What to write when the result is complete, where it does not appear in one step."""
    stages: str | None = None
    """Folder of a stage cache without a limit, or a URL; None is the user's own cache."""
    once: bool = False
    """Whether a result that is there already is left as it is."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Subject and axes, for the manifest."""

    @property
    def share(self) -> bool:
        """Whether it only makes what others need."""
        return self.output is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    status: Status
    seconds: float
    error: str = ""
    trace: str = ""


def perform(job: Job) -> Outcome:
    """Do a job; whatever goes wrong in it is part of the outcome."""
    since = time.perf_counter()

    def outcome(status: Status, error: BaseException | None = None, trace: str = "") -> Outcome:
        text = "" if error is None else f"{type(error).__name__}: {error}"
        return Outcome(status, round(time.perf_counter() - since, 3), text, trace)

    try:
        _make(job)
    except IncompatiblePipelineError as error:
        return outcome("skipped", error)
    except Instax3DError as error:
        return outcome("failed", error)
    except Exception as error:
        return outcome("failed", error, traceback.format_exc())
    return outcome("done")


def _make(job: Job) -> None:
    from instax3d.config import load_config, source_kind
    from instax3d.io.remote import fetch
    from instax3d.stages.pipeline import create, fit, warm_up

    if job.once and _is_there(job):
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
    _deliver(portrait, job.output, job.mark)


def _is_there(job: Job) -> bool:
    from instax3d.io.remote import open_url

    if job.mark is not None:
        files, path = open_url(job.mark)
        return bool(files.exists(path))
    return job.output is not None and Path(job.output).is_dir()


def _cache(place: str | None) -> "StageCache":
    from instax3d.io.remote import is_url
    from instax3d.stages.cache import StageCache

    from .remote_stages import RemoteStages

    if place is None:
        return StageCache()
    return RemoteStages(place) if is_url(place) else StageCache(Path(place), limit=_UNLIMITED)


_UNLIMITED = 2**62
"""Nothing that a cell of this benchmark still needs may be forgotten."""


def _deliver(portrait: "Portrait", output: str, mark: str | None) -> None:
    from instax3d.io.remote import is_url, upload

    if not is_url(output):
        portrait.save(output)
        return
    with tempfile.TemporaryDirectory(prefix="instax3d-") as work:
        upload(portrait.save(Path(work) / "portrait"), output)
        if mark is not None:
            (done := Path(work) / "mark").touch()
            upload(done, mark)


def use_threads(count: int) -> None:
    """Let this process calculate with so many threads; before torch and numba are loaded."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
