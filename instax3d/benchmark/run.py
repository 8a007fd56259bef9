"""Executes a plan with an engine, keeps failures, and reports the progress."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .engine import Engine
from .grid import Grid, Subject, digest_of
from .plan import Cell, Plan
from .schedule import Schedule
from .store import Store
from .work import Job, Outcome


@dataclass(frozen=True, slots=True)
class PlanProgress:
    """How far a benchmark is."""

    total: int
    done: int
    failed: int
    skipped: int
    """Cells that turned out impossible only on the machine that was to compute them."""
    seconds: float
    """Since this run started."""
    computed: int
    """Cells that this run computed."""

    @property
    def ended(self) -> int:
        """Cells that are done, failed or skipped."""
        return self.done + self.failed + self.skipped

    @property
    def remaining_seconds(self) -> float | None:
        """What the other cells will take at the speed so far; None before the first cell."""
        return self.seconds / self.computed * (self.total - self.ended) if self.computed else None


OnChange = Callable[[PlanProgress, Cell | None, Outcome | None], None]
"""Called when the run starts, and after each cell with its outcome."""


def run_plan(
    grid: Grid,
    plan: Plan,
    store: Store,
    engine: Engine,
    *,
    retry_failed: bool = False,
    on_change: OnChange = lambda progress, cell, outcome: None,
) -> PlanProgress:
    """Compute all cells of the plan whose results are not there yet.

    Args:
        retry_failed: also those that failed in an earlier run.
        on_change: see `OnChange`.

    Raises:
        PortraitError: the store cannot be written.
    """
    store.create()
    done, failed = store.done(), store.failed()
    if retry_failed:
        for identity in failed:
            store.forget_failure(identity)
        failed = set()
    cells = {cell.id: cell for cell in plan.cells}
    counts = {"done": len(done & cells.keys()), "failed": len(failed & cells.keys()), "skipped": 0}
    earlier, since = sum(counts.values()), time.perf_counter()

    def progress() -> PlanProgress:
        computed = sum(counts.values()) - earlier
        return PlanProgress(len(cells), **counts, seconds=time.perf_counter() - since, computed=computed)

    schedule = Schedule(cell for cell in plan.cells if cell.id not in done | failed)
    jobs = _Jobs.of(grid, plan, store)
    on_change(progress(), None, None)
    running = 0
    while schedule or running:
        # One job more than workers, so that none waits for this process.
        while schedule and running <= engine.workers:
            cell, prepares_only = schedule.next(prepare_first=schedule.ready < engine.workers)
            engine.submit(jobs.preparing(cell) if prepares_only else jobs.computing(cell))
            running += 1
        for job, outcome in engine.as_completed():
            running -= 1
            if job.prepares_only:
                schedule.prepared(job.id)
                continue
            if outcome.status != "done":
                store.fail(job.id, _failure(job, outcome))
            counts[outcome.status] += 1
            on_change(progress(), cells[job.id], outcome)
    return progress()


@dataclass(frozen=True)
class _Jobs:
    """Makes jobs of cells."""

    axes: tuple[str, ...]
    preset: str | None
    config: str | None
    """URI of the file that the grid extends."""
    sources: Mapping[Subject, str]
    """URI of each subject."""
    store: Store

    @classmethod
    def of(cls, grid: Grid, plan: Plan, store: Store) -> "_Jobs":
        subjects = {cell.subject for cell in plan.cells}
        sources = {subject: store.source(subject.path, subject.digest) for subject in subjects}
        config = None if grid.config is None else store.source(grid.config, digest_of(grid.config))
        return cls(plan.axes, grid.preset, config, sources, store)

    def computing(self, cell: Cell) -> Job:
        """The whole cell."""
        return self._job(cell, cell.id, self.store.cell(cell.id), self.store.done_marker(cell.id))

    def preparing(self, cell: Cell) -> Job:
        """Only the stages that it shares with other cells."""
        return self._job(cell, cell.shared, None, None)

    def _job(self, cell: Cell, identity: str, output: str | None, done_marker: str | None) -> Job:
        return Job(
            id=identity,
            source=self.sources[cell.subject],
            overrides=cell.overrides,
            preset=self.preset,
            config=self.config,
            output=output,
            done_marker=done_marker,
            stages=self.store.stages,
            skip_existing=True,
            labels={"subject": cell.subject.label, **dict(zip(self.axes, cell.labels, strict=True))},
        )


def _failure(job: Job, outcome: Outcome) -> dict[str, object]:
    """What the store keeps of a cell that failed."""
    return {
        **job.labels,
        "status": outcome.status,
        "error": outcome.error,
        "trace": outcome.trace,
        "overrides": list(job.overrides),
    }
