"""Tells the chosen callbacks what happens in a run, and hands Lightning what they bring for it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from instax3d.config import RunConfig
from instax3d.errors import BrokenPluginError
from instax3d.interfaces import Callback
from instax3d.types import CheckpointEvent, RunResult, RunStart, StageEvent, StepEvent

Event = RunStart | StageEvent | StepEvent | CheckpointEvent | RunResult
"""What callbacks hear of."""

HOOKS: Mapping[type[Event], str] = {
    RunStart: "on_run_start",
    StageEvent: "on_stage",
    StepEvent: "on_step",
    CheckpointEvent: "on_checkpoint",
    RunResult: "on_result",
}
"""The method of `Callback` that hears of each."""


class CallbackSet:
    """All callbacks of a run. One that fails is reported once, closed and told nothing more; the run goes on."""

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

    def tell(self, event: Event) -> None:
        """Let every callback hear of an event."""
        self._call(HOOKS[type(event)], event)

    def lightning(self) -> dict[str, Sequence[Any]]:
        """What each callback hands Lightning, see `Callback.lightning`.

        Raises:
            BrokenPluginError: one fails; what it hands over would have been part of the construction.
        """
        things = {}
        for key, callback in self._callbacks.items():
            try:
                things[key] = callback.lightning()
            except Exception as error:
                raise BrokenPluginError(
                    f"{key} failed in lightning ({type(error).__name__}: {error}); repair it, or take it off the list"
                ) from error
        return things

    def close(self) -> None:
        """See `Callback.close`; nothing more is told after it."""
        self._call("close")
        self._callbacks = {}

    def _call(self, hook: str, *events: Any) -> None:
        for key, callback in list(self._callbacks.items()):
            try:
                getattr(callback, hook)(*events)
            except Exception as error:
                del self._callbacks[key]
                said = f"{type(error).__name__}: {error}"
                self._note(f"{key} failed in {hook} ({said}) and is told nothing more; the run goes on")
                with suppress(Exception):  # what it had until now shall not be lost; that it failed was said
                    callback.close()


def trainer_options(config: RunConfig, callbacks: CallbackSet) -> dict[str, Any]:
    """Arguments of `lightning.Trainer` by which this construction differs from the usual one; mostly none.

    The callbacks' own come as ``callbacks`` and ``logger``.

    Raises:
        BrokenPluginError: a callback fails, or hands Lightning something that is neither a callback nor a logger.
    """
    options: dict[str, Any] = {key: value for key, value in config.trainer.model_dump().items() if value}
    things = [(key, thing) for key, handed in callbacks.lightning().items() for thing in handed]
    if not things:
        return options
    from lightning import Callback as LightningCallback  # slow to import, and mostly not needed
    from lightning.pytorch.loggers import Logger

    for key, thing in things:
        if not isinstance(thing, LightningCallback | Logger):
            raise BrokenPluginError(f"{key}: lightning() must return Lightning's callbacks and loggers, not {thing!r}")
        options.setdefault("logger" if isinstance(thing, Logger) else "callbacks", []).append(thing)
    if "logger" in options:
        # Lightning counts its calls of the module, each of several steps, and by itself would log every 50th alone
        options["log_every_n_steps"] = 1
    return options
