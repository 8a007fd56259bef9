"""The fakes keep the contracts that they stand in for."""

from typing import ClassVar

import pytest
import torch

from instax3d.geometry.landmarks68 import CHIN, EYES, LIPS, NOSE_TIP
from instax3d.interfaces import Metric
from instax3d.plugin import PluginConfig
from instax3d.testing import (
    BlobGaussians,
    DenseRenderer,
    DensifierSuite,
    FakeDetector,
    IdleDensifier,
    LandmarkDetectorSuite,
    MetricSuite,
    RendererSuite,
    RepresentationSuite,
    SphereViews,
    ViewGeneratorSuite,
    toy_gaussians,
)
from instax3d.testing.toys import toy_cameras
from instax3d.types import Face


class TestSphereViews(ViewGeneratorSuite):
    @pytest.fixture
    def plugin(self):
        return SphereViews()


class TestBlobGaussians(RepresentationSuite):
    @pytest.fixture
    def plugin(self):
        return BlobGaussians()


class TestIdleDensifier(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        return IdleDensifier()


class TestDenseRenderer(RendererSuite):
    @pytest.fixture
    def plugin(self):
        return DenseRenderer()


class TestFakeDetector(LandmarkDetectorSuite):
    """Made with the face of the suite's photo."""

    expected_failures: ClassVar = {"test_no_face_is_found_where_there_is_none": "it finds its faces in every image"}

    @pytest.fixture
    def plugin(self):
        landmarks = torch.full((68, 2), 220.0)
        landmarks[:, 1] = 120.0
        landmarks[EYES["right"]], landmarks[EYES["left"]] = torch.tensor([200.0, 110.0]), torch.tensor([240.0, 110.0])
        landmarks[NOSE_TIP, 1], landmarks[LIPS, 1], landmarks[CHIN, 1] = 130.0, 150.0, 170.0
        return FakeDetector([Face((170.0, 70.0, 270.0, 180.0), 1.0, landmarks)])


class Error(Metric[PluginConfig]):
    def measure(self, context):
        return {"error": float((context.rendered - context.views.images).abs().mean())}


class TestToyContext(MetricSuite):
    metric_names = ("error",)

    @pytest.fixture
    def plugin(self):
        return Error(PluginConfig())


def test_the_dense_renderer_gives_each_gaussian_its_image_plane_gradient_in_every_view():
    cameras = toy_cameras(2, 24)
    gaussians = toy_gaussians(5)
    gaussians.means.requires_grad_()
    render = DenseRenderer().render(gaussians, cameras, background=torch.ones(3), absgrad=True)
    means2d = render.info["means2d"]
    means2d.retain_grad()
    render.image[1].sum().backward()
    assert float(means2d.grad[0].abs().max()) == 0
    assert float(means2d.grad[1].abs().max()) > 0
    assert float(means2d.absgrad[0].max()) == 0
    assert bool((means2d.absgrad[1] >= means2d.grad[1].abs() * 0.999).all())
