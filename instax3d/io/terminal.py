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

from .progress import Forwarding, Progress, for_terminal


class Interruptible(Forwarding):
    """Passes every report on to another display, and ends the run if an interrupt was requested and lost."""

    def __init__(self, display: Progress) -> None:
        super().__init__(display)
        self._requested = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        raise KeyboardInterrupt

    def before_report(self) -> None:
        if self._requested:
            raise KeyboardInterrupt


@contextmanager
def interruptible(display: Progress) -> Iterator[Progress]:
    """A display under which Ctrl-C ends the run, at the next step or stage at the latest; closed in the end.

    Python prints and forgets an interrupt that arrives within a callback from compiled code, such as numba's compiler.
    """
    outer = Interruptible(display)
    before = signal.signal(signal.SIGINT, outer.on_signal)
    try:
        yield outer
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
