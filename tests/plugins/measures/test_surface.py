"""The metric that compares heads with true surfaces."""

from dataclasses import replace

import pytest
import torch
from instax3d_plugins.measures import surface as measures

from instax3d.errors import MetricError
from instax3d.headmodel import HeadModel
from instax3d.interfaces import Metric
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.testing import MetricSuite, toy_context, toy_mesh
from instax3d.types import TrueSurface


@pytest.fixture(autouse=True)
def _fewer_samples(monkeypatch):
    monkeypatch.setattr(measures, "SAMPLES", 2_000)


def fine_ball(radius=0.1):
    """Triangles of a few millimeters, all corners on the sphere."""
    mesh = toy_mesh(rings=60, spokes=90)
    return mesh.vertices * (radius / 0.1), mesh.faces


def balls(radius=0.1, truth=0.1):
    """The context of a portrait that is one ball, its Gaussians on it, where the truth is another."""
    vertices, faces = fine_ball(radius)
    context = toy_context()
    mesh = replace(context.mesh, vertices=vertices, faces=faces, landmarks=torch.full((68, 3), -0.5))
    gaussians = replace(context.gaussians, means=radius / 0.1 * torch.nn.functional.normalize(context.gaussians.means))
    gaussians = replace(gaussians, means=0.1 * gaussians.means, opacities=torch.full((len(gaussians),), 0.9))
    return replace(context, mesh=mesh, gaussians=gaussians, surface=TrueSurface(*fine_ball(truth)))


class TestSurface(MetricSuite):
    metric_names = tuple(figure.name for figure in registry().get(Kind.METRIC, "surface").spec.metric_info)

    @pytest.fixture
    def plugin(self):
        return build(Metric, "surface")

    @pytest.fixture
    def context(self):
        return balls(truth=0.104)


def test_a_ball_in_a_ball_is_as_far_as_their_radii_differ():
    figures = build(Metric, "surface").measure(balls(0.1, 0.104))
    for name in ("surface", "surface_to_truth", "surface_from_truth", "surface_gaussians_to_truth"):
        assert figures[name] == pytest.approx(4.0, abs=0.06), name
    # the chin is put half a meter below the middle
    assert figures["surface_percent"] == pytest.approx(100 * 0.004 / 0.604, rel=0.02)
    assert figures["surface_gaussians"] > 4.0, "forty Gaussians leave much of the ball uncovered"
    exact = build(Metric, "surface").measure(balls())
    assert exact["surface"] < 1e-4


def test_millimeters_are_those_of_the_fitted_head_or_of_the_option():
    context = balls(0.1, 0.104)
    small = replace(context, mesh=replace(context.mesh, units_per_meter=5.0))
    assert build(Metric, "surface").measure(small)["surface"] == pytest.approx(0.8, abs=0.02)
    by_option = build(Metric, "surface", units_per_meter=0.1).measure(small)
    assert by_option["surface"] == pytest.approx(40, abs=0.6)
    percent = [build(Metric, "surface").measure(each)["surface_percent"] for each in (context, small)]
    assert percent[0] == percent[1]


def test_what_is_below_the_chin_or_inside_does_not_count():
    context = balls()
    known = build(Metric, "surface")
    chin = torch.zeros(68, 3)
    vertices = context.surface.vertices
    shoulders = torch.where(vertices[:, 1:2] < -0.02, vertices * torch.tensor([3.0, 1.0, 3.0]), vertices)
    inside = torch.cat([shoulders, 0.5 * vertices])
    faces = torch.cat([context.surface.faces, context.surface.faces + len(vertices)])
    spoilt = replace(context, surface=TrueSurface(inside, faces))
    assert known.measure(spoilt)["surface_from_truth"] > 5
    above = replace(spoilt, mesh=replace(spoilt.mesh, landmarks=chin))
    assert known.measure(above)["surface"] < 1e-4


def test_a_cloud_serves_as_truth():
    context = balls(0.1, 0.104)
    cloud = replace(context, surface=TrueSurface(context.surface.vertices))
    # its points are a few millimeters apart
    assert build(Metric, "surface").measure(cloud)["surface"] == pytest.approx(4.2, abs=0.25)


def test_without_truth_or_chin_the_error_says_why():
    known, context = build(Metric, "surface"), balls()
    with pytest.raises(MetricError, match="needs the true surface"):
        known.measure(replace(context, surface=None))
    with pytest.raises(MetricError, match="needs the chin"):
        known.measure(replace(context, mesh=replace(context.mesh, landmarks=None)))
    with pytest.raises(MetricError, match="same world"):
        known.measure(replace(context, surface=TrueSurface(context.surface.vertices - 10)))


def test_a_head_that_is_farther_off_measures_worse():
    """The mannequin against itself, moved, blown up and noisier step by step."""
    model = build(HeadModel, "mannequin")
    true = model(model.neutral())
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    context = replace(toy_context(), surface=TrueSurface(true, model.faces))

    def measured(vertices):
        mesh = replace(context.mesh, vertices=vertices, faces=model.faces, landmarks=model.landmarks(vertices))
        gaussians = replace(
            context.gaussians,
            **{
                name: part.repeat(len(vertices) // 40 + 1, *[1] * (part.ndim - 1))[: len(vertices)]
                for name, part in vars(context.gaussians).items()
            },
        )
        gaussians = replace(gaussians, means=vertices, opacities=torch.ones(len(vertices)))
        return build(Metric, "surface").measure(replace(context, mesh=mesh, gaussians=gaussians))

    exact = measured(true)
    assert exact["surface"] < 1e-3
    assert exact["surface_gaussians_to_truth"] < 1e-3
    assert 0.5 < exact["surface_gaussians"] < 3, "as far as vertices are apart"
    for spoil in (
        lambda much: true + torch.tensor([0.0, 0.0, 0.004 * much]),
        lambda much: true * (1 + 0.03 * much),
        lambda much: true + 0.002 * much * noise,
    ):
        steps = [exact, *(measured(spoil(much)) for much in (1.0, 2.0))]
        for name in exact:
            values = [step[name] for step in steps]
            assert values == sorted(values), name
            assert values[-1] > values[0] + 0.2, name
