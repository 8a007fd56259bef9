"""The suite of callbacks passes one that keeps its promises, and each of its tests can fail."""

import pytest

from instax3d.interfaces import Callback
from instax3d.plugin import PluginConfig
from instax3d.testing import CallbackSuite, tell, toy_run
from instax3d.types import CheckpointEvent, RunStart, StageEvent, StepEvent


class Idle(Callback[PluginConfig]):
    """Does nothing."""


class TestIdle(CallbackSuite):
    @pytest.fixture
    def plugin(self):
        return Idle(PluginConfig())


class ChangesOptions(Idle):
    def on_run_start(self, run):
        run.config["seed"] = 1


class ChangesGaussians(Idle):
    def on_step(self, event):
        event.current().opacities.mul_(0.5)


class ChangesViews(Idle):
    def on_step(self, event):
        event.views.images.sub_(0.1)


class ChangesResult(Idle):
    def on_result(self, result):
        result.context.rendered.add_(0.1)


@pytest.mark.parametrize("broken", [ChangesOptions, ChangesGaussians, ChangesViews, ChangesResult])
def test_a_callback_that_changes_what_it_is_told_is_found(broken):
    with pytest.raises(AssertionError, match="was changed"):
        CallbackSuite().test_what_it_is_told_stays_as_it_was(broken(PluginConfig()))


class ClosesOnce(Idle):
    open = True

    def close(self):
        assert self.open, "closed twice"
        self.open = False


class NeedsAStart(Idle):
    def on_run_start(self, run):
        self.name = run.name

    def on_step(self, event):
        assert self.name


class NeedsSteps(Idle):
    last = None

    def on_step(self, event):
        self.last = event

    def on_result(self, result):
        assert self.last is not None, "no step"


class NeedsAResult(Idle):
    result = None

    def on_result(self, result):
        self.result = result

    def close(self):
        assert self.result is not None, "no result"


class NeedsAPhoto(Idle):
    def on_step(self, event):
        assert event.views.photo_index is not None, "no photo"


class HandsOverTexts(Idle):
    def lightning(self):
        return ["a callback"]


SUITE = CallbackSuite()


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (ClosesOnce, SUITE.test_closing_again_does_nothing),
        (NeedsAResult, SUITE.test_a_run_may_end_at_any_time),
        (NeedsAStart, lambda plugin: SUITE.test_events_of_a_kind_may_be_missing(plugin, RunStart)),
        (NeedsSteps, lambda plugin: SUITE.test_events_of_a_kind_may_be_missing(plugin, StepEvent)),
        (NeedsAPhoto, SUITE.test_a_capture_without_a_photo_is_watched_too),
        (HandsOverTexts, SUITE.test_it_hands_lightning_callbacks_and_loggers),
    ],
)
def test_what_the_suite_asks_can_fail(broken, test):
    with pytest.raises((AssertionError, AttributeError)):
        test(broken(PluginConfig()))
    test(Idle(PluginConfig()))


def test_the_toy_run_is_in_order_and_counts_its_steps():
    events = list(toy_run(steps=3))
    assert isinstance(events[0], RunStart)
    told = [event.stage for event in events if isinstance(event, StageEvent)]
    assert tuple(dict.fromkeys(told)) == events[0].stages
    assert [event.step for event in events if isinstance(event, StepEvent)] == [0, 1, 2]
    (checkpoint,) = (event for event in events if isinstance(event, CheckpointEvent))
    assert checkpoint.step == sum(isinstance(event, StepEvent) for event in events[: events.index(checkpoint)])
    for event in events:
        tell(Idle(PluginConfig()), event)
