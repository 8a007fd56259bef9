"""Metrics that need no weights, and how metrics are run."""

import sys
from dataclasses import replace

import pytest
import torch

from instax3d.config import PluginChoice, load_config, read_config
from instax3d.errors import AssetError, ConfigError
from instax3d.interfaces import Metric
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.report.metric_info import known_metrics
from instax3d.stages.evaluation import evaluate
from instax3d.testing import FakeDetector, MetricSuite, toy_context
from instax3d.types import Face


def names(metric: str) -> tuple[str, ...]:
    return tuple(figure.name for figure in registry().get(Kind.METRIC, metric).spec.metric_info)


class TestFidelity(MetricSuite):
    metric_names = names("fidelity")

    @pytest.fixture
    def plugin(self):
        return build(Metric, "fidelity")


class TestCost(MetricSuite):
    metric_names = names("cost")

    @pytest.fixture
    def plugin(self):
        return build(Metric, "cost")

    def test_measuring_changes_nothing(self, plugin, context):
        pytest.skip("frames a second are never twice the same")


class TestLikeness(MetricSuite):
    metric_names = names("likeness")

    @pytest.fixture
    def plugin(self):
        return build(Metric, "likeness", turn=True)


def test_fidelity_is_that_of_the_images():
    context = toy_context()
    measured = build(Metric, "fidelity").measure(context)
    error = (context.rendered - context.views.images).square().mean((1, 2, 3))
    assert measured["psnr_views"] == pytest.approx(float(-10 * error.log10().mean()), rel=1e-5)
    assert measured["psnr_test"] == measured["psnr_views"]
    assert measured["psnr_photo"] == pytest.approx(float(-10 * error[0].log10()), rel=1e-5)
    exact = replace(context, rendered=context.views.images, test_images=None, test_rendered=None)
    measured = build(Metric, "fidelity").measure(exact)
    assert measured["ssim_views"] == pytest.approx(1.0, abs=1e-5)  # of single precision
    assert "psnr_test" not in measured


def test_cost_leaves_peak_memory_out_and_says_so_where_the_system_does_not_report_it(monkeypatch, caplog):
    for module in ("resource", "instax3d_plugins.measures.cost"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    measured = build(Metric, "cost").measure(toy_context())
    assert set(measured) == {"fps", "megabytes"}
    assert "peak_memory is left out" in caplog.text


def test_likeness_counts_only_frames_that_show_a_face():
    face = Face((0.0, 0.0, 8.0, 8.0), 1.0, torch.rand(68, 2))

    class Half(FakeDetector):
        """Finds a face in images that are dark in the middle."""

        def detect(self, image):
            return [face] if int(image[16, 16].sum()) % 2 else []

    context = replace(toy_context(), detector=Half())
    measured = build(Metric, "likeness", turn=True).measure(context)
    found = [int((image * 255).round()[:, 16, 16].sum()) % 2 for image in context.turntable]
    assert measured["faces_in_turn"] == pytest.approx(sum(found) / len(found))
    assert ("identity_front" in measured) == bool(found[0])
    assert build(Metric, "likeness").measure(replace(context, photo=None)) == {}


def test_a_metric_without_its_files_is_reported_and_the_others_are_measured(monkeypatch):
    choices = load_config(overrides=["metrics=[likeness, fidelity]"], source="photo").metrics
    broken, whole = choices

    def absent(self, context):
        raise AssetError("weights are not here")

    monkeypatch.setattr(broken.entry.plugin_class(), "measure", absent)
    evaluation = evaluate(toy_context(), choices)
    assert evaluation.missing == {"likeness": "weights are not here"}
    assert set(evaluation.metrics) == set(names("fidelity"))
    assert isinstance(whole, PluginChoice)


def test_a_metric_that_cannot_be_imported_is_reported_and_the_others_are_measured():
    broken, whole = load_config(overrides=["metrics=[likeness, fidelity]"], source="photo").metrics
    absent = replace(broken.entry.spec, target="instax3d_absent.metric:Absent", extra="some")
    evaluation = evaluate(toy_context(), [replace(broken, entry=replace(broken.entry, spec=absent)), whole])
    assert "pip install 'instax3d[some]'" in evaluation.missing["likeness"]
    assert set(evaluation.metrics) == set(names("fidelity"))


def test_metrics_are_chosen_like_everything_else():
    config = load_config(overrides=["metrics=[{plugin: cost}]"], source="photo")
    assert [choice.entry.spec.name for choice in config.metrics] == ["cost"]
    assert config.to_dict()["metrics"] == [{"plugin": "cost"}]
    for wrong, said in (("[fidelty]", "did you mean 'fidelity'"), ("fidelity", "must list"), ("[{a: 1}]", "metrics")):
        with pytest.raises(ConfigError, match=said):
            read_config(overrides=[f"metrics={wrong}"], source="photo")


def test_every_figure_has_one_definition():
    figures = known_metrics()
    assert len({figure.name for figure in figures}) == len(figures)
    assert all(len(figure.description) > 5 for figure in figures)
