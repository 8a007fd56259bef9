"""The progress of a benchmark: a bar on a terminal, one line per cell elsewhere."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from instax3d.benchmark.plan import Cell, Plan
    from instax3d.benchmark.run import PlanProgress
    from instax3d.benchmark.work import Outcome


class GridDisplay:
    """Called after each cell; a context manager, since a bar has to be removed at the end.

    On a terminal the bar shows how many cells are done, how many failed, and about how long the rest will take.
    """

    def __init__(self, plan: "Plan") -> None:
        several = (len({cell.labels[i] for cell in plan.cells}) > 1 for i in range(len(plan.axes)))
        self._varied = [i for i, differ in enumerate(several) if differ]
        self._bar = _Bar() if sys.stderr.isatty() else None

    def __enter__(self) -> "GridDisplay":
        if self._bar:
            self._bar.show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.take_down()

    def __call__(self, progress: "PlanProgress", cell: "Cell | None", outcome: "Outcome | None") -> None:
        """As `instax3d.benchmark.run.run_plan` calls it."""
        if self._bar:
            self._bar.update(progress)
        if cell is None or outcome is None:
            return
        name = ", ".join([cell.subject.label, *(cell.labels[i] for i in self._varied)])
        result = f"{outcome.seconds:.0f} s" if outcome.status == "done" else f"{outcome.status}: {outcome.error}"
        if self._bar:
            self._bar.say(f"{name}: {result}")
        else:
            seconds = progress.remaining_seconds
            remaining = "" if seconds is None else f", about {duration(seconds)} left"
            click.echo(f"{progress.ended}/{progress.total}  {name}: {result}{remaining}", err=True)


class _Bar:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            MofNCompleteColumn(),
            BarColumn(bar_width=40),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=None)

    def show(self) -> None:
        self._progress.start()

    def take_down(self) -> None:
        self._progress.stop()

    def update(self, progress: "PlanProgress") -> None:
        parts = [] if progress.remaining_seconds is None else [f"about {duration(progress.remaining_seconds)} left"]
        if progress.failed:
            parts.append(f"{progress.failed} failed")
        self._progress.update(
            self._task, total=progress.total, completed=progress.ended, description=", ".join(parts), refresh=True
        )

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


def duration(seconds: float) -> str:
    """Such as ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
