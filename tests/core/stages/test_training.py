"""The Lightning module with fakes of everything else."""

import pytest
import torch

from instax3d.config import TrainingConfig
from instax3d.stages.training import (
    PortraitModule,
    load_checkpoint,
    save_checkpoint,
    scene_extent,
    train,
    training_views,
    view_order,
)
from instax3d.testing import BlobGaussians, ColorLoss, DenseRenderer, IdleDensifier, toy_cameras, toy_mesh, toy_views


def module(densifier=None, losses=None, parts=None, **options) -> PortraitModule:
    config = TrainingConfig(**{"iterations": 24, **options})
    torch.manual_seed(0)
    blobs = BlobGaussians()
    blobs.initialize(toy_mesh(), toy_views(), seed=0)
    objective = {"color": ColorLoss()} if losses is None else losses
    return PortraitModule(
        blobs, densifier or IdleDensifier(), DenseRenderer(), objective, toy_mesh(), toy_views(), config, **parts or {}
    )


def run(made: PortraitModule) -> PortraitModule:
    train(made, view_order(toy_views(), made.training_config.iterations, 0.0, 0), device="cpu")
    return made


def test_training_brings_the_render_closer():
    losses = []
    made = run(module(parts={"on_step": lambda event: losses.append(event.loss)}))
    assert losses[-1] < 0.8 * losses[0]
    assert made.step_count == 24


def test_the_same_seed_gives_the_same_gaussians():
    first, second = (run(module()).representation.gaussians().detach() for _ in range(2))
    assert torch.equal(first.means, second.means)
    assert torch.equal(first.sh, second.sh)


def test_rates_decay_to_their_stated_share():
    made = run(module(position_decay=0.01, rate_decay=0.5))
    optimizers = made.optimizers()
    rates = {name: o.param_groups[0]["lr"] for name, o in zip(made.representation.learning_rates(), optimizers)}
    last = 23 / 24
    assert rates["means"] == pytest.approx(1e-3 * 0.01**last)
    assert rates["sh0"] == pytest.approx(5e-2 * 0.5**last)


def test_a_view_without_trust_teaches_nothing():
    views = toy_views()
    blind = type(views)(views.images, views.alpha, views.cameras, torch.zeros_like(views.alpha))
    blobs = BlobGaussians()
    blobs.initialize(toy_mesh(), views, seed=0)
    before = blobs.gaussians().detach()
    config, objective = TrainingConfig(iterations=4), {"color": ColorLoss()}
    run(PortraitModule(blobs, IdleDensifier(), DenseRenderer(), objective, toy_mesh(), blind, config))
    torch.testing.assert_close(blobs.gaussians().detach().means, before.means)


class Doubler(IdleDensifier):
    """Appends a copy of all Gaussians once."""

    def after_step(self, step):
        from gsplat.strategy.ops import duplicate

        from instax3d.types import DensifyReport

        if step.step != 5:
            return DensifyReport()
        count = len(step.splats["means"])
        duplicate(step.splats, dict(step.optimizers), {}, torch.ones(count, dtype=torch.bool))
        return DensifyReport(born=count, reasons={"doubled": count})


def test_gaussians_born_on_the_way_are_trained_too():
    made = run(module(Doubler()))
    count = len(toy_mesh().vertices)
    means = made.representation.gaussians().means.detach()
    assert len(means) == 2 * count
    assert not torch.equal(means[:count], toy_mesh().vertices)


def test_a_checkpoint_with_another_count_is_taken_back():
    made = run(module(Doubler()))
    fresh = module(Doubler())
    fresh.resume(made.checkpoint())
    assert torch.equal(fresh.representation.gaussians().means, made.representation.gaussians().means)
    assert fresh.step_count == 24
    assert fresh.densified == made.densified


@pytest.mark.parametrize("steps", [3, 9])
def test_a_run_that_was_broken_off_ends_as_an_unbroken_one(tmp_path, steps):
    """Before and after the number of Gaussians has changed."""

    class Broken(Doubler):
        def before_backward(self, step):
            if step.step == steps:
                raise KeyboardInterrupt

    order = view_order(toy_views(), 24, 0.0, seed=0)
    whole = run(module(Doubler()))
    first = module(Broken())
    with pytest.raises(KeyboardInterrupt):
        train(first, order, device="cpu")
    save_checkpoint(tmp_path / "made.ckpt", first)
    torch.manual_seed(99)
    second = module(Doubler())
    second.resume(load_checkpoint(tmp_path / "made.ckpt"))
    train(second, order, device="cpu")
    for name, value in whole.representation.splats.items():
        assert torch.equal(second.representation.splats[name], value)


def test_a_damaged_checkpoint_counts_as_none(tmp_path):
    assert load_checkpoint(tmp_path / "none.ckpt") is None
    (tmp_path / "half.ckpt").write_bytes(b"PK\x03\x04 and no more")
    assert load_checkpoint(tmp_path / "half.ckpt") is None


def test_half_resolution_views_keep_the_field_of_view():
    (full, *_), (half, *_) = training_views(toy_views()), training_views(toy_views(), 0.5)
    assert half.image.shape[2:] == (16, 16)
    torch.testing.assert_close(half.camera.Ks[0, :2] * 2, full.camera.Ks[0, :2])
    assert float((half.image.mean() - full.image.mean()).abs()) < 1e-6


def test_the_photo_is_drawn_as_often_as_asked():
    views = toy_views()
    order = view_order(views, 4000, 0.5, seed=1)
    assert order.count(0) / 4000 == pytest.approx(0.5 + 0.5 / 4, abs=0.03)
    even = view_order(views, 400, 0.0, seed=1)
    assert [even.count(index) for index in range(4)] == [100] * 4


def test_the_scene_is_as_large_as_the_cameras_circle():
    assert scene_extent(toy_cameras(8, distance=2.0), torch.zeros(3)) == pytest.approx(2.2, rel=1e-4)
    assert scene_extent(toy_cameras(1, distance=2.0), torch.zeros(3)) == pytest.approx(2.2, rel=1e-4)
