"""What both recorders do: they look at every step, and record some of them."""

import abc
from collections import Counter
from typing import TypeVar

from instax3d.interfaces import Callback
from instax3d.types import StepEvent

from .config import RecorderConfig

R = TypeVar("R", bound=RecorderConfig, covariant=True)


class Interval:
    """What happened in the steps since the last record."""

    def __init__(self) -> None:
        self.psnr: float | None = None
        """The last that was measured."""
        self.born = 0
        self.died = 0
        self.reasons: Counter[str] = Counter()

    def add(self, event: StepEvent) -> None:
        """Count a step."""
        self.psnr = self.psnr if event.psnr is None else event.psnr
        self.born += event.report.born
        self.died += event.report.died
        self.reasons.update(event.report.reasons)


class StepRecorder(Callback[R]):
    """Calls `record` every so many steps, and for the last."""

    def __init__(self, config: R) -> None:
        super().__init__(config)
        self._interval = Interval()

    def on_step(self, event: StepEvent) -> None:
        """Count the step, and record it if it is its turn."""
        self._interval.add(event)
        if due(event, self.config.every):
            self.record(event, self._interval)
            self._interval = Interval()

    @abc.abstractmethod
    def record(self, event: StepEvent, since: Interval) -> None:
        """Write down a step, and what happened since the last that was written down."""


def due(event: StepEvent, every: int) -> bool:
    """Whether a step is the first of every so many, or the last of all."""
    return event.step % every == 0 or event.step + 1 == event.total_steps
