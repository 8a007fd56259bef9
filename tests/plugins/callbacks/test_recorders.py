"""What `tensorboard` and `jsonl` write: read back."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import instax3d
from instax3d.config import load_config
from instax3d.errors import BrokenPluginError
from instax3d.interfaces import Callback
from instax3d.registry import build
from instax3d.testing import CallbackSuite, tell, toy_run, toy_views
from instax3d.types import RunStart, StepEvent

REASON = "pip install 'instax3d[tensorboard]'"


def watch(callback: Callback, events: Any) -> None:
    for event in events:
        tell(callback, event)
    callback.close()


class TestJsonl(CallbackSuite):
    @pytest.fixture
    def plugin(self, tmp_path):
        return build(Callback, "jsonl", file=str(tmp_path / "events.jsonl"))


class TestTensorBoard(CallbackSuite):
    @pytest.fixture
    def plugin(self, tmp_path):
        pytest.importorskip("tensorboard", reason=REASON)
        return build(Callback, "tensorboard", folder=str(tmp_path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "events.jsonl"


def lines(file: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in file.read_text().splitlines()]


def jsonl(file: Path, every: int = 1) -> Callback:
    return build(Callback, "jsonl", file=str(file), every=every)


def test_every_event_is_a_line(file):
    watch(jsonl(file), toy_run(steps=3))
    found = lines(file)
    assert [line["event"] for line in found] == [
        *["run_start", "stage", "stage", "stage", "stage", "stage", "stage"],
        *["step", "step", "checkpoint", "step", "stage", "stage", "stage", "result"],
    ]
    assert len({line["run"] for line in found}) == 1
    assert found[0]["config"]["densifier"] == {"plugin": "toy", "grow": 0.5}
    assert found[0]["stages"] == ["photo", "views", "prior", "construct", "evaluate"]
    assert (found[3]["stage"], found[3]["status"], found[3]["seconds"]) == ("views", "reused", 2.0)
    first, second = [line for line in found if line["event"] == "step"][:2]
    assert (first["step"], first["loss"], first["psnr"], first["gaussians"]) == (0, 0.5, 20.0, 40)
    assert (second["step"], second["losses"], second["psnr"]) == (1, {"photometric": 0.2, "alpha": 0.05}, None)
    assert found[-1]["manifest"]["metrics"] == {"psnr": 31.5, "ssim": 0.9}


def test_between_two_lines_born_and_died_are_summed(file):
    watch(jsonl(file, every=4), toy_run(steps=10))
    steps = [line for line in lines(file) if line["event"] == "step"]
    assert [line["step"] for line in steps] == [0, 4, 8, 9]
    assert [line["born"] for line in steps] == [1, 4, 4, 1] == [line["died"] for line in steps]
    assert [line["reasons"]["cloned"] for line in steps] == [1, 4, 4, 1]


def test_a_second_run_adds_lines_of_its_own(file):
    for _ in range(2):
        watch(jsonl(file), toy_run(steps=1))
    found = lines(file)
    runs = list(dict.fromkeys(line["run"] for line in found))
    assert len(runs) == 2
    assert [line["run"] for line in found] == [run for run in runs for _ in range(len(found) // 2)]


def test_a_line_that_was_left_unfinished_stays_alone(file):
    watch(jsonl(file), toy_run(steps=1))
    whole = len(lines(file))
    with file.open("a") as stream:
        stream.write('{"run": "torn')
    watch(jsonl(file), toy_run(steps=1))
    text = file.read_text().splitlines()
    assert text[whole] == '{"run": "torn'
    assert len([json.loads(line) for line in text[whole + 1 :]]) == whole


def test_what_is_not_finite_is_null(file):
    step = next(event for event in toy_run() if isinstance(event, StepEvent))
    watch(jsonl(file), [replace(step, loss=float("nan"), losses={"photometric": float("inf")})])
    (line,) = lines(file)
    assert line["loss"] is None
    assert line["losses"] == {"photometric": None}


KILLED = """
import sys
from itertools import count
from instax3d.interfaces import Callback
from instax3d.registry import build
from instax3d.testing import tell
from instax3d.testing.events import toy_step

callback = build(Callback, "jsonl", file=sys.argv[1], every=1)
for step in count():
    tell(callback, toy_step(step, 10**9))
    if step == 20:
        print("go", flush=True)
"""


def test_a_run_that_is_killed_leaves_whole_lines(file):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(file)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert file.read_bytes().endswith(b"\n")
    assert [line["step"] for line in lines(file)][:21] == list(range(21))


def test_a_missing_package_is_said_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "instax3d_plugins.callbacks.tensorboard", raising=False)
    config = load_config(overrides=["callbacks=[tensorboard]"], source="photo")
    with pytest.raises(BrokenPluginError, match=r"pip install 'instax3d\[tensorboard\]'"):
        config.build_listed(instax3d.Callback)


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0, "scalars": 0})
    found.Reload()
    return found


def tensorboard(folder: Path, **options: Any) -> Callback:
    pytest.importorskip("tensorboard", reason=REASON)
    return build(Callback, "tensorboard", folder=str(folder), **options)


def test_curves_images_histograms_and_hyperparameters_are_written(tmp_path):
    watch(tensorboard(tmp_path, every=2, image_every=3), toy_run(steps=6))
    found = read(tmp_path / "toy" / "version_0")

    def scalars(tag: str) -> list[tuple[int, float]]:
        return [(each.step, round(each.value, 5)) for each in found.Scalars(tag)]

    assert scalars("loss/total") == [(0, 0.5), (2, 0.16667), (4, 0.1), (5, 0.08333)]
    assert scalars("loss/alpha") == [(0, 0.1), (2, 0.03333), (4, 0.02), (5, 0.01667)]
    assert scalars("psnr") == [(0, 20.0)]
    assert scalars("gaussians/count") == [(0, 40), (2, 40), (4, 40), (5, 40)]
    assert scalars("gaussians/born") == [(0, 1), (2, 2), (4, 2), (5, 1)]
    assert scalars("densification/faint") == [(0, 1), (2, 2), (4, 2), (5, 1)]
    assert scalars("seconds/prior") == [(0, 0.5)]
    assert "seconds/views" not in found.Tags()["scalars"], "it did not run"
    assert scalars("metrics/psnr") == [(0, 31.5)]
    assert [each.step for each in found.Images("target_and_render")] == [0, 3, 5]
    assert [each.step for each in found.Histograms("gaussians/opacity")] == [0, 3, 5]
    assert found.Histograms("gaussians/opacity")[0].histogram_value.num == 40
    sizes = found.Histograms("gaussians/log10_size")[0].histogram_value
    assert -3 < sizes.min <= sizes.max < -1
    (text,) = found.Tensors("config/text_summary")
    assert b"    densifier:\n      plugin: toy\n      grow: 0.5" in text.tensor_proto.string_val[0]
    assert "_hparams_/session_start_info" in found.summary_metadata


def test_the_image_is_the_photo_beside_its_render(tmp_path):
    watch(tensorboard(tmp_path), toy_run(steps=1))
    (image,) = read(tmp_path / "toy" / "version_0").Images("target_and_render")
    pixels = np.asarray(Image.open(BytesIO(image.encoded_image_string)))
    shown = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
    step = next(event for event in toy_run(steps=1) if isinstance(event, StepEvent))
    render = step.draw(step.views.cameras[0]).image[0]
    torch.testing.assert_close(shown, torch.cat([toy_views(2, 16).images[0], render], 2), atol=1 / 255, rtol=0)


def test_no_image_is_drawn_where_none_is_wanted(tmp_path):
    watch(tensorboard(tmp_path, image_every=0), toy_run())
    assert read(tmp_path / "toy" / "version_0").Tags()["images"] == []


def test_each_run_gets_a_folder_of_its_own(tmp_path):
    for _ in range(2):
        watch(tensorboard(tmp_path), toy_run(steps=1))
    runs = sorted((tmp_path / "toy").iterdir())
    assert [each.name for each in runs] == ["version_0", "version_1"]
    assert [len(list(each.glob("events.*"))) for each in runs] == [1, 1]


def test_runs_that_start_at_the_same_time_do_not_share_a_folder(tmp_path):
    callbacks = [tensorboard(tmp_path) for _ in range(8)]
    start, barrier = next(event for event in toy_run() if isinstance(event, RunStart)), Barrier(len(callbacks))

    def begin(callback: Callback) -> None:
        barrier.wait()
        callback.on_run_start(start)
        callback.close()

    threads = [Thread(target=begin, args=[callback]) for callback in callbacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(list(each.glob("events.*"))) for each in (tmp_path / "toy").iterdir()] == [1] * len(callbacks)
