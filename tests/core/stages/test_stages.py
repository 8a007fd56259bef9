"""Stages are data: what a run does, keeps and finds again follows from their records, plugins' stages included."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import Int
from torch import Tensor
from toy_pipeline import TOY, register_toys

import instax3d
from instax3d.config import RunConfig, load_config
from instax3d.errors import BrokenPluginError, IncompatiblePipelineError
from instax3d.headmodel import HeadModel
from instax3d.interfaces import Stage, ViewGenerator
from instax3d.io.progress import Silent
from instax3d.registry import build, registry
from instax3d.stages import training
from instax3d.stages.cache import StageCache
from instax3d.stages.fingerprint import stage_keys
from instax3d.stages.pipeline import create, fit, warm_up
from instax3d.stages.records import PIPELINE, before_construction, stages_of
from instax3d.testing import BlobGaussians, toy_gaussians, toy_mesh, toy_views
from instax3d.testing.suites import views_of_model
from instax3d.types import Gaussians, HeadMesh, Photo, Rig, StageData, Views

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = '''
from dataclasses import replace

from torch.nn.functional import avg_pool2d

from instax3d import PluginConfig, Stage, StageData, Views, register


class SharpenConfig(PluginConfig):
    amount: float = 0.5


@register(name="sharpen", config=SharpenConfig, reads=("views",), makes="views")
class Sharpen(Stage[SharpenConfig]):
    """Adds to each view what a blur would take from it."""

    def run(self, data: StageData) -> Views:
        images = data.views.images
        detail = images - avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        return replace(data.views, images=(images + self.config.amount * detail).clamp(0, 1))
'''


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The fakes and the script's stage are registered, and forgotten after the test."""
    monkeypatch.setattr(registry(), "entries", list(registry().entries))
    register_toys()
    run_script(tmp_path, monkeypatch)


def run_script(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = SCRIPT) -> None:
    """Load a script of this test's own in this process; again, as if it had been edited."""
    name = f"script_{folder.name}"
    (folder / f"{name}.py").write_text(text)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)


@pytest.fixture
def cache(tmp_path: Path) -> StageCache:
    return StageCache(tmp_path / "cache")


def toy_config(*overrides: str) -> RunConfig:
    return load_config(preset="draft", overrides=[*TOY, *overrides], source="photo")


def names(*overrides: str) -> list[str]:
    return [stage.name for stage in stages_of(toy_config(*overrides))]


def offer(name: str, result: object, reads: tuple[str, ...], makes: str) -> None:
    """A stage that returns this, whatever it is."""

    class Returns(Stage):
        def run(self, data: StageData) -> object:
            return result

    instax3d.register(Returns, name=name, reads=reads, makes=makes)


def test_the_documented_table_is_what_runs():
    cells = (
        (f"*{s.name}*", ", ".join(s.reads) or "the input", s.makes, ", ".join(f"`{key}`" for key in s.keys))
        for s in PIPELINE
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    assert table in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), table


def test_the_records_and_the_plan_of_a_benchmark_need_no_torch():
    code = "import sys, instax3d.stages.records, instax3d.benchmark.plan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_stage_of_the_program_has_its_function():
    assert all(callable(stage.function()) for stage in PIPELINE)


def test_a_stage_runs_as_soon_as_all_is_there_that_it_reads_and_makes():
    offer("repaint", None, ("mesh",), "views")
    offer("look", None, ("views", "gaussians"), "mesh")
    assert names() == ["views", "prior", "construct"]
    assert names("stages=[dim, sharpen, shrink]") == [
        *("views", "stages.sharpen", "prior", "stages.shrink", "construct", "stages.dim")
    ]
    assert names("stages=[look, shrink, repaint]") == [
        *("views", "prior", "stages.shrink", "stages.repaint", "construct", "stages.look")
    ]
    config = toy_config("stages=[dim, sharpen, shrink]")
    assert [s.name for s in before_construction(config)] == ["views", "stages.sharpen", "prior", "stages.shrink"]


def test_several_stages_run_in_the_order_of_the_config_and_may_be_the_same():
    offer("other", None, (), "views")
    assert names("stages=[sharpen, other]")[1:3] == ["stages.sharpen", "stages.other"]
    assert names("stages=[other, sharpen]")[1:3] == ["stages.other", "stages.sharpen"]
    twice = toy_config("stages=[sharpen, {plugin: sharpen, amount: 0.1}]")
    first, second = stages_of(twice)[1:3]
    assert (first.name, second.name) == ("stages.sharpen", "stages.sharpen#2")
    assert (first.plugin.config.amount, second.plugin.config.amount) == (0.5, 0.1)


def rerun(before: list[str], after: list[str]) -> set[str]:
    """Stages of ``after`` whose results would not be found."""
    old, new = (stage_keys(toy_config(*overrides), "cpu", "source") for overrides in (before, after))
    return {name for name in new if new[name] != old.get(name)}


def test_a_changed_option_of_a_stage_runs_it_and_what_follows_but_not_what_precedes():
    assert rerun(["stages=[sharpen]"], ["stages=[sharpen]", "stages.sharpen.amount=0.1"]) == {
        *("stages.sharpen", "prior", "construct")
    }
    assert rerun(["stages=[sharpen]"], ["stages=[sharpen, shrink]"]) == {"stages.shrink", "construct"}
    assert rerun(["stages=[sharpen]"], ["stages=[sharpen, dim]"]) == {"stages.dim"}
    assert rerun(["stages=[sharpen, shrink]"], ["stages=[shrink, sharpen]"]) == set(), "their places are the same"
    assert rerun(["stages=[sharpen]"], ["stages=[sharpen]", "training.iterations=7"]) == {"construct"}


def test_a_stage_whose_script_was_edited_runs_again(monkeypatch, tmp_path):
    before = stage_keys(toy_config("stages=[sharpen]"), "cpu", "source")
    run_script(tmp_path, monkeypatch, SCRIPT.replace("3, stride=1, padding=1", "5, stride=1, padding=2"))
    after = stage_keys(toy_config("stages=[sharpen]"), "cpu", "source")
    assert {name for name in after if after[name] != before[name]} == {"stages.sharpen", "prior", "construct"}


def test_a_stages_result_takes_the_place_of_what_was_there_and_is_found_again(photo, cache):
    config = toy_config("stages=[sharpen, shrink, dim]")
    plain = create(photo, config=toy_config())
    made = create(photo, config=config, cache=cache)
    blurred = torch.nn.functional.avg_pool2d(plain.views.images, 3, 1, 1, count_include_pad=False)
    wanted = (plain.views.images + 0.5 * (plain.views.images - blurred)).clamp(0, 1)
    assert float((made.views.images - wanted).abs().max()) < 1 / 255, "rounded to eight bits"
    assert made.views.faces == plain.views.faces
    scale = made.mesh.vertices.norm(dim=1) / toy_mesh().vertices.norm(dim=1)
    assert 0.9 <= float(scale.min()) <= float(scale.max()) <= 0.951
    assert made.manifest["losses"], "of the construction, whose Gaussians a stage replaced"
    ran = ["photo", "views", "stages.sharpen", "prior", "stages.shrink", "construct", "stages.dim", "evaluate"]
    assert list(made.manifest["seconds"]) == [*ran, "total"]
    assert made.manifest["plugins"]["stages.sharpen"]["name"] == "sharpen"
    again = create(photo, config=config, cache=cache)
    assert list(again.manifest["reused"]) == ran[1:-1]
    for part in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.equal(getattr(again.gaussians, part), getattr(made.gaussians, part)), part
    assert torch.equal(again.views.images, made.views.images)
    assert torch.equal(again.mesh.vertices, made.mesh.vertices), "drawn with the seed"
    undimmed = create(photo, config=toy_config("stages=[sharpen, shrink]"), cache=cache)
    assert set(undimmed.manifest["reused"]) == set(ran[1:-2])
    assert torch.equal(undimmed.gaussians.opacities / 2, made.gaussians.opacities)


def test_a_stage_begins_with_the_seed_whatever_ran_before(photo, cache):
    config = toy_config("stages=[shrink]")
    fit(photo, toy_config(), cache=cache)  # so that views and prior are found, and draw nothing
    found, anew = fit(photo, config, cache=cache), fit(photo, config)
    assert torch.equal(found.mesh.vertices, anew.mesh.vertices)
    other = fit(photo, toy_config("stages=[shrink]", "seed=1"))
    assert not torch.equal(other.mesh.vertices, anew.mesh.vertices)


def test_a_fit_runs_the_stages_before_the_construction(photo, cache):
    fitted = fit(photo, toy_config("stages=[sharpen, shrink, dim]"), cache=cache)
    assert sorted({path.name.rpartition("-")[0] for path in cache.files()}) == [
        *("prior", "stages.sharpen", "stages.shrink", "views")
    ]
    made = create(photo, config=toy_config("stages=[sharpen, shrink, dim]"), cache=cache)
    assert list(made.manifest["reused"]) == ["views", "stages.sharpen", "prior", "stages.shrink"]
    assert torch.equal(made.mesh.vertices, fitted.mesh.vertices)


def test_a_stage_gets_what_it_reads_and_nothing_else(photo):
    seen: list[StageData] = []

    class Watch(Stage):
        def run(self, data: StageData) -> HeadMesh:
            seen.append(data)
            return toy_mesh()

    instax3d.register(Watch, name="watch", reads=("gaussians",), makes="mesh")
    instax3d.register(type("Early", (Watch,), {}), name="early", reads=("views", "mesh"), makes="mesh")
    create(photo, config=toy_config("stages=[watch, early]", "seed=5"))
    early, late = seen
    assert isinstance(late.gaussians, Gaussians)
    assert late.views is late.mesh is early.gaussians is None
    assert isinstance(early.views, Views)
    assert isinstance(early.mesh, HeadMesh)
    assert (early.seed, type(early.source).__name__) == (5, "Photo")


def test_gaussians_stay_bound_while_they_are_as_many_and_the_triangles_the_same(photo, cache):
    class Bound(BlobGaussians):
        def binding(self) -> Int[Tensor, "n"]:
            return torch.arange(len(self.splats["means"]))

    instax3d.register(Bound, name="bound")
    mesh = toy_mesh()
    offer("other_mesh", toy_mesh(rings=10), ("gaussians",), "mesh")
    offer("moved_mesh", HeadMesh(mesh.vertices + 0.01, mesh.faces), ("gaussians",), "mesh")
    offer("fewer", toy_gaussians(7), (), "gaussians")
    for stages, bound in (("", True), ("dim, moved_mesh", True), ("fewer", False), ("other_mesh", False)):
        for _ in range(2):  # made, then found
            config = toy_config("representation=bound", f"stages=[{stages}]")
            made = create(photo, config=config, cache=cache)
            assert torch.equal(made.binding, torch.arange(len(made.gaussians))) == bound, stages  # else the nearest


@pytest.mark.parametrize(
    ("result", "makes", "said"),
    [
        (None, "views", r"stages\.wrong from .* makes views, but run\(\) returned NoneType"),
        (toy_mesh(), "gaussians", r"makes gaussians, but run\(\) returned HeadMesh"),
        (toy_views(), "mesh", r"makes mesh, but run\(\) returned Views"),
    ],
)
def test_a_stage_that_makes_something_else_is_refused(photo, result, makes, said):
    offer("wrong", result, (), makes)
    with pytest.raises(BrokenPluginError, match=said):
        create(photo, config=toy_config("stages=[wrong]"))


def test_views_with_faces_for_some_are_refused_and_without_any_are_looked_at(photo, monkeypatch):
    views = toy_views()
    offer("some", Views(views.images, views.alpha, views.cameras, views.confidence, faces=(None,)), (), "views")
    with pytest.raises(BrokenPluginError, match=r"returned 4 views with 1 faces"):
        fit(photo, toy_config("stages=[some]"))
    offer("without", views, (), "views")
    assert fit(photo, toy_config("stages=[without]")).views.faces == (None,) * 4


class Knowing(ViewGenerator):
    """Knows the head that it drew, and the faces."""

    def generate(self, source: Photo, *, seed: int) -> Views:
        model = build(HeadModel, "mannequin")
        rig = Rig(model, model.neutral(), torch.eye(3), torch.full((3,), 0.01 * seed), 1.0)
        head = HeadMesh(rig.vertices(rig.parameters), model.faces, rig=rig)
        return replace(views_of_model(model, count=3, size=64), photo_index=0, head=head)

    def head_model(self) -> HeadModel:
        return build(HeadModel, "mannequin")


def test_what_a_generator_knows_is_neither_detected_nor_fitted_also_if_its_views_are_found(photo, cache, monkeypatch):
    monkeypatch.setattr("instax3d.stages.making.with_faces", pytest.fail)
    instax3d.register(Knowing, name="knowing")
    config = toy_config("view_generator=knowing", "mesh_prior=mannequin", "seed=3")
    first = fit(photo, config, cache=cache)
    for path in cache.folder.glob("prior-*"):
        path.unlink()
    monkeypatch.setattr(Knowing, "generate", pytest.fail)
    again = fit(photo, config, cache=cache)
    for fitted in (first, again):
        assert fitted.mesh.metrics["known"] == 1
        assert torch.equal(fitted.mesh.vertices, first.views.head.vertices)
        assert torch.equal(fitted.mesh.rig.translation, torch.full((3,), 0.03))


def test_a_head_of_a_model_that_the_generator_does_not_tell_of_is_refused(photo, monkeypatch):
    class Silent(Knowing):
        head_model = ViewGenerator.head_model

    instax3d.register(Silent, name="silent")
    with pytest.raises(BrokenPluginError, match=r"'silent' from .* that its head_model\(\) does not return"):
        fit(photo, toy_config("view_generator=silent"))
    offer("heady", Knowing(instax3d.PluginConfig()).generate(None, seed=0), (), "views")
    with pytest.raises(BrokenPluginError, match="returned views with the rig of another head model"):
        fit(photo, toy_config("stages=[heady]"))


def test_a_rig_of_another_head_is_refused(photo):
    head = build(HeadModel, "mannequin")
    rig = Rig(head, head.neutral(), torch.eye(3), torch.zeros(3), 1.0)
    mesh = toy_mesh()
    offer("rigged", HeadMesh(mesh.vertices, mesh.faces, rig=rig), (), "mesh")
    with pytest.raises(BrokenPluginError, match="rig of another head model; leave the rig out"):
        fit(photo, toy_config("stages=[rigged]"))


def test_what_a_stage_needs_is_checked_with_the_config():
    class Seldom(Stage):
        def run(self, data: StageData) -> Views:
            return toy_views()

    instax3d.register(Seldom, name="seldom", needs=["capture"], reads=("views",), makes="views")
    instax3d.register(type("Odd", (Seldom,), {}), name="odd", needs=["second sight"], makes="views")
    assert load_config(overrides=["stages=[seldom]"], source="capture").plugins
    with pytest.raises(IncompatiblePipelineError, match="stage 'seldom' needs capture, which nothing here provides"):
        toy_config("stages=[seldom]")
    with pytest.raises(IncompatiblePipelineError, match="stage 'odd' needs second sight"):
        toy_config("stages=[sharpen, odd]")


def test_options_of_a_stage_are_checked_like_any(monkeypatch):
    with pytest.raises(instax3d.ConfigError, match=re.escape("stages.sharpen.amout: no such option; did you mean")):
        toy_config("stages=[sharpen]", "stages.sharpen.amout=1")
    with pytest.raises(instax3d.ConfigError, match="did you mean 'sharpen'"):
        toy_config("stages=[sharpn]")
    assert toy_config("stages=[sharpen]", "stages.sharpen=null").listed == toy_config().listed


def test_all_plugins_of_the_stages_are_warmed_up(monkeypatch):
    warmed: list[str] = []
    for entry in registry().entries:
        if entry.spec.name.startswith("toy_") or entry.spec.name == "dim":
            name = entry.spec.name
            monkeypatch.setattr(entry.plugin_class(), "warmup", lambda self, name=name: warmed.append(name))
    warm_up(toy_config("stages=[dim]"))
    assert sorted(warmed) == ["dim", "toy_blobs", "toy_dense", "toy_detector", "toy_idle", "toy_prior", "toy_views"]


class Interrupts(Silent):
    """Ends the run with Ctrl-C in the middle of the construction."""

    def step(self, done: int, **shown: object) -> None:
        if done > 20:
            raise KeyboardInterrupt


def test_an_interrupted_run_with_stages_is_resumed_to_the_same_bits(photo, cache, monkeypatch):
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    config = toy_config("stages=[sharpen, dim]")
    with pytest.raises(KeyboardInterrupt):
        create(photo, config=config, cache=cache, progress=Interrupts())
    assert len([path for path in cache.files() if path.suffix == ".ckpt"]) == 1
    resumed = create(photo, config=config, cache=cache, resume=True)
    assert "resumed after 20 of 30 steps" in resumed.manifest["notes"]
    assert set(resumed.manifest["reused"]) == {"views", "stages.sharpen", "prior"}
    unbroken = create(photo, config=config)
    assert torch.equal(resumed.gaussians.means, unbroken.gaussians.means)
    assert torch.equal(resumed.gaussians.opacities, unbroken.gaussians.opacities)
