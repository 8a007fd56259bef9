"""A command's display on the terminal: progress, the packages' log messages, and Ctrl-C that is never lost.

For commands, also those of plugins::

    with terminal(quiet=quiet) as display:
        ...
"""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .progress import Progress, for_terminal


class _Interrupt:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.requested = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        raise KeyboardInterrupt

    def check(self) -> None:
        if self.requested:
            raise KeyboardInterrupt


class Interruptible(Progress):
    """Forwards everything to another display, and ends the run if an interrupt was requested and got lost."""

    def __init__(self, display: Progress, interrupt: _Interrupt) -> None:
        self._display = display
        self._interrupt = interrupt

    def note(self, message: str) -> None:
        self._interrupt.check()
        self._display.note(message)

    def start(self, stage: str, total: int | None) -> None:
        self._interrupt.check()
        self._display.start(stage, total)

    def step(self, done: int, *, psnr: float | None = None, gaussians: int | None = None) -> None:
        self._interrupt.check()
        self._display.step(done, psnr=psnr, gaussians=gaussians)

    def count(self, done: int, total: int, what: str) -> None:
        self._interrupt.check()
        self._display.count(done, total, what)

    def finish(self, stage: str, seconds: float) -> None:
        self._interrupt.check()
        self._display.finish(stage, seconds)

    def reuse(self, stage: str, seconds: float) -> None:
        self._interrupt.check()
        self._display.reuse(stage, seconds)

    def close(self) -> None:
        self._display.close()


@contextmanager
def interruptible(display: Progress) -> Iterator[Progress]:
    """A display under which Ctrl-C ends the run, at the next step or stage at the latest; closed in the end.

    Python prints and forgets an interrupt that arrives within a callback from compiled code, such as numba's compiler.
    """
    interrupt = _Interrupt()
    before = signal.signal(signal.SIGINT, interrupt.on_signal)
    try:
        yield Interruptible(display, interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
        display.close()


class _Notes(logging.Handler):
    def __init__(self, display: Progress) -> None:
        super().__init__(logging.INFO)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.note(record.getMessage())


@contextmanager
def logged_to(display: Progress) -> Iterator[None]:
    """Within this, messages logged under ``instax3d`` at level INFO or above become notes."""
    logger, handler = logging.getLogger("instax3d"), _Notes(display)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """After Ctrl-C, say that finished results are kept and how to resume; exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; finished results are kept, and {how}", file=sys.stderr)
        sys.exit(130)


@contextmanager
def terminal(*, quiet: bool = False) -> Iterator[Progress]:
    """Progress on the terminal, with log messages as notes; Ctrl-C ends the run. ``quiet`` shows notes alone."""
    with interruptible(for_terminal(quiet=quiet)) as display, logged_to(display):
        yield display
