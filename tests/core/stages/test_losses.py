"""What the construction minimizes: the losses of the config, the representation's terms, the densifier's."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning
import pytest
import torch

from instax3d.config import TrainingConfig
from instax3d.errors import BrokenPluginError
from instax3d.geometry.cameras import write_transforms
from instax3d.interfaces import Loss, Renderer
from instax3d.io.images import write_png
from instax3d.plugin import LossConfig
from instax3d.registry import build
from instax3d.stages import training
from instax3d.stages.training import PortraitModule, load_checkpoint, train
from instax3d.testing import BlobGaussians, ColorLoss, DenseRenderer, IdleDensifier, toy_cameras, toy_mesh, toy_views
from instax3d.types import DensifyReport


class Given(Loss[LossConfig]):
    """Returns what it was made with, times the mean opacity over itself."""

    def __init__(self, values: dict[str, float], weight: float = 1.0) -> None:
        super().__init__(LossConfig(weight=weight))
        self.values, self.steps = values, []

    def __call__(self, step):
        self.steps.append(step)
        one = step.gaussians.opacities.mean() / step.gaussians.opacities.mean().detach()
        return {name: value * one for name, value in self.values.items()}


class Regular(BlobGaussians):
    """Has terms of its own, one of which is called as a loss may be."""

    def regularization(self):
        return {"size": self.splats["scales"].exp().mean(), "color": self.splats["sh0"].square().mean()}


class Greedy(IdleDensifier):
    """Has a loss of its own, and reports what it does."""

    def losses(self, step):
        return {"color": 0.25 * step.gaussians.opacities.mean()}

    def after_step(self, step):
        return DensifyReport(2, 2, {"split": 2, "faint": 2}) if step.step % 2 else DensifyReport()


def module(objective, iterations: int = 4, densifier=None, representation=None, **parts) -> PortraitModule:
    representation = representation or BlobGaussians()
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    composed = representation, densifier or IdleDensifier(), DenseRenderer(), objective, toy_mesh(), toy_views()
    return PortraitModule(*composed, TrainingConfig(iterations=iterations), **parts)


def test_names_do_not_collide_and_all_that_is_minimized_is_shown():
    losses = {
        "color": ColorLoss(),
        "color#2": ColorLoss(LossConfig(weight=0.5)),
        "mine": Given({"color": 1.0, "b": 2.0}, 3),
    }
    events = []
    train(module(losses, 1, Greedy(), Regular(), on_step=events.append), [0], device="cpu")
    (event,) = events
    assert list(event.losses) == [
        "color", "color#2", "mine.color", "mine.b", "size", "representation.color", "densifier.color",
    ]  # fmt: skip
    assert event.losses["color#2"] == pytest.approx(event.losses["color"] / 2)
    assert (event.losses["mine.color"], event.losses["mine.b"]) == pytest.approx((3.0, 6.0))
    assert event.loss == pytest.approx(sum(event.losses.values()), rel=1e-6)


def test_a_loss_of_weight_zero_is_not_called():
    silent = Given({"a": 1.0}, weight=0.0)
    train(module({"color": ColorLoss(), "silent": silent}, 2), [0, 1], device="cpu")
    assert silent.steps == []


def test_a_step_tells_where_the_run_is():
    seen = Given({"seen": 1.0})
    train(module({"seen": seen}), [0, 3, 1, 2], device="cpu")
    assert [(step.step, step.view_index, step.progress) for step in seen.steps] == [
        (0, 0, 0.0), (1, 3, 0.25), (2, 1, 0.5), (3, 2, 0.75),
    ]  # fmt: skip
    assert all(step.splats is seen.steps[0].splats for step in seen.steps)
    assert torch.equal(seen.steps[1].view.image, toy_views().images[3:])


@pytest.mark.parametrize("value", [torch.ones(2), 3.0])
def test_what_is_no_scalar_is_refused_by_name(value):
    class Wrong(Loss[LossConfig]):
        def __call__(self, step):
            return {"area": value}

    with pytest.raises(BrokenPluginError, match=r"wrong\.area is (a tensor of shape \[2\] on cpu|3\.0)"):
        train(module({"color": ColorLoss(), "wrong": Wrong(LossConfig())}), [0], device="cpu")


@pytest.mark.parametrize("renderer", [DenseRenderer(), build(Renderer, "cpu")], ids=["dense", "cpu"])
def test_other_cameras_can_be_drawn_in_the_same_step_with_gradients(renderer):
    """Gradients of a sum over the step's view and a drawn one are the sum of both alone."""

    class From(Loss[LossConfig]):
        def __init__(self, drawn: bool, shown: bool) -> None:
            super().__init__(LossConfig())
            self.drawn, self.shown = drawn, shown

        def __call__(self, step):
            parts = {"shown": step.render.image.mean()} if self.shown else {}
            return parts | ({"drawn": step.draw(toy_cameras(5, 40)[[2]]).image.square().mean()} if self.drawn else {})

    gradients = []
    for which in ((True, True), (True, False), (False, True)):
        made = module({"from": From(*which)})
        made.renderer = renderer
        kept = {}

        class Keep(IdleDensifier):
            def after_step(self, step, kept=kept):
                kept.update({name: value.grad.clone() for name, value in step.splats.items()})
                return DensifyReport()

        made.densifier = Keep()
        train(made, [0], device="cpu")
        gradients.append(kept)
    both, drawn, shown = gradients
    for name, gradient in both.items():
        assert float(drawn[name].abs().max()) > 0
        torch.testing.assert_close(gradient, drawn[name] + shown[name], atol=1e-6, rtol=1e-4)


def test_who_asks_hears_of_every_step_and_the_psnr_is_measured_now_and_then():
    every, some = [], []
    train(module({"color": ColorLoss()}, 14, every_step=True, on_step=every.append), [0] * 14, device="cpu")
    train(module({"color": ColorLoss()}, 14, on_step=some.append), [0] * 14, device="cpu")
    assert [event.step for event in every] == list(range(14))
    assert [event.step for event in some] == [0, 10, 13]
    assert [event.step for event in every if event.psnr is not None] == [0, 10, 13]
    assert every[10].losses == some[1].losses


def test_events_draw_what_is_there_after_the_step_without_gradients():
    drawn = []

    def look(event):
        drawn.append(event.draw(event.views.cameras[[1]]).image)
        assert torch.equal(event.current().means, made.representation.splats["means"])

    made = module({"color": ColorLoss()}, 3, every_step=True, on_step=look)
    train(made, [0, 1, 2], device="cpu")
    assert not drawn[0].requires_grad
    assert not torch.equal(drawn[0], drawn[2])


def test_what_the_densifier_did_adds_up_also_over_an_interruption():
    events = []
    made = module({"color": ColorLoss()}, 6, Greedy(), every_step=True, on_step=events.append)
    train(made, [0] * 3, device="cpu")
    assert events[-1].report == DensifyReport()
    assert events[-1].so_far == DensifyReport(2, 2, {"split": 2, "faint": 2})
    again = module({"color": ColorLoss()}, 6, Greedy())
    again.resume(made.checkpoint())
    train(again, [0] * 6, device="cpu")
    assert again.densified == DensifyReport(6, 6, {"split": 6, "faint": 6})


def test_checkpoints_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    told = []
    made, path = module({"color": ColorLoss()}, 25), tmp_path / "made.ckpt"
    train(made, [0] * 25, device="cpu", checkpoint=path, on_checkpoint=told.append)
    assert [(event.path, event.step) for event in told] == [(path, 10), (path, 20), (path, 25)]
    assert load_checkpoint(path)["objective"] == {"color": {}}


def test_lightning_takes_callbacks_and_loggers_and_logs_the_losses():
    class Hears(lightning.Callback):
        batches = 0

        def on_train_batch_end(self, *_):
            self.batches += 1

    class Keeps(lightning.pytorch.loggers.logger.DummyLogger):
        def __init__(self):
            super().__init__()
            self.logged = []

        def log_metrics(self, *args, **kwargs):
            self.logged.append(kwargs["metrics"])

        @property
        def save_dir(self):
            return None

    hears, keeps = Hears(), Keeps()
    options = {"callbacks": [hears], "logger": keeps, "log_every_n_steps": 1}
    train(module({"color": ColorLoss()}, 25), [0] * 25, device="cpu", trainer=options)
    assert hears.batches == 3
    assert len(keeps.logged) == 3
    assert 0 < keeps.logged[-1]["loss/color"] < keeps.logged[0]["loss/color"]


DOCS = Path(__file__).resolve().parents[3] / "docs" / "losses.md"
AROUND = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
"""The loss of some twenty lines that the documentation shows."""
REST = """
import sys

@instax3d.register(name="ball")
class Ball(instax3d.MeshPrior):
    def fit(self, views):
        from instax3d.testing import toy_mesh
        return toy_mesh()

@instax3d.register(name="nobody")
class Nobody(instax3d.LandmarkDetector):
    def detect(self, image):
        return []

if __name__ == "__main__":
    from instax3d.cli import main
    from instax3d.stages import training
    training._CHECKPOINT_SECONDS = 0.2
    sys.exit(main(sys.argv[1:]))
"""
CONFIG = """
extends: draft
losses: [photometric, {plugin: alpha, weight: 0.1}, {plugin: around, scale: 0.5, weight: 0.5}]
training: {iterations: 240}
representation: {points_per_face: 1, hull_points: 0}
mesh_prior: ball
landmark_detector: nobody
metrics: []
output: {turntable_frames: 2, sheet_views: 2}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A capture of the toy ball, a script with a loss of its own, and the config that lists it."""
    views = toy_views(6, 96)
    names = [f"{index}.png" for index in range(len(views))]
    (tmp_path / "ball").mkdir()
    for name, image, alpha in zip(names, views.images, views.alpha):
        write_png(tmp_path / "ball" / name, image, alpha)
    write_transforms(tmp_path / "ball" / "transforms.json", views.cameras, names)
    (tmp_path / "mine.py").write_text(AROUND + REST)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_loss_of_a_script_with_cameras_and_state_of_its_own_survives_a_kill(project: Path):
    """Of twenty lines, composed in YAML; the resumed run ends with the bits of an unbroken one."""

    def run(out: str, cache: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "mine.py", "create", "ball", "--config", "mine.yaml", "-o", out, *arguments]
        environment = {**os.environ, "INSTAX3D_CACHE": str(project / cache)}
        return subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)

    with run("broken", "cache") as broken:
        until = time.monotonic() + 300
        while (
            not list(project.glob("cache/**/construct-*.ckpt")) and broken.poll() is None and time.monotonic() < until
        ):
            time.sleep(0.02)
        broken.kill()
        said = broken.communicate()[1]
    assert broken.returncode == -signal.SIGKILL, said
    for arguments in (("resumed", "cache", "--resume"), ("unbroken", "another")):
        with run(*arguments) as process:
            said = process.communicate(timeout=300)[1]
        assert process.returncode == 0, said
        assert ("resumed after" in said) == (arguments[0] == "resumed"), said
    resumed, unbroken = ((project / name / "portrait.ply").read_bytes() for name in ("resumed", "unbroken"))
    assert resumed == unbroken
    manifests = [json.loads((project / name / "run.json").read_text()) for name in ("resumed", "unbroken")]
    assert manifests[0]["losses"] == manifests[1]["losses"]
    assert manifests[0]["losses"]["around"] > 0
    assert manifests[0]["densification"] == manifests[1]["densification"]
    assert manifests[0]["densification"]["born"] > 0
