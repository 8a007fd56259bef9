"""Plans know which stages cells share, and compare all plugins, listed ones included."""

from pathlib import Path

import pytest
from toy_pipeline import register_toys

import instax3d
from instax3d.benchmark.grid import read_grid
from instax3d.benchmark.plan import Plan, make_plan
from instax3d.config import LISTS, SLOTS, load_config
from instax3d.interfaces import Callback, Metric, Stage
from instax3d.plugin import PluginConfig
from instax3d.registry import registry
from instax3d.stages.fingerprint import stage_keys
from instax3d.types import EvaluationContext, StageData, Views


class Options(PluginConfig):
    strength: float = 0.5


class Refine(Stage[Options]):
    """Refines nothing."""

    def run(self, data: StageData) -> Views:
        assert data.views is not None
        return data.views


class Counts(Metric[PluginConfig]):
    """Measures nothing."""

    def measure(self, context: EvaluationContext) -> dict[str, float]:
        return {}


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry(), "entries", list(registry().entries))
    register_toys()
    instax3d.register(Refine, name="refine", config=Options, reads=("views",), makes="views")


@pytest.fixture
def plan_of(tmp_path: Path):
    """Plans what this varies, on one photo."""

    def plan(vary: str) -> Plan:
        (tmp_path / "anna.jpg").write_bytes(b"anna")
        path = tmp_path / "grid.yaml"
        path.write_text(f"extends: draft\nsubjects: [anna.jpg]\nvary:\n{vary}\n")
        return make_plan(read_grid(path))

    return plan


def test_lists_of_stages_are_an_axis(plan_of):
    plan = plan_of("  stages: [[], [refine], [refine, dim]]\n  densifier: [absgs, adc]")
    assert len(plan.cells) == 6
    shared = {cell.labels: cell.shared for cell in plan.cells}
    assert len(set(shared.values())) == 2
    assert shared["[refine]", "absgs"] == shared["[refine]", "adc"] == shared["[refine, dim]", "absgs"]
    assert shared["[]", "absgs"] != shared["[refine]", "absgs"]


def test_options_of_a_stage_are_an_axis(plan_of):
    plan = plan_of("  stages: [[refine, dim]]\n  stages.refine.strength: [0.1, 0.5]\n  training.iterations: [5, 6]")
    assert len(plan.cells) == 4
    assert len({cell.shared for cell in plan.cells}) == 2


@pytest.mark.parametrize(
    "vary",
    [
        *("seed: [0, 1]", "device: [auto, cpu]", "mesh_prior: [mannequin, toy_prior]", "training.iterations: [5, 6]"),
        *("representation: [triangles, toy_blobs]", "output.sheet_views: [1, 2]"),
        *("stages: [[], [refine]]", "stages: [[], [dim]]", "stages: [[shrink, refine], [refine, shrink]]"),
        *("view_generator.size: [256, 512]", "metrics: [[], [fidelity]]", "losses: [[photometric], [alpha]]"),
        "losses.alpha.weight: [0, 0.2]",
    ],
)
def test_cells_share_the_stages_before_the_construction_if_and_only_if_their_keys_are_the_same(plan_of, vary):
    one, other = plan_of(f"  {vary}").cells
    keys = []
    for cell in (one, other):
        config = load_config(preset="draft", overrides=cell.overrides, source="photo").resolved_for("cpu")
        names = stage_keys(config, "cpu", "anna")
        keys.append([key for name, key in names.items() if name not in ("construct", "stages.dim")])
    assert (one.shared == other.shared) == (keys[0] == keys[1])


def test_what_listed_plugins_need_is_compared_for_each_cell(plan_of):
    instax3d.register(Refine, name="captures_only", config=Options, needs=["capture"], reads=("views",), makes="views")
    instax3d.register(Counts, name="counts", needs=["second sight"])
    plan = plan_of("  stages: [[], [captures_only]]\n  metrics: [[], [counts]]")
    assert [cell.labels for cell in plan.cells] == [("[]", "[]")]
    reasons = {skipped.labels: skipped.reason for skipped in plan.skipped}
    assert "stage 'captures_only' needs capture" in reasons["[captures_only]", "[]"]
    assert "metric 'counts' needs second sight" in reasons["[]", "[counts]"]
    assert len(reasons["[captures_only]", "[counts]"].splitlines()) == 2


def test_a_cell_needs_a_gpu_if_a_listed_plugin_does(plan_of):
    class Watch(Callback[PluginConfig]):
        """Watches."""

    instax3d.register(Refine, name="on_gpu", config=Options, needs=["cuda"], reads=("views",), makes="views")
    instax3d.register(Watch, name="watch_gpu", needs=["cuda"])
    plan = plan_of("  stages: [[], [on_gpu]]\n  callbacks: [[], [watch_gpu]]")
    assert {cell.labels: cell.gpu for cell in plan.cells} == {
        ("[]", "[]"): False,
        ("[on_gpu]", "[]"): True,
        ("[]", "[watch_gpu]"): True,
        ("[on_gpu]", "[watch_gpu]"): True,
    }


def test_every_key_of_a_stage_is_one_of_the_config():
    from instax3d.stages.records import PIPELINE

    document = load_config(preset="draft", source="photo").to_dict()
    for stage in PIPELINE:
        assert set(stage.keys) <= set(document)
        assert set(stage.kinds) <= {*SLOTS.values(), *LISTS.values()}
