"""What a worker does: the stages that cells share, or one cell. Imports torch when it is called, not before."""

import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
    store: str
    share: bool = False
    """Only make the views and the fitted head that several cells need, and leave them in the stage cache."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Subject and axes, for the manifest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    status: Status
    seconds: float
    error: str = ""
    trace: str = ""


def perform(job: Job) -> Outcome:
    """Do a job; whatever goes wrong in it is part of the outcome.

    A cell whose result is there already, since another machine was faster, is done at once.
    """
    since = time.perf_counter()

    def outcome(status: Status, error: BaseException | None = None, trace: str = "") -> Outcome:
        text = "" if error is None else f"{type(error).__name__}: {error}"
        return Outcome(status, round(time.perf_counter() - since, 3), text, trace)

    try:
        (_share if job.share else _cell)(job)
    except IncompatiblePipelineError as error:
        return outcome("skipped", error)
    except Instax3DError as error:
        return outcome("failed", error)
    except Exception as error:
        return outcome("failed", error, traceback.format_exc())
    return outcome("done")


def _arguments(job: Job) -> dict[str, Any]:
    from ..cache import StageCache
    from .store import Store

    return {
        "preset": job.preset,
        "config": job.config,
        "overrides": job.overrides,
        "cache": StageCache(Store(Path(job.store)).stages, limit=_UNLIMITED),
    }


def _share(job: Job) -> None:
    from ..pipeline import prepare

    prepare(job.source, **_arguments(job))


def _cell(job: Job) -> None:
    from ..pipeline import create
    from .store import Store

    folder = Store(Path(job.store)).cell(job.id)
    if folder.is_dir():
        return
    portrait = create(job.source, **_arguments(job), resume="if any")
    portrait.manifest["cell"] = {"id": job.id, **job.labels}
    portrait.save(folder)


_UNLIMITED = 2**62
"""Nothing that a cell of this benchmark still needs may be forgotten."""


def use_threads(count: int) -> None:
    """Let this process calculate with so many threads; before torch and numba are loaded."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
