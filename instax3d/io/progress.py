"""What a user sees while a portrait is made: stages, speed and PSNR, live or as plain lines."""

import abc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

_CURRENT: ContextVar["Progress | None"] = ContextVar("instax3d_progress", default=None)
"""The display of the stage that runs in this context."""


def count(done: int, total: int, what: str) -> None:
    """Report to the display of the current stage, if there is one, that so many of its parts are done.

    For plugins that take long: ``count(3, 50, "denoising steps")``. It is also where a run that the user wants to end
    is ended, with KeyboardInterrupt.
    """
    display = _CURRENT.get()
    if display is not None:
        display.count(done, total, what)


class Progress(abc.ABC):
    """A display that the pipeline reports to."""

    @abc.abstractmethod
    def note(self, message: str) -> None:
        """Something that the user should know."""

    @abc.abstractmethod
    def start(self, stage: str, total: int | None) -> None:
        """A stage starts, of ``total`` steps where it counts them."""

    @abc.abstractmethod
    def step(
        self, done: int, *, psnr: float | None = None, gaussians: int | None = None, born: int = 0, died: int = 0
    ) -> None:
        """So many steps of the current stage are done, in which so many Gaussians were born and died."""

    def count(self, done: int, total: int, what: str) -> None:  # noqa: B027 - a display may leave it out
        """So many parts of the current stage are done; another ``what`` starts another count."""

    @abc.abstractmethod
    def finish(self, stage: str, seconds: float) -> None:
        """The stage is over."""

    @abc.abstractmethod
    def reuse(self, stage: str, seconds: float) -> None:
        """The stage is skipped, as its result is there from an earlier run, where it took so many seconds."""

    @abc.abstractmethod
    def close(self) -> None:
        """Nothing more will come; also called after an error."""


class Silent(Progress):
    """For use as a library."""

    def note(self, message: str) -> None: ...

    def start(self, stage: str, total: int | None) -> None: ...

    def step(
        self, done: int, *, psnr: float | None = None, gaussians: int | None = None, born: int = 0, died: int = 0
    ) -> None: ...

    def finish(self, stage: str, seconds: float) -> None: ...

    def reuse(self, stage: str, seconds: float) -> None: ...

    def close(self) -> None: ...


class Forwarding(Progress):
    """Passes every report on to another display; a child adds what is done before each."""

    def __init__(self, display: Progress) -> None:
        self._display = display

    @abc.abstractmethod
    def before_report(self) -> None:
        """Called before each report but `close`, which must always come through."""

    def note(self, message: str) -> None:
        self.before_report()
        self._display.note(message)

    def start(self, stage: str, total: int | None) -> None:
        self.before_report()
        self._display.start(stage, total)

    def step(
        self, done: int, *, psnr: float | None = None, gaussians: int | None = None, born: int = 0, died: int = 0
    ) -> None:
        self.before_report()
        self._display.step(done, psnr=psnr, gaussians=gaussians, born=born, died=died)

    def count(self, done: int, total: int, what: str) -> None:
        self.before_report()
        self._display.count(done, total, what)

    def finish(self, stage: str, seconds: float) -> None:
        self.before_report()
        self._display.finish(stage, seconds)

    def reuse(self, stage: str, seconds: float) -> None:
        self.before_report()
        self._display.reuse(stage, seconds)

    def close(self) -> None:
        self._display.close()


class PlainLines(Progress):
    """One line per stage, and one per fifth of a counted stage: for logs, pipes and ``--quiet``."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self._total: int | None = None
        self._what = ""
        self._printed_fifths = 0
        self._since = 0.0

    def note(self, message: str) -> None:
        self._print(f"note: {message}")

    def start(self, stage: str, total: int | None) -> None:
        self._total, self._what, self._printed_fifths, self._since = total, "", 0, time.perf_counter()

    def step(
        self, done: int, *, psnr: float | None = None, gaussians: int | None = None, born: int = 0, died: int = 0
    ) -> None:
        if self.quiet or not self._total or psnr is None:
            return
        if self._new_fifth(done, self._total):
            speed = done / max(time.perf_counter() - self._since, 1e-9)
            count = f"{gaussians} Gaussians{_change(born, died)}"
            self._print(f"  {done}/{self._total} steps, {speed:.0f} a second, {count}, PSNR {psnr:.1f} dB")

    def count(self, done: int, total: int, what: str) -> None:
        if what != self._what:
            self._what, self._printed_fifths, self._since = what, 0, time.perf_counter()
        if not self.quiet and total and self._new_fifth(done, total):
            spent = time.perf_counter() - self._since
            self._print(f"  {done}/{total} {what}, {remaining(done, total, spent)}")

    def _new_fifth(self, done: int, total: int) -> bool:
        fifth = 5 * done // total
        new, self._printed_fifths = fifth > self._printed_fifths, fifth
        return new

    def finish(self, stage: str, seconds: float) -> None:
        if not self.quiet:
            self._print(f"{stage}: {seconds:.1f} s")

    def reuse(self, stage: str, seconds: float) -> None:
        if not self.quiet:
            self._print(f"{stage}: {reused(seconds)}")

    def close(self) -> None: ...

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


class Live(Progress):
    """A live display with rich, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
        )
        self._bars.start()
        self._task: TaskID | None = None
        self._what = ""
        self._since = 0.0

    def note(self, message: str) -> None:
        from rich.markup import escape

        self._bars.console.print(f"[yellow]note:[/yellow] {escape(message)}")

    def start(self, stage: str, total: int | None) -> None:
        self._since = time.perf_counter()
        self._task = self._bars.add_task(stage, total=total, detail="")

    def step(
        self, done: int, *, psnr: float | None = None, gaussians: int | None = None, born: int = 0, died: int = 0
    ) -> None:
        assert self._task is not None
        self._bars.update(self._task, completed=done)
        if psnr is not None:
            speed = done / max(time.perf_counter() - self._since, 1e-9)
            count = f"{gaussians:,} Gaussians{_change(born, died)}"
            self._bars.update(self._task, detail=f"{speed:.0f} it/s  {count}  PSNR {psnr:.1f} dB")

    def count(self, done: int, total: int, what: str) -> None:
        assert self._task is not None
        if what != self._what:
            self._what, self._since = what, time.perf_counter()
        spent = time.perf_counter() - self._since
        self._bars.update(self._task, total=total, completed=done, detail=f"{what}, {remaining(done, total, spent)}")

    def finish(self, stage: str, seconds: float) -> None:
        assert self._task is not None
        self._bars.update(self._task, total=1, completed=1)

    def reuse(self, stage: str, seconds: float) -> None:
        self._bars.add_task(stage, total=1, completed=1, detail=reused(seconds))

    def close(self) -> None:
        self._bars.stop()


def remaining(done: int, total: int, seconds: float) -> str:
    """A text on the time that the rest will take at the speed of the ``seconds`` so far."""
    return f"{seconds * (total - done) / done:.0f} s left" if done else "starting"


def _change(born: int, died: int) -> str:
    """A text on how a number came about."""
    return f" (+{born} -{died})" if born or died else ""


def reused(seconds: float) -> str:
    """A text on a stage that was skipped."""
    return f"reused from an earlier run, where it took {seconds:.1f} s"


def for_terminal(*, quiet: bool) -> Progress:
    """The live display on a terminal, plain lines elsewhere, notes alone with ``quiet``."""
    if quiet or not sys.stderr.isatty():
        return PlainLines(quiet=quiet)
    return Live()


class Stages:
    """Times the stages of a run and reports them to a display."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.reused: dict[str, float] = {}
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        """Show a note and keep it for the run's manifest."""
        self.notes.append(message)
        self.progress.note(message)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        self.progress.start(name, total)
        since = time.perf_counter()
        token = _CURRENT.set(self.progress)
        try:
            yield
        finally:
            _CURRENT.reset(token)
        self.seconds[name] = round(time.perf_counter() - since, 3)
        self.progress.finish(name, self.seconds[name])

    def reuse(self, name: str, seconds: float) -> None:
        """A stage's result comes from the cache; it once took so many seconds."""
        self.reused[name] = seconds
        self.progress.reuse(name, seconds)
