"""Engines execute jobs; `LocalEngine` on this machine's processors."""

import abc
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing import get_context

from instax3d.errors import ConfigError
from instax3d.io.processors import available_processors

from .work import Job, Outcome, run_job, use_threads


class Engine(abc.ABC):
    """Takes jobs and gives their outcomes, in the order in which they end.

    A context manager: its workers end with the block.
    """

    workers: int
    """Jobs that run side by side."""

    @abc.abstractmethod
    def submit(self, job: Job) -> None:
        """Let a worker execute the job as soon as one is free."""

    @abc.abstractmethod
    def as_completed(self) -> Iterator[tuple[Job, Outcome]]:
        """Wait until at least one job has ended, and give all that have. A worker's death is an outcome."""

    def __enter__(self) -> "Engine":
        return self

    @abc.abstractmethod
    def __exit__(self, *error: object) -> None:
        """End the workers; unfinished jobs are lost."""


class LocalEngine(Engine):
    """Processes on this machine; the processors are shared out evenly among them."""

    def __init__(self, workers: int | None = None, function: Callable[[Job], Outcome] = run_job) -> None:
        from pebble import ProcessPool

        processors = available_processors()
        self.workers = workers or processors
        if self.workers > processors:
            raise ConfigError(
                f"{self.workers} workers are more than the {processors} processors available here; lower --workers"
            )
        self._function = function
        self._pool = ProcessPool(
            max_workers=self.workers,
            context=get_context("spawn"),
            initializer=use_threads,
            initargs=[max(1, processors // self.workers)],
        )
        self._running: dict[Future[Outcome], Job] = {}

    def submit(self, job: Job) -> None:
        self._running[self._pool.schedule(self._function, args=(job,))] = job

    def as_completed(self) -> Iterator[tuple[Job, Outcome]]:
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            yield self._running.pop(future), _outcome(future)

    def __exit__(self, *error: object) -> None:
        self._pool.stop()
        self._pool.join()


def _outcome(future: "Future[Outcome]") -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    return Outcome("failed", 0.0, f"the worker died: {error or type(error).__name__}")
