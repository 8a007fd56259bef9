"""Tells the chosen callbacks what happens in a run, and hands Lightning what they bring for it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from instax3d.config import RunConfig
from instax3d.errors import BrokenPluginError
from instax3d.interfaces import Callback
from instax3d.types import CheckpointEvent, RunResult, RunStart, StageEvent, StepEvent


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
