"""For plugin authors: a conformance suite per kind, fakes of the other kinds, and toy data.

Subclass a suite and give it one fixture, and pytest tests your plugin against the whole contract::

    import pytest
    from instax3d.testing import DensifierSuite
    from my_package.config import MyConfig
    from my_package.densifier import MyDensifier

    class TestMyDensifier(DensifierSuite):
        @pytest.fixture
        def plugin(self):
            return MyDensifier(MyConfig())

To test a part alone, run it against the fakes::

    representation, renderer = BlobGaussians(), DenseRenderer()
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    gaussians = representation.gaussians()
    render = renderer.render(gaussians, toy_cameras(1), background=torch.ones(3), absgrad=True)
    optimizers = {
        name: torch.optim.Adam([representation.splats[name]], lr=rate)
        for name, rate in representation.learning_rates().items()
    }
    step = DensifyStep(0, representation.splats, optimizers, render, gaussians, scene_scale=0.6, total_steps=1)
    densifier.before_backward(step)
    photometric_loss(render.image, toy_views(1).images).backward()
    for optimizer in optimizers.values():
        optimizer.step()
    with torch.no_grad():
        report = densifier.after_step(step)

or a loss::

    loss = MyLoss(MyConfig())
    loss.start(toy_mesh(), toy_views(), torch.device("cpu"))
    scalars = loss(loss_step(representation, toy_views(), view_index=0))
"""

from .callback_suite import CallbackSuite
from .context import toy_context
from .events import tell, toy_run
from .fakes import BlobGaussians, ColorLoss, DenseRenderer, FakeDetector, IdleDensifier, SphereViews
from .head_models import HeadModelSuite, plausible_parameters
from .stage_suite import StageSuite
from .suites import (
    ClipSourceSuite,
    DensifierSuite,
    LandmarkDetectorSuite,
    LossSuite,
    MeshPriorSuite,
    MetricSuite,
    RendererSuite,
    RepresentationSuite,
    ViewGeneratorSuite,
    densify_step,
    loss_step,
    views_of_model,
)
from .toys import toy_cameras, toy_gaussians, toy_mesh, toy_photo, toy_views

__all__ = [
    "BlobGaussians",
    "CallbackSuite",
    "ClipSourceSuite",
    "ColorLoss",
    "DenseRenderer",
    "DensifierSuite",
    "FakeDetector",
    "HeadModelSuite",
    "IdleDensifier",
    "LandmarkDetectorSuite",
    "LossSuite",
    "MeshPriorSuite",
    "MetricSuite",
    "RendererSuite",
    "RepresentationSuite",
    "SphereViews",
    "StageSuite",
    "ViewGeneratorSuite",
    "densify_step",
    "loss_step",
    "plausible_parameters",
    "tell",
    "toy_cameras",
    "toy_context",
    "toy_gaussians",
    "toy_mesh",
    "toy_photo",
    "toy_run",
    "toy_views",
    "views_of_model",
]
