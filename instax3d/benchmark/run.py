"""Works a plan off with an engine, keeps failures, and says how far it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .engine import Engine
from .grid import Grid, digest_of
from .plan import Cell, Plan
from .schedule import Schedule
from .store import Store
from .work import Job, Outcome


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a benchmark is."""

    total: int
    done: int
    failed: int
    skipped: int
    """Found impossible only on the machine that was to do them."""
    seconds: float
    """Since this run began."""
    computed: int
    """Cells that this run computed."""

    @property
    def ended(self) -> int:
        """Cells of which nothing more is to be expected."""
        return self.done + self.failed + self.skipped

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take, if it goes on like this; None before the first cell."""
        return self.seconds / self.computed * (self.total - self.ended) if self.computed else None


def run_plan(
    grid: Grid,
    plan: Plan,
    store: Store,
    engine: Engine,
    *,
    retry_failed: bool = False,
    on_change: Callable[[Tally, Cell | None, Outcome | None], None] = lambda tally, cell, outcome: None,
) -> Tally:
    """Do all cells of the plan whose results are not there yet.

    Args:
        retry_failed: also those that failed in an earlier run.
        on_change: told at the beginning, and after each cell.
    """
    store.create()
    done, failed = store.done(), store.failed()
    if retry_failed:
        for identity in failed:
            store.forget_failure(identity)
        failed = set()
    wanted = {cell.id: cell for cell in plan.cells}
    sources = {subject: store.source(subject.path, subject.digest) for subject in {cell.subject for cell in plan.cells}}
    config = None if grid.config is None else store.source(grid.config, digest_of(grid.config))
    over = done | failed
    schedule = Schedule(cell for cell in plan.cells if cell.id not in over)
    since = time.perf_counter()
    counts = {"done": len(done & wanted.keys()), "failed": len(failed & wanted.keys()), "skipped": 0}
    before = sum(counts.values())

    def tally() -> Tally:
        computed = sum(counts.values()) - before
        return Tally(len(wanted), **counts, seconds=time.perf_counter() - since, computed=computed)

    on_change(tally(), None, None)
    running = 0
    while schedule or running:
        # One job more than workers, so that none waits for this process.
        while schedule and running <= engine.workers:
            cell, share = schedule.next(share_first=schedule.ready < engine.workers)
            engine.submit(
                Job(
                    id=cell.shared if share else cell.id,
                    source=sources[cell.subject],
                    overrides=cell.overrides,
                    preset=grid.preset,
                    config=config,
                    output=None if share else store.cell(cell.id),
                    mark=None if share else store.mark(cell.id),
                    stages=store.stages,
                    once=True,
                    labels={"subject": cell.subject.label, **dict(zip(plan.axes, cell.labels, strict=True))},
                )
            )
            running += 1
        for job, outcome in engine.ended():
            running -= 1
            if job.share:
                schedule.shared_made(job.id)
                continue
            cell = wanted[job.id]
            if outcome.status != "done":
                store.fail(
                    cell.id,
                    {
                        **job.labels,
                        "status": outcome.status,
                        "error": outcome.error,
                        "trace": outcome.trace,
                        "overrides": list(job.overrides),
                    },
                )
            counts[outcome.status] += 1
            on_change(tally(), cell, outcome)
    return tally()
