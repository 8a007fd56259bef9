"""What a worker does: one portrait, or the stages that several share. Imports torch when it is called, not before."""

import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import IncompatiblePipelineError, Instax3DError

Status = Literal["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Job:
    """Plain values that a worker anywhere can act on."""

    id: str
    """Of the cell; of the shared stages for `share`."""
    source: str
    overrides: tuple[str, ...]
    preset: str | None
    config: str | None
    output: str | None
    """The result folder. None: only make the views and the fitted head that several cells need, and leave them in the
    stage cache."""
    stages: str | None = None
    """Folder of a stage cache without a limit; None is the user's own cache."""
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
    from ..cache import StageCache
    from ..config import load_config, source_kind
    from ..pipeline import create, fit, warm_up

    if job.once and job.output is not None and Path(job.output).is_dir():
        return  # another machine was faster
    file = None if job.config is None else Path(job.config)
    source = source_kind(Path(job.source))
    config = load_config(preset=job.preset, path=file, overrides=job.overrides, source=source)
    warm_up(config)  # so that the seconds of stages are without compilation
    cache = StageCache() if job.stages is None else StageCache(Path(job.stages), limit=_UNLIMITED)
    if job.output is None:
        fit(job.source, config, cache=cache)
        return
    portrait = create(job.source, config=config, cache=cache, resume="if any")
    if job.labels:
        portrait.manifest["cell"] = {"id": job.id, **job.labels}
    portrait.save(job.output)


_UNLIMITED = 2**62
"""Nothing that a cell of this benchmark still needs may be forgotten."""


def use_threads(count: int) -> None:
    """Let this process calculate with so many threads; before torch and numba are loaded."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
