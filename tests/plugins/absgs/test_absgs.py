"""AbsGS grows where absolute gradients are large and prunes what is faint or huge."""

import pytest
import torch
from instax3d_plugins.absgs.config import AbsGSConfig
from instax3d_plugins.absgs.densifier import AbsGS

from instax3d.testing import BlobGaussians, DensifierSuite, toy_mesh, toy_views
from instax3d.testing.suites import densify_step


class TestConformance(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        return AbsGS(AbsGSConfig())

    def test_it_acted(self, history):
        assert max(history[2]) > self.initial


@pytest.fixture
def scene():
    torch.manual_seed(0)
    blobs = BlobGaussians()
    blobs.initialize(toy_mesh(), toy_views(), seed=0)
    return blobs, {name: torch.optim.Adam([blobs.splats[name]]) for name in blobs.learning_rates()}


def refine(densifier: AbsGS, scene, absolute: torch.Tensor, signed: torch.Tensor | None = None, steps: int = 11):
    blobs, optimizers = scene
    report = None
    for index in range(steps):
        step = densify_step(blobs, optimizers, index, total=steps)
        densifier.before_backward(step)
        means2d = step.render.info["means2d"]
        means2d.absgrad = absolute[None, :, None].expand(1, -1, 2)
        means2d.grad = torch.zeros_like(means2d) if signed is None else signed[None, :, None].expand(1, -1, 2)
        with torch.no_grad():
            report = densifier.after_step(step)
    return report


OPTIONS = {"refine_every": 10, "refine_start": 0.0, "refine_stop": 1.0}


def test_small_ones_are_cloned_and_large_ones_split(scene):
    blobs, _ = scene
    count = len(blobs.splats["means"])
    with torch.no_grad():
        blobs.splats["scales"][:10] = -9.0
    gradients = torch.zeros(count)
    gradients[5:15] = 1.0
    positions = blobs.splats["means"].detach().clone()
    report = refine(AbsGS(AbsGSConfig(**OPTIONS)), scene, gradients)
    assert (report.born, report.died) == (10, 0)
    after = blobs.splats["means"].detach()
    twins = [(after == position).all(1).sum().item() for position in positions]
    assert twins[5:10] == [2] * 5, "a clone keeps its parent"
    assert twins[10:15] == [0] * 5, "a split replaces its parent"
    assert twins[15:] == [1] * (count - 15)


def test_growth_stops_at_the_cap_with_the_strongest_first(scene):
    blobs, _ = scene
    count = len(blobs.splats["means"])
    report = refine(AbsGS(AbsGSConfig(max_gaussians=count + 3, **OPTIONS)), scene, torch.linspace(0.1, 1, count))
    assert report.born == 3
    assert len(blobs.splats["means"]) == count + 3


def test_faint_and_huge_ones_are_removed(scene):
    blobs, _ = scene
    count = len(blobs.splats["means"])
    with torch.no_grad():
        blobs.splats["opacities"][:4] = -8.0
        blobs.splats["scales"][4:6] = 1.0
    report = refine(AbsGS(AbsGSConfig(**OPTIONS)), scene, torch.zeros(count))
    assert report.died == 6
    assert len(blobs.splats["means"]) == count - 6


def test_opposite_pulls_do_not_cancel(scene):
    """The reason for AbsGS: what counts is ``absgrad``, not ``grad``."""
    blobs, _ = scene
    count = len(blobs.splats["means"])
    assert refine(AbsGS(AbsGSConfig(**OPTIONS)), scene, torch.ones(count), torch.zeros(count)).born == count


def test_with_a_threshold_of_their_own_clones_go_by_the_gradient_that_cancels(scene):
    blobs, _ = scene
    count = len(blobs.splats["means"])
    with torch.no_grad():
        blobs.splats["scales"][:10] = -9.0
    absolute, signed = torch.ones(count), torch.zeros(count)
    signed[:4] = 1.0
    densifier = AbsGS(AbsGSConfig(clone_grad2d=2e-4, **OPTIONS))
    assert refine(densifier, scene, absolute, signed).born == 4 + count - 10
