"""The pages about plugins: their code runs as it stands there, but that portraits are planned and not made."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import instax3d
from instax3d import Callback, Densifier, Loss
from instax3d.plugin import API_VERSION
from instax3d.registry import registry
from instax3d.testing import (
    BlobGaussians,
    DenseRenderer,
    DensifierSuite,
    densify_step,
    toy_context,
    toy_mesh,
    toy_views,
)
from instax3d.types import Cameras, DensifyReport, LossStep, Render, RunResult, StepEvent, TrainingView

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("trying_a_plugin.md", "public_surface.md")


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[instax3d.RunConfig]:
    """The configurations of the portraits that the page makes; what it registers is forgotten after the test."""
    found: list[instax3d.RunConfig] = []

    def create(source: str, *, preset: str | None = None, overrides: tuple[str, ...] | list[str] = ()) -> None:
        config = instax3d.load_config(preset=preset, overrides=overrides, source="photo")
        for _, choice in config.plugins:
            choice.build()
        found.append(config)

    monkeypatch.setattr(instax3d, "create", create, raising=False)
    monkeypatch.setattr(registry(), "entries", list(registry().entries))
    return found


def run_page(page: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "a_notebook"}
    for block in blocks(page):
        exec(block, scope)
    return scope


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_the_page_runs(page, plans):
    run_page(page)
    assert len(plans) == sum(block.count("instax3d.create(") for block in blocks(page)) > 0


def test_each_kind_of_the_page_is_chosen_with_its_options(plans):
    run_page("trying_a_plugin.md")
    fade, long, growth = plans
    assert fade.build(Densifier).config.every == 50
    assert [loss.config.weight for loss in long.build_listed(Loss) if type(loss).__name__ == "Long"] == [0.5]
    assert [type(callback).__name__ for callback in growth.build_listed(Callback)] == ["Growth"]


class TestDensifierOfThePage(DensifierSuite):
    @pytest.fixture
    def plugin(self, plans):
        scope = run_page("trying_a_plugin.md")
        return scope["Fade"](scope["FadeConfig"](every=50))

    def test_it_removes_what_is_faint(self, plugin):
        representation = BlobGaussians()
        representation.initialize(toy_mesh(), toy_views(), seed=0)
        with torch.no_grad():
            representation.splats["opacities"][::3] = -5.0
        kept = representation.splats["means"][representation.splats["opacities"] > -5].clone()
        rates = representation.learning_rates()
        optimizers = {name: torch.optim.Adam([representation.splats[name]], lr=rate) for name, rate in rates.items()}
        step = densify_step(representation, optimizers, 49, 100)
        before = len(step.gaussians)
        with torch.no_grad():
            assert plugin.after_step(densify_step(representation, optimizers, 48, 100)) == DensifyReport()
            assert plugin.after_step(step).died == before - len(kept) > 0
        assert torch.equal(representation.splats["means"], kept)


def test_the_loss_of_the_page_makes_gaussians_shorter(plans):
    scope = run_page("trying_a_plugin.md")
    loss = scope["Long"](scope["LongConfig"](length=0.01))
    representation, views = BlobGaussians(), toy_views()
    representation.initialize(toy_mesh(), views, seed=0)
    gaussians = representation.gaussians()

    def draw(cameras: Cameras) -> Render:
        return DenseRenderer().render(gaussians, cameras, background=torch.ones(3))

    view = TrainingView(views.images[:1], views.alpha[:1], views.cameras[0], None)
    scalars = loss(LossStep(0, 10, 0, view, draw(view.camera), gaussians, representation.splats, draw))
    assert scalars["long"].item() == pytest.approx(0.01, rel=1e-4)
    scalars["long"].backward()
    assert (representation.splats["scales"].grad > 0).all()


def test_the_callback_of_the_page_counts(plans, capsys):
    growth = run_page("trying_a_plugin.md")["Growth"](instax3d.PluginConfig())
    context, renderer = toy_context(), DenseRenderer()

    def draw(cameras: Cameras) -> Render:
        return renderer.render(context.gaussians, cameras, background=torch.ones(3))

    for step, count in enumerate((10, 20, 30)):
        report, current = DensifyReport(born=10), context.gaussians.detach
        growth.on_step(StepEvent(step, 3, 0.5, {}, None, count, report, current, draw, context.views))
    growth.on_result(RunResult({}, context))
    assert capsys.readouterr().out == "from 10 to 30 Gaussians\n"


def test_the_code_of_the_page_is_known_to_commands_as_a_file(tmp_path):
    text = "\n".join(block.partition("\nportrait = ")[0] for block in blocks("trying_a_plugin.md"))
    (tmp_path / "mine.py").write_text(text)
    command = [sys.executable, "-m", "instax3d", "plugins", "list"]
    environment = {**os.environ, "INSTAX3D_DEV_PLUGINS": "mine.py"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not loaded" not in done.stdout
    for line in (r"densifier +fade +.*Removes what is hardly visible", r"loss +long +", r"callback +growth +"):
        assert re.search(line, done.stdout), done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_page_names_the_current_contract(page):
    stated = set(re.findall(r'INSTAX3D_API = "([^"]*)"', (DOCS / page).read_text(encoding="utf-8")))
    assert stated == {API_VERSION}
