"""What all densifiers keep to, and what each is for."""

from dataclasses import replace

import pytest
import torch
from gsplat import DefaultStrategy
from hypothesis import given
from hypothesis import strategies as st
from instax3d_plugins.gof.config import GOFConfig
from instax3d_plugins.gof.densifier import GOF
from instax3d_plugins.mcmc.config import MCMCConfig
from instax3d_plugins.mcmc.densifier import MCMC
from instax3d_plugins.mcmc.relocation import shared_between
from instax3d_plugins.vanilla.config import ADCConfig
from instax3d_plugins.vanilla.densifier import ADC

from instax3d.config import TrainingConfig
from instax3d.geometry.rotations import quat_to_matrix
from instax3d.interfaces import Densifier, Renderer, Representation
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.splats.photometric import photometric_loss
from instax3d.stages.training import PortraitModule, train
from instax3d.testing import BlobGaussians, ColorLoss, DenseRenderer, DensifierSuite, densify_step, toy_mesh, toy_views
from instax3d.types import DensifyStep

DENSIFIERS = ["absgs", "adc", "gof", "mcmc", "none"]
EAGER = {"refine_every": 10, "refine_start": 0.0, "refine_stop": 1.0}


def densifier_by_name(name: str, **options):
    """A densifier by name, with those of the options that it has."""
    fields = registry().get(Kind.DENSIFIER, name).config_class().model_fields
    return build(Densifier, name, **{key: value for key, value in options.items() if key in fields})


def adams(representation) -> dict[str, torch.optim.Optimizer]:
    return {name: torch.optim.Adam([representation.splats[name]]) for name in representation.learning_rates()}


def blobs() -> BlobGaussians:
    torch.manual_seed(0)
    representation = BlobGaussians()
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    return representation


def run(densifier, representation, steps: int = 11, *, scene_scale: float = 0.6, strength: float = 1.0):
    """Random gradients, the same for all Gaussians of a row; returns the reports."""
    torch.manual_seed(1)
    optimizers = adams(representation)
    weights = strength * torch.rand(len(representation.splats["means"]))
    reports = []
    for index in range(steps):
        step = replace(densify_step(representation, optimizers, index, total=steps), scene_scale=scene_scale)
        own = densifier.losses(step)
        densifier.before_backward(step)
        means2d = step.render.info["means2d"]
        rows = weights[torch.arange(means2d.shape[1]) % len(weights)][None, :, None].expand_as(means2d)
        torch.stack([(means2d * rows).sum(), *own.values()]).sum().backward()
        means2d.absgrad = rows.abs()
        for optimizer in optimizers.values():
            optimizer.step()
        with torch.no_grad():
            reports.append(densifier.after_step(step))
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
    return reports


class TestADC(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        return densifier_by_name("adc")

    def test_it_acted(self, history):
        assert max(history[2]) > self.initial


class TestGOF(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        return densifier_by_name("gof")

    def test_it_acted(self, history):
        assert max(history[2]) > self.initial


class TestMCMC(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        return densifier_by_name("mcmc")

    def test_it_acted(self, history):
        assert max(history[2]) > self.initial


class TestNone(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        return densifier_by_name("none")

    def test_it_keeps_still(self, history):
        assert set(history[2]) == {self.initial}


@pytest.mark.parametrize("name", DENSIFIERS)
def test_a_densifier_can_be_tried_against_the_dense_renderer(name):
    scene, renderer, views = blobs(), DenseRenderer(), toy_views(2)
    optimizers = adams(scene)
    densifier = densifier_by_name(name, grow_grad2d=1e-9, max_gaussians=10**6, **EAGER | {"refine_every": 2})
    born = 0
    for index in range(6):
        gaussians = scene.gaussians()
        render = renderer.render(gaussians, views.cameras, background=torch.ones(3), absgrad=True)
        step = DensifyStep(index, scene.splats, optimizers, render, gaussians, scene_scale=0.6, total_steps=6)
        densifier.before_backward(step)
        photometric_loss(render.image, views.images).backward()
        for optimizer in optimizers.values():
            optimizer.step()
        with torch.no_grad():
            born += densifier.after_step(step).born
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
    assert (born > 0) == (name != "none")


@pytest.mark.parametrize("name", ["absgs", "adc", "gof"])
def test_by_budget_the_last_refinement_reaches_it_evenly(name):
    scene = blobs()
    start = len(scene.splats["means"])
    densifier = densifier_by_name(
        name, grow_by="budget", max_gaussians=start + 20, prune_opacity=0.0, prune_scale3d=99.0, **EAGER
    )
    reports = run(densifier, scene, 41, strength=1e-9)
    assert [report.born for report in reports if report.born] == [5, 5, 5, 5]
    assert len(scene.splats["means"]) == start + 20


@pytest.mark.parametrize("name", DENSIFIERS)
def test_the_binding_follows(name):
    """Every Gaussian has the triangle, anchor and reach of one that was there before, whatever became of it."""
    representation = build(Representation, "triangles")
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    with torch.no_grad():
        representation.splats["opacities"][::5] = -9.0

    def ties() -> set[tuple[float, ...]]:
        splats = representation.splats
        parts = [splats["binding"][:, None].double(), splats["anchors"].double(), splats["limits"][:, None].double()]
        return {tuple(row) for row in torch.cat(parts, 1).tolist()}

    before, count = ties(), len(representation.splats["means"])
    reports = run(densifier_by_name(name, max_gaussians=2 * count, **EAGER), representation, strength=0.1)
    assert ties() <= before
    assert len(representation.gaussians()) == count + sum(report.born - report.died for report in reports)
    assert name == "none" or sum(report.born for report in reports) > 0
    # what was moved or born lies near its parent, in the world
    distances = torch.cdist(representation.gaussians().means.detach(), toy_mesh().vertices).amin(1)
    assert float(distances.max()) < 0.15


@pytest.mark.parametrize("name", ["absgs", "adc", "gof"])
def test_bound_and_unbound_gaussians_are_treated_alike(name):
    """Sizes are lengths in the world, whatever the parameters' units."""
    found = []
    for kind in ("triangles", "unbound"):
        representation = build(Representation, kind)
        representation.initialize(toy_mesh(), toy_views(), seed=0)
        sizes = representation.gaussians().scales.detach().amax(1)
        middle = float(sizes.median()) / 0.6
        options = {"grow_scale3d": middle, "prune_scale3d": 99.0, "max_gaussians": 10**6}
        reports = run(densifier_by_name(name, **options, **EAGER), representation, strength=0.1)
        smallest = representation.gaussians().scales.detach().amax(1).log().sort().values
        found.append((sum(report.born for report in reports), smallest))
    assert found[0][0] == found[1][0] > 0
    torch.testing.assert_close(found[0][1], found[1][1], atol=0.02, rtol=0)


def test_adc_is_gsplat_s_default_strategy():
    """On unbound Gaussians, all of them drawn in every step, one refinement gives the same parameters."""
    mine, theirs = blobs(), blobs()
    for scene in (mine, theirs):
        with torch.no_grad():
            scene.splats["scales"][::3] = -6.0
            scene.splats["opacities"][::7] = -6.0
    options = {"grow_grad2d": 0.004, "grow_scale3d": 0.01, "prune_opacity": 0.005}
    optimizers = adams(mine), adams(theirs)
    densifier = ADC(ADCConfig(prune_scale3d=99.0, **options, **EAGER))
    strategy = DefaultStrategy(
        prune_opa=0.005, grow_grad2d=0.004, grow_scale3d=0.01, refine_start_iter=0, refine_every=10, verbose=False
    )
    state = strategy.initialize_state(scene_scale=0.6)
    generator = torch.Generator().manual_seed(0)
    for index in range(11):
        gradients = 0.001 * torch.rand(1, len(mine.splats["means"]), 2, generator=generator)
        gradients[:, ::7] = 0.0  # gsplat splits faint ones too, before it removes the halves
        steps = [densify_step(scene, each, index, total=11) for scene, each in zip((mine, theirs), optimizers)]
        for step in steps:
            step.render.info["means2d"].retain_grad()
            step.render.info["means2d"].grad = gradients.clone()
        torch.manual_seed(index)
        with torch.no_grad():
            densifier.after_step(steps[0])
        torch.manual_seed(index)
        strategy.step_post_backward(theirs.splats, optimizers[1], state, index, dict(steps[1].render.info))
    assert len(mine.splats["means"]) != len(toy_mesh().vertices)
    for name, value in theirs.splats.items():
        assert torch.equal(mine.splats[name], value), name


def test_opacities_are_reset():
    """gsplat up to 1.5.3 never does it."""
    scene = blobs()
    run(densifier_by_name("adc", reset_every=5, refine_every=100, refine_stop=1.0), scene, 6, strength=0.0)
    torch.testing.assert_close(scene.splats["opacities"].detach().sigmoid().max(), torch.tensor(0.01))


@pytest.mark.parametrize("grow_scale3d", [99.0, 1e-9])
def test_two_that_share_an_opacity_are_as_opaque_as_one(grow_scale3d):
    scene = blobs()
    before = scene.splats["opacities"].detach().sigmoid().max()
    options = {"grow_scale3d": grow_scale3d, "prune_scale3d": 999.0, "revised_opacity": True}
    step = densify_step(scene, adams(scene), 10, total=11)
    densifier = densifier_by_name("adc", **options, **EAGER)
    densifier.before_backward(step)
    step.render.info["means2d"].sum().backward()
    assert densifier.after_step(step).born == len(toy_mesh().vertices)
    after = scene.splats["opacities"].detach().sigmoid()
    torch.testing.assert_close(1 - (1 - after) ** 2, before.expand(len(after)), atol=1e-5, rtol=0)


def test_gof_selects_the_same_share_by_either_gradient():
    densifier = GOF(GOFConfig(grow_grad2d=1.0))
    count = 100
    signed, absolute = torch.zeros(count), torch.arange(count).float()
    signed[:10] = 2.0
    for name, values in (("signed", signed), ("absolute", absolute)):
        densifier.gradients[name].load_state_dict({"sums": values, "counts": torch.ones(count)})
    candidates = densifier.select(torch.ones(count, dtype=torch.bool))
    assert torch.nonzero(candidates.mask)[:, 0].tolist() == [*range(10), *range(90, 100)]
    assert float(candidates.priority[candidates.mask][1:].min()) > float(candidates.priority[~candidates.mask].max())


def test_gof_moves_its_clones():
    scene = blobs()
    count = len(scene.splats["means"])
    run(GOF(GOFConfig(grow_scale3d=99.0, prune_scale3d=99.0, **EAGER)), scene, strength=0.1)
    means = scene.splats["means"].detach()
    assert len(means) > count
    assert float(torch.cdist(means[count:], means[:count]).min()) > 1e-6


@given(st.floats(0.01, 0.999), st.integers(1, 51))
def test_gaussians_at_one_position_look_like_the_one_that_was_there(opacity: float, count: int):
    each, scales = shared_between(torch.tensor([opacity]), torch.ones(1, 3), torch.tensor([count]))
    assert 1 - (1 - float(each)) ** count == pytest.approx(opacity, abs=1e-4)
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    together = 1 - (1 - float(each) * torch.exp(-0.5 * (x / float(scales[0, 0])) ** 2)) ** count
    one = opacity * torch.exp(-0.5 * x**2)
    assert float(together.sum()) == pytest.approx(float(one.sum()), rel=1e-3)


def test_relocation_leaves_the_image_unchanged():
    scene = blobs()
    with torch.no_grad():
        scene.splats["scales"][:] = torch.tensor(0.02).log()
        scene.splats["opacities"][:] = torch.tensor(0.9).logit()
        scene.splats["opacities"][::2] = -9.0
    renderer, camera = build(Renderer, "cpu"), toy_views(1, 48).cameras
    before = renderer.render(scene.gaussians().detach(), camera, background=torch.ones(3)).image
    step = densify_step(scene, adams(scene), 10, total=20)
    densifier = MCMC(MCMCConfig(noise_rate=0.0, growth=0.5, **EAGER))
    densifier.before_backward(step)
    report = densifier.after_step(step)
    after = renderer.render(scene.gaussians().detach(), camera, background=torch.ones(3)).image
    assert report.born == 43
    assert float(scene.splats["opacities"].detach().sigmoid().min()) > 0.005
    assert float((after - before).abs().mean()) < 0.01


def test_noise_has_the_same_size_in_the_world_for_bound_gaussians():
    representation = build(Representation, "triangles")
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    with torch.no_grad():
        representation.splats["opacities"][:] = -9.0
    optimizers = adams(representation)
    optimizers["means"].param_groups[0]["lr"] = 0.01
    step = densify_step(representation, optimizers, 1, total=20)
    before = representation.gaussians().detach()
    unit = (before.scales / representation.splats["scales"].detach().exp())[:, 0]
    densifier = MCMC(MCMCConfig(noise_rate=1e3))
    densifier.before_backward(step)
    densifier.after_step(step)
    moved = representation.gaussians().means.detach() - before.means
    along = torch.einsum("nji,nj->ni", quat_to_matrix(before.quats), moved) / before.scales**2
    rate = 1e3 * 0.01 * unit / step.scene_scale**2
    fading = torch.sigmoid(torch.tensor(100 * (1 - 1.2339e-4 - 0.995)))
    assert float((along / rate[:, None] / fading).square().mean()) == pytest.approx(1.0, abs=0.15)


def test_mcmc_lets_useless_gaussians_fade():
    scene = blobs()
    start = float(scene.splats["opacities"].detach().mean())
    run(densifier_by_name("mcmc", growth=1e-9), scene, strength=0.0)
    assert float(scene.splats["opacities"].detach().mean()) < start


def test_the_losses_of_mcmc_have_the_gradients_of_its_own_backward_pass():
    """As it ran it before losses could be returned: first alone, then the trainer's through the same graph."""
    config = MCMCConfig()
    expected, found = {}, {}
    for gradients in (expected, found):
        scene = blobs()
        step = densify_step(scene, adams(scene), 1, 10)
        gaussians = step.gaussians
        image = gaussians.means.square().sum() + gaussians.opacities.square().sum() + gaussians.scales.square().sum()
        if gradients is expected:
            own = config.opacity_weight * gaussians.opacities.mean()
            own = own + config.scale_weight * gaussians.scales.mean() / step.scene_scale
            own.backward(retain_graph=True)
            image.backward()
        else:
            losses = MCMC(config).losses(step)
            assert list(losses) == ["opacity", "scale"]
            torch.stack([image, *losses.values()]).sum().backward()
        gradients.update({name: value.grad for name, value in scene.splats.items() if value.grad is not None})
    assert set(expected) == set(found) >= {"means", "scales", "opacities"}
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("representation", ["triangles", "unbound"])
@pytest.mark.parametrize("name", DENSIFIERS)
def test_training_works_with_every_pair(name, representation):
    torch.manual_seed(0)
    views = toy_views(4, 48)
    gaussians = build(Representation, representation)
    gaussians.initialize(toy_mesh(), views, seed=0)
    events = []
    options = {"grow_by": "budget", "max_gaussians": len(gaussians.splats["means"]) + 100} | EAGER
    parts = gaussians, densifier_by_name(name, **options), build(Renderer, "cpu"), {"color": ColorLoss()}
    module = PortraitModule(
        *parts, toy_mesh(), views, TrainingConfig(iterations=41),
        absgrad="absgrad" in registry().get(Kind.DENSIFIER, name).spec.needs, on_step=events.append,
    )  # fmt: skip
    start = len(gaussians.splats["means"])
    train(module, [0, 1, 2, 3] * 10 + [0], device="cpu")
    assert events[-1].loss < events[0].loss
    assert events[-1].gaussians == start + module.densified.born - module.densified.died
    assert gaussians.gaussians().means.isfinite().all()
