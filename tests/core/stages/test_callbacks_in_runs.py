"""Callbacks are told what a run does, and change nothing of it."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_pipeline import TOY, register_toys

import instax3d
from instax3d.config import RunConfig, load_config
from instax3d.errors import PhotoError
from instax3d.interfaces import Callback
from instax3d.io.progress import Silent
from instax3d.plugin import PluginConfig
from instax3d.registry import registry
from instax3d.stages import training
from instax3d.stages.cache import StageCache
from instax3d.stages.fingerprint import stage_keys
from instax3d.stages.pipeline import create, fit
from instax3d.types import CheckpointEvent, RunResult, RunStart, StageEvent, StepEvent

HEARD: list[object] = []
"""What `Recorder` was told in this test."""


class RecorderConfig(PluginConfig):
    fails_in: str = ""
    """A hook that raises."""


class Recorder(Callback[RecorderConfig]):
    """Keeps all events, and draws random numbers at each."""

    def on_run_start(self, run: RunStart) -> None:
        self.hear("on_run_start", run)

    def on_stage(self, event: StageEvent) -> None:
        self.hear("on_stage", event)

    def on_step(self, event: StepEvent) -> None:
        self.hear("on_step", event)

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        self.hear("on_checkpoint", event)

    def on_result(self, result: RunResult) -> None:
        self.hear("on_result", result)

    def close(self) -> None:
        self.hear("close", "closed")

    def hear(self, hook: str, event: object) -> None:
        torch.rand(3), np.random.rand(3), random.random()
        if hook == self.config.fails_in:
            raise OSError("disk full")
        HEARD.append(event)


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry(), "entries", list(registry().entries))
    register_toys()
    instax3d.register(Recorder, name="recorder", config=RecorderConfig)
    HEARD.clear()


def config(*overrides: str) -> RunConfig:
    return load_config(preset="draft", overrides=[*TOY, "callbacks=[recorder]", *overrides], source="photo")


def stages() -> list[tuple[str, str]]:
    return [(event.stage, event.status) for event in HEARD if isinstance(event, StageEvent)]


def both(*names: str) -> list[tuple[str, str]]:
    return [(name, status) for name in names for status in ("started", "done")]


def test_a_run_is_told_from_its_start_to_its_result(photo, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    cache = StageCache(tmp_path)
    configured = config("stages=[shrink]")
    made = create(photo, config=configured, cache=cache)
    start, result = HEARD[0], HEARD[-2]
    assert isinstance(start, RunStart)
    assert (start.name, start.source, start.device) == (photo.name, "photo", "cpu")
    assert start.config == configured.to_dict()
    assert start.stages == ("photo", "views", "prior", "stages.shrink", "construct", "evaluate")
    assert stages() == both(*start.stages)
    seconds = {
        event.stage: event.seconds for event in HEARD if isinstance(event, StageEvent) and event.status == "done"
    }
    assert seconds == {name: value for name, value in made.manifest["seconds"].items() if name != "total"}
    steps = [event for event in HEARD if isinstance(event, StepEvent)]
    assert [event.step for event in steps] == list(range(30))
    assert [event.step for event in HEARD if isinstance(event, CheckpointEvent)] == [10, 20, 30]
    assert HEARD.index(StageEvent("construct", "started")) < HEARD.index(steps[0])
    assert isinstance(result, RunResult)
    assert result.manifest == made.manifest
    assert torch.equal(result.context.gaussians.means, made.gaussians.means)
    assert HEARD[-1] == "closed"


def test_reused_stages_are_told_with_the_seconds_that_they_once_took(photo, tmp_path):
    cache = StageCache(tmp_path)
    made = create(photo, config=config(), cache=cache)
    HEARD.clear()
    again = create(photo, config=config("callbacks=[]"), cache=cache)
    assert HEARD == []
    again = create(photo, config=config(), cache=cache)
    reused = [event for event in HEARD if isinstance(event, StageEvent) and event.status == "reused"]
    assert {event.stage: event.seconds for event in reused} == again.manifest["reused"]
    assert again.manifest["reused"] == {
        name: made.manifest["seconds"][name] for name in ("views", "prior", "construct")
    }
    assert not [event for event in HEARD if isinstance(event, StepEvent)]


def test_callbacks_change_no_bit_and_no_key(photo):
    watched, alone = create(photo, config=config()), create(photo, config=config("callbacks=[]"))
    for part in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.equal(getattr(watched.gaussians, part), getattr(alone.gaussians, part)), part
    assert watched.manifest["losses"] == alone.manifest["losses"]
    assert stage_keys(config(), "cpu", "source") == stage_keys(config("callbacks=[]"), "cpu", "source")


@pytest.mark.parametrize("hook", ["on_run_start", "on_stage", "on_step", "on_result", "close"])
def test_a_callback_that_fails_is_reported_once_and_the_run_goes_on(photo, hook):
    notes: list[str] = []

    class Notes(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    failing = f"callbacks=[recorder, {{plugin: recorder, fails_in: {hook}}}]"
    made = create(photo, config=config(failing), progress=Notes())
    said = [note for note in notes if "failed in" in note]
    assert said == [
        f"callbacks.recorder#2 failed in {hook} (OSError: disk full) and is told nothing more; the run goes on"
    ]
    assert (said[0] in made.manifest["notes"]) == (hook not in ("on_result", "close"))
    assert HEARD[-1] == "closed", "the other one hears all"


def test_callbacks_are_closed_after_an_error_and_after_ctrl_c(photo, tmp_path):
    class Interrupts(Silent):
        def step(self, done: int, **shown: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create(photo, config=config(), progress=Interrupts())
    assert stages()[-1] == ("construct", "started")
    assert HEARD.count("closed") == 1
    assert HEARD[-1] == "closed"
    HEARD.clear()
    blank = tmp_path / "blank.png"
    Image.new("RGB", (400, 400), "white").save(blank)
    with pytest.raises(PhotoError):
        create(blank, config=config())
    assert HEARD == ["closed"], "nothing starts with a photo that will not do"


def test_a_fit_is_told_too(photo: Path):
    fit(photo, config("stages=[dim]"))
    assert HEARD[0].stages == ("photo", "views", "prior")
    assert stages() == both("photo", "views", "prior")
    assert HEARD[-1] == "closed"
