"""For plugin authors: a conformance suite per kind, fakes of the other kinds, and toy data.

Subclass a suite, give it one fixture, and pytest runs the whole contract against your plugin::

    import pytest
    from instax3d.testing import DensifierSuite
    from my_package.config import MyConfig
    from my_package.densifier import MyDensifier

    class TestMyDensifier(DensifierSuite):
        @pytest.fixture
        def plugin(self):
            return MyDensifier(MyConfig())
"""

from .fakes import BlobGaussians, DenseRenderer, FakeDetector, IdleDensifier, SphereViews
from .suites import (
    ClipSourceSuite,
    DensifierSuite,
    LandmarkDetectorSuite,
    MeshPriorSuite,
    MetricSuite,
    RendererSuite,
    RepresentationSuite,
    ViewGeneratorSuite,
    views_of_model,
)
from .toys import toy_cameras, toy_context, toy_gaussians, toy_mesh, toy_photo, toy_views

__all__ = [
    "BlobGaussians",
    "ClipSourceSuite",
    "DenseRenderer",
    "DensifierSuite",
    "FakeDetector",
    "IdleDensifier",
    "LandmarkDetectorSuite",
    "MeshPriorSuite",
    "MetricSuite",
    "RendererSuite",
    "RepresentationSuite",
    "SphereViews",
    "ViewGeneratorSuite",
    "toy_cameras",
    "toy_context",
    "toy_gaussians",
    "toy_mesh",
    "toy_photo",
    "toy_views",
    "views_of_model",
]
