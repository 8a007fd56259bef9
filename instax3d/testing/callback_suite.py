"""The conformance suite for callbacks; see `instax3d.testing.suites`."""

from typing import Any

import pytest

from instax3d.interfaces import Callback
from instax3d.stages.callbacks import Event
from instax3d.types import RunResult, RunStart, StageEvent, StepEvent

from .events import tell, toy_run
from .snapshots import same, snapshot
from .suites import Suite


class CallbackSuite(Suite):
    """Runs on `toy_run`. ``plugin`` should write, if at all, into pytest's ``tmp_path``."""

    def test_a_run_is_watched_from_beginning_to_end(self, plugin: Callback[Any]) -> None:
        for event in toy_run():
            tell(plugin, event)
        plugin.close()

    def test_what_it_is_told_stays_as_it_was(self, plugin: Callback[Any]) -> None:
        for event in toy_run():
            before = snapshot(event)
            tell(plugin, event)
            assert same(snapshot(event), before), f"{type(event).__name__} was changed"
        plugin.close()

    def test_closing_again_does_nothing(self, plugin: Callback[Any]) -> None:
        for event in toy_run(steps=1):
            tell(plugin, event)
        plugin.close()
        plugin.close()

    def test_a_run_may_end_at_any_time(self, plugin: Callback[Any]) -> None:
        events = list(toy_run())
        for count in range(len(events)):
            each = type(plugin)(plugin.config)
            for event in events[:count]:
                tell(each, event)
            each.close()

    @pytest.mark.parametrize("missing", [RunStart, StageEvent, StepEvent, RunResult])
    def test_events_of_a_kind_may_be_missing(self, plugin: Callback[Any], missing: type[Event]) -> None:
        """A construction that is found in the cache has no steps, and one that fails no result."""
        for event in toy_run():
            if not isinstance(event, missing):
                tell(plugin, event)
        plugin.close()

    def test_a_capture_without_a_photo_is_watched_too(self, plugin: Callback[Any]) -> None:
        for event in toy_run(source="capture"):
            tell(plugin, event)
        plugin.close()

    def test_it_hands_lightning_callbacks_and_loggers(self, plugin: Callback[Any]) -> None:
        from lightning import Callback as LightningCallback
        from lightning.pytorch.loggers import Logger

        assert all(isinstance(each, LightningCallback | Logger) for each in plugin.lightning())
        plugin.close()
