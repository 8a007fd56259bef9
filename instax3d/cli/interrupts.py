"""Ctrl-C that is never lost."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from instax3d.io.progress import Progress


class _Asked:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.yes = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        self.yes = True
        raise KeyboardInterrupt

    def check(self) -> None:
        if self.yes:
            raise KeyboardInterrupt


class Interruptible(Progress):
    """Passes everything on to another display, and ends the run if an interrupt was asked for and got lost."""

    def __init__(self, display: Progress, asked: _Asked) -> None:
        self._display = display
        self._asked = asked

    def note(self, message: str) -> None:
        self._asked.check()
        self._display.note(message)

    def start(self, stage: str, total: int | None) -> None:
        self._asked.check()
        self._display.start(stage, total)

    def step(self, done: int, *, psnr: float | None = None, gaussians: int | None = None) -> None:
        self._asked.check()
        self._display.step(done, psnr=psnr, gaussians=gaussians)

    def count(self, done: int, total: int, what: str) -> None:
        self._asked.check()
        self._display.count(done, total, what)

    def finish(self, stage: str, seconds: float) -> None:
        self._asked.check()
        self._display.finish(stage, seconds)

    def reuse(self, stage: str, seconds: float) -> None:
        self._asked.check()
        self._display.reuse(stage, seconds)

    def close(self) -> None:
        self._display.close()


@contextmanager
def interruptible(display: Progress) -> Iterator[Progress]:
    """A display under which Ctrl-C ends the run, at the next step or stage at the latest; closed in the end.

    An interrupt that arrives within a callback from compiled code (numba while it compiles, for one) is printed and
    forgotten by Python.
    """
    asked = _Asked()
    before = signal.signal(signal.SIGINT, asked.on_signal)
    try:
        yield Interruptible(display, asked)
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
