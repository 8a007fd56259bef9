"""`CallbackSet`, what callbacks hand Lightning, and a callback from a notebook's cell in a run composed from YAML."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import lightning
import pytest
from lightning.pytorch.loggers import CSVLogger
from toy_pipeline import TOY, register_toys

import instax3d
from instax3d.config import RunConfig, load_config
from instax3d.errors import BrokenPluginError, ConfigError
from instax3d.interfaces import Callback, Loss
from instax3d.plugin import LossConfig, PluginConfig
from instax3d.registry import registry
from instax3d.stages.callbacks import CallbackSet, trainer_options
from instax3d.stages.fingerprint import stage_keys
from instax3d.stages.pipeline import create
from instax3d.testing import toy_run

SUPPORT = Path(__file__).resolve().parents[2] / "support"


class Recorder(Callback[PluginConfig]):
    """Keeps what it is told; fails at one event."""

    def __init__(self, fails_at: int | None = None, error: BaseException | None = None):
        super().__init__(PluginConfig())
        self.heard: list[object] = []
        self.closed = 0
        self.fails_at, self.error = fails_at, error or OSError("disk full")

    def hear(self, event):
        self.heard.append(event)
        if len(self.heard) - 1 == self.fails_at:
            raise self.error

    on_run_start = on_stage = on_step = on_checkpoint = on_result = hear

    def close(self):
        self.closed += 1
        if self.fails_at is not None:
            raise self.error


def test_all_callbacks_hear_all_events_in_order():
    first, second, notes = Recorder(), Recorder(), []
    watching, events = CallbackSet({"first": first, "second": second}, notes.append), list(toy_run())
    for event in events:
        watching.tell(event)
    watching.close()
    watching.close()
    assert first.heard == events == second.heard
    assert (first.closed, second.closed) == (1, 1)
    assert notes == []


def test_one_that_fails_is_reported_once_and_closed_and_the_others_hear_all():
    sound, failing, notes = Recorder(), Recorder(fails_at=3), []
    watching, events = CallbackSet({"callbacks.failing": failing, "sound": sound}, notes.append), list(toy_run())
    for event in events:
        watching.tell(event)
    watching.close()
    assert notes == [
        "callbacks.failing failed in on_stage (OSError: disk full) and is told nothing more; the run goes on"
    ]
    assert failing.heard == events[:4]
    assert failing.closed == 1
    assert sound.heard == events


def test_nobody_listens_when_the_last_has_failed():
    watching = CallbackSet({"failing": Recorder(fails_at=0)}, lambda note: None)
    assert watching
    watching.tell(next(toy_run()))
    assert not watching


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_shall_end_the_program_is_not_held_up(error):
    notes = []
    watching = CallbackSet({"interrupts": Recorder(0, error)}, notes.append)
    with pytest.raises(type(error)):
        watching.tell(next(toy_run()))
    assert notes == []


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry(), "entries", list(registry().entries))
    register_toys()


def config(*overrides: str) -> RunConfig:
    return load_config(preset="draft", overrides=[*TOY, *overrides], source="photo")


class Beats(lightning.Callback):
    """Counts the calls of the module, and fails in one."""

    def __init__(self, fails_at: int | None) -> None:
        self.count, self.fails_at = 0, fails_at

    def on_train_batch_end(self, *_):
        self.count += 1
        if self.count == self.fails_at:
            raise ValueError("out of step")


class BeatsConfig(PluginConfig):
    folder: str = ""
    fails_at: int | None = None


class HandsOver(Callback[BeatsConfig]):
    """Hands Lightning a callback and a logger."""

    made: ClassVar[list[Beats]] = []

    def lightning(self):
        self.made.append(Beats(self.config.fails_at))
        return [self.made[-1], CSVLogger(self.config.folder, name="toy")]


def register_beats() -> None:
    HandsOver.made.clear()
    instax3d.register(HandsOver, name="beats", config=BeatsConfig, provides=["lightning"])


def test_the_usual_run_needs_no_options():
    assert trainer_options(config(), CallbackSet({"plain": Recorder()}, print)) == {}
    assert trainer_options(config("trainer.detect_anomaly=true"), CallbackSet({}, print)) == {"detect_anomaly": True}


def test_lightning_gets_callbacks_and_loggers(photo, tmp_path):
    register_beats()
    create(photo, config=config(f"callbacks=[{{plugin: beats, folder: {tmp_path}}}]"))
    assert [each.count for each in HandsOver.made] == [3], "30 steps, ten in a call"
    (table,) = (tmp_path / "toy").glob("*/metrics.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["step"] for row in rows] == ["9", "19", "29"], "steps of the optimization, not calls"
    assert 0 < float(rows[-1]["loss/photometric"]) < float(rows[0]["loss/photometric"])


def test_what_is_handed_to_lightning_is_part_of_the_run(photo, tmp_path):
    register_beats()
    with pytest.raises(ValueError, match="out of step"):
        create(photo, config=config(f"callbacks=[{{plugin: beats, folder: {tmp_path}, fails_at: 2}}]"))


@pytest.mark.parametrize("things", [[None], 3])
def test_what_lightning_does_not_know_is_refused(things):
    class Wrong(Callback[PluginConfig]):
        def lightning(self):
            if isinstance(things, int):
                raise OSError("no network")
            return things

    with pytest.raises(BrokenPluginError, match=r"callbacks\.wrong.*(not None|no network)"):
        trainer_options(config(), CallbackSet({"callbacks.wrong": Wrong(PluginConfig())}, print))


def test_handing_over_is_declared():
    with pytest.raises(BrokenPluginError, match="declare 'lightning' there if, and only if"):
        instax3d.register(HandsOver, name="beats", config=BeatsConfig)
    with pytest.raises(BrokenPluginError, match="declare 'lightning' there if, and only if"):
        instax3d.register(Recorder, name="recorder", provides=["lightning"])


def test_what_may_change_the_construction_counts_in_its_key_alone():
    register_beats()
    instax3d.register(Recorder, name="recorder")

    def keys(*overrides: str) -> dict[str, str]:
        return stage_keys(config(*overrides), "cpu", "source")

    plain = keys()
    assert keys("callbacks=[recorder]") == plain
    for option in ("callbacks=[beats]", "trainer.detect_anomaly=true"):
        changed = keys(option)
        assert {name for name in plain if changed[name] != plain[name]} == {"construct"}, option
    assert keys("callbacks=[{plugin: beats, folder: a}]") != keys("callbacks=[{plugin: beats, folder: b}]")


class Nan(Loss[LossConfig]):
    """Its gradient is not a number."""

    def __call__(self, step):
        return {"nan": (step.render.image.sum() * 0).sqrt()}


def test_the_operation_whose_gradient_is_not_a_number_is_found(photo):
    instax3d.register(Nan, name="nan", config=LossConfig)
    seen = pytest.warns(UserWarning, match=r"Error detected in MulBackward0(.|\n)*in __call__")
    with pytest.raises(RuntimeError, match=r"MulBackward0.*nan"), seen:
        create(photo, config=config("losses=[photometric, nan]", "trainer.detect_anomaly=true"))


def test_there_is_no_precision_to_choose():
    with pytest.raises(ConfigError, match=r"trainer\.precision: no such option; there are: detect_anomaly"):
        config("trainer.precision=bf16-mixed")


CELL = '''
import instax3d

class GrowthConfig(instax3d.PluginConfig):
    every: int = 10

@instax3d.register(name="growth", config=GrowthConfig)
class Growth(instax3d.Callback[GrowthConfig]):
    """Prints how the number of Gaussians and the loss develop."""

    def on_step(self, event):
        if event.step % self.config.every == 0:
            print(f"step {event.step}: {event.gaussians} Gaussians, loss {event.loss:.4f}")

    def on_result(self, result):
        print("finished with", len(result.context.gaussians))
'''
"""As in a notebook: no file defines the class."""

RUN = '''
import os
import signal
import sys
from pathlib import Path

from toy_pipeline import register_toys

from instax3d.stages import training
from instax3d.stages.cache import StageCache

photo, config, cache, kill = sys.argv[1:]
register_toys()
training._CHECKPOINT_SECONDS = 0.0

@instax3d.register(name="killer")
class Killer(instax3d.Callback):
    """Pulls the plug after 20 steps."""

    def on_step(self, event):
        if kill == "kill" and event.step == 20:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)

made = instax3d.create(photo, preset="draft", config=config, cache=StageCache(Path(cache)), resume=kill != "kill")
if kill != "kill":
    whole = instax3d.create(photo, preset="draft", config=config, overrides=["callbacks=[]"])
    for part in ("means", "quats", "scales", "opacities", "sh"):
        assert (getattr(made.gaussians, part) == getattr(whole.gaussians, part)).all(), part
'''

YAML = """
view_generator: toy_views
mesh_prior: toy_prior
representation: toy_blobs
densifier: toy_idle
renderer: toy_dense
metrics: []
training: {{iterations: 30}}
callbacks:
  - {{plugin: growth, every: 5}}
  - {{plugin: jsonl, file: {file}, every: 1}}
  - killer
"""


def test_a_callback_in_a_cell_composed_from_yaml_watches_a_run_that_is_killed_and_resumed(photo, tmp_path):
    file, mine = tmp_path / "events.jsonl", tmp_path / "mine.yaml"
    mine.write_text(YAML.format(file=file))

    def run(kill: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-", str(photo), str(mine), str(tmp_path / "cache"), kill]
        path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(arguments, input=CELL + RUN, capture_output=True, text=True, timeout=300, env=environment)

    killed = run("kill")
    assert killed.returncode == -9, killed.stderr
    assert [line.partition(":")[0] for line in killed.stdout.splitlines()] == [f"step {k}" for k in (0, 5, 10, 15, 20)]
    resumed = run("resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [line.partition(":")[0] for line in resumed.stdout.splitlines()] == [
        "step 20",
        "step 25",
        "finished with 86",
    ]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    first, second = dict.fromkeys(line["run"] for line in lines)
    steps = [(line["run"], line["step"]) for line in lines if line["event"] == "step"]
    # the killer is asked after the recorder
    assert steps == [*((first, step) for step in range(21)), *((second, step) for step in range(20, 30))]
    assert lines[-1]["event"] == "result"
    assert lines[-1]["manifest"]["gaussians"] == 86
