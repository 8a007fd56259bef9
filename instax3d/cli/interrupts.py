"""Ctrl-C that is never lost."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from instax3d.io.progress import Forwarding, Progress


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

    An interrupt that arrives within a callback from compiled code (numba while it compiles, for one) is printed and
    forgotten by Python.
    """
    outer = Interruptible(display)
    before = signal.signal(signal.SIGINT, outer.on_signal)
    try:
        yield outer
    finally:
        signal.signal(signal.SIGINT, before)
        display.close()


@contextmanager
def goes_on(how: str) -> Iterator[None]:
    """After Ctrl-C, say that what is finished stays, and how the rest is done; exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; what is finished stays, and {how}", file=sys.stderr)
        sys.exit(130)
