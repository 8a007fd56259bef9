"""Tells the chosen callbacks what happens in a run."""

from collections.abc import Callable, Mapping
from typing import Any

from instax3d.interfaces import Callback
from instax3d.types import CheckpointEvent, RunResult, RunStart, StageEvent, StepEvent


class CallbackSet:
    """All callbacks of a run. One that fails is reported once and told nothing more; the run goes on."""

    def __init__(self, callbacks: Mapping[str, Callback[Any]], note: Callable[[str], None]) -> None:
        """Watch a run.

        Args:
            callbacks: by the key that the user knows them by, such as ``callbacks.tensorboard``.
            note: shows a sentence to the user.
        """
        self._callbacks = dict(callbacks)
        self._note = note

    def __bool__(self) -> bool:
        """Whether anybody still listens: events need not be made for nobody."""
        return bool(self._callbacks)

    def on_run_start(self, run: RunStart) -> None:
        """See `Callback.on_run_start`."""
        self._tell("on_run_start", run)

    def on_stage(self, event: StageEvent) -> None:
        """See `Callback.on_stage`."""
        self._tell("on_stage", event)

    def on_step(self, event: StepEvent) -> None:
        """See `Callback.on_step`."""
        self._tell("on_step", event)

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """See `Callback.on_checkpoint`."""
        self._tell("on_checkpoint", event)

    def on_result(self, result: RunResult) -> None:
        """See `Callback.on_result`."""
        self._tell("on_result", result)

    def close(self) -> None:
        """See `Callback.close`; nothing more is told after it."""
        self._tell("close")
        self._callbacks = {}

    def _tell(self, hook: str, *events: Any) -> None:
        for key, callback in list(self._callbacks.items()):
            try:
                getattr(callback, hook)(*events)
            except Exception as error:
                del self._callbacks[key]
                self._note(
                    f"{key} failed in {hook} ({type(error).__name__}: {error}) and is told nothing more; the run goes on"
                )
