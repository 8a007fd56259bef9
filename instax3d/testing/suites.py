"""One conformance suite per kind. Each test is named after a promise that the rest of the program relies on.

A suite needs one fixture, ``plugin``, which returns the plugin under test (see `instax3d.testing`).
"""

import copy
import io
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from gsplat.strategy.ops import duplicate, remove, split

from instax3d.datasets import AZIMUTHS_DEG, INPUT_VIEW
from instax3d.errors import FitError
from instax3d.geometry.landmarks68 import BOTH_EYES, CHIN, LEFT_EYE, LIPS, NOSE_TIP, RIGHT_EYE
from instax3d.headmodel import HeadModel
from instax3d.interfaces import (
    ClipSource,
    Densifier,
    LandmarkDetector,
    Loss,
    MeshPrior,
    Metric,
    Renderer,
    Representation,
    ViewGenerator,
)
from instax3d.types import (
    FIVE_POINTS,
    MEDIAPIPE_POINTS,
    Cameras,
    Capture,
    DensifyReport,
    DensifyStep,
    EvaluationContext,
    Face,
    Gaussians,
    HeadMesh,
    LossStep,
    Photo,
    Render,
    TrainingView,
    Views,
)

from .context import toy_context
from .fakes import BlobGaussians, DenseRenderer
from .toys import toy_cameras, toy_gaussians, toy_mesh, toy_photo, toy_views


class Suite:
    """Base of the suites."""

    expected_failures: ClassVar[dict[str, str]] = {}
    """Tests that are known to fail, by name, with the reason. Strict: one that passes again is reported."""

    @pytest.fixture(autouse=True)
    def _expect_failures(self, request: pytest.FixtureRequest) -> None:
        reason = self.expected_failures.get(request.node.originalname)
        if reason:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def plugin(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `plugin` that returns the plugin to test")


class ViewGeneratorSuite(Suite):
    """Runs on the toy photo. Override ``source`` for a generator that needs a capture, or true landmarks."""

    @pytest.fixture
    def source(self) -> Photo | Capture:
        """The generator's input."""
        return toy_photo()

    @pytest.fixture
    def views(self, plugin: ViewGenerator[Any], source: Photo | Capture) -> Views:
        """What the generator made."""
        return plugin.generate(source, seed=7)

    def test_each_image_has_a_camera_an_alpha_and_a_confidence(self, views: Views) -> None:
        assert len(views) == len(views.cameras) == len(views.alpha) > 0
        assert views.confidence.shape == views.alpha.shape
        assert tuple(views.images.shape[2:]) == (views.cameras.height, views.cameras.width)

    def test_values_are_in_the_unit_range(self, views: Views) -> None:
        for values in (views.images, views.alpha, views.confidence):
            assert values.isfinite().all()
            assert float(values.min()) >= 0
            assert float(values.max()) <= 1

    def test_provenance_is_given_for_every_pixel_or_for_none(self, views: Views) -> None:
        if views.provenance is not None:
            torch.testing.assert_close(views.provenance.sum(1, keepdim=True), torch.ones_like(views.alpha))
            assert float(views.provenance.min()) >= 0

    def test_images_are_white_where_alpha_is_zero(self, views: Views) -> None:
        background = (views.alpha == 0).expand_as(views.images)
        assert bool((views.images[background] > 0.99).all())

    def test_cameras_are_rigid(self, views: Views) -> None:
        rotation = views.cameras.viewmats[:, :3, :3]
        torch.testing.assert_close(
            rotation @ rotation.transpose(1, 2), torch.eye(3).expand_as(rotation), atol=1e-4, rtol=0
        )
        assert bool((torch.linalg.det(rotation) > 0).all())

    def test_the_photo_is_one_of_the_views_or_none(self, views: Views) -> None:
        assert views.photo_index is None or 0 <= views.photo_index < len(views)

    def test_faces_are_given_for_all_views_or_for_none(self, views: Views) -> None:
        assert len(views.faces) in (0, len(views))

    def test_a_head_that_it_knows_moves_by_its_own_model(self, plugin: ViewGenerator[Any], views: Views) -> None:
        if views.head is None or views.head.rig is None:
            pytest.skip("this generator knows no head that can be moved")
        model, rig = plugin.head_model(), views.head.rig
        assert model is not None, "head_model() must return the rig's model"
        assert rig.head.shares_parameters_with(model)
        torch.testing.assert_close(rig.vertices(rig.parameters), views.head.vertices, atol=1e-5, rtol=1e-4)

    def test_the_same_seed_gives_the_same_views(
        self, plugin: ViewGenerator[Any], source: Photo | Capture, views: Views
    ) -> None:
        again = plugin.generate(source, seed=7)
        assert torch.equal(again.images, views.images)
        assert torch.equal(again.cameras.viewmats, views.cameras.viewmats)


def views_of_model(model: HeadModel, count: int = 5, size: int = 256) -> Views:
    """Gray views of ``size`` pixels whose faces are the exact projections of the neutral head's landmarks.

    ``count``: at most 5, from the front outwards. Alpha is 1 everywhere.
    """
    cameras = toy_cameras(20, size, distance=1.0)[[0, 1, 2, 18, 19]][:count]
    K = cameras.Ks * torch.tensor([0.55, 0.55, 1.0])[:, None]
    K[:, :2, 2] = size / 2
    cameras = replace(cameras, Ks=K)
    vertices = model(model.neutral())
    pixels = cameras.project(model.landmarks(vertices))[..., :2]
    faces = []
    for points in pixels:
        low, high = points.amin(0), points.amax(0)
        box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        faces.append(Face(box, 1.0, points.detach()))
    alpha = torch.ones(count, 1, size, size)
    return Views(torch.full((count, 3, size, size), 0.5), alpha, cameras, torch.ones_like(alpha), faces=tuple(faces))


class MeshPriorSuite(Suite):
    """Runs on `views_of_model`. Override ``views`` for a prior without a head model."""

    @pytest.fixture
    def views(self, plugin: MeshPrior[Any]) -> Views:
        """The prior's input."""
        return views_of_model(plugin.head_model())

    @pytest.fixture
    def mesh(self, plugin: MeshPrior[Any], views: Views) -> HeadMesh:
        """The fitted head."""
        return plugin.fit(views)

    def test_the_mesh_is_valid(self, mesh: HeadMesh) -> None:
        assert mesh.vertices.isfinite().all()
        assert 0 <= int(mesh.faces.min()) <= int(mesh.faces.max()) < len(mesh.vertices)
        for mask in mesh.regions.values():
            assert len(mask) == len(mesh.vertices)

    def test_faces_look_outwards(self, mesh: HeadMesh) -> None:
        a, b, c = mesh.vertices[mesh.faces].unbind(1)
        volume = (torch.linalg.cross(b - a, c - a) * (a - mesh.vertices.mean(0))).sum() / 6
        assert float(volume) > 0

    def test_landmarks_project_to_where_they_were_detected(self, mesh: HeadMesh, views: Views) -> None:
        if mesh.landmarks is None:
            pytest.skip("this prior gives no landmarks")
        projected = views.cameras.project(mesh.landmarks)[..., :2]
        errors = [
            (pixels - face.require_landmarks68()).norm(dim=1).mean()
            for pixels, face in zip(projected, views.faces)
            if face
        ]
        width = max(face.box[2] - face.box[0] for face in views.faces if face)
        assert float(torch.stack(errors).mean()) < 0.05 * width

    def test_the_rig_gives_back_the_mesh(self, mesh: HeadMesh) -> None:
        if mesh.rig is None:
            pytest.skip("this prior gives no rig")
        torch.testing.assert_close(mesh.rig.vertices(mesh.rig.parameters), mesh.vertices, atol=1e-5, rtol=1e-4)

    def test_views_without_a_face_are_refused_with_a_fit_error(self, plugin: MeshPrior[Any], views: Views) -> None:
        with pytest.raises(FitError, match="face"):
            plugin.fit(replace(views, faces=(None,) * len(views)))


def assert_valid_gaussians(gaussians: Gaussians) -> None:
    """Fail unless there is one row for each in every part, all finite, sizes positive and opacities in [0, 1]."""
    for name in ("means", "quats", "scales", "opacities", "sh"):
        assert len(getattr(gaussians, name)) == len(gaussians), name
        assert getattr(gaussians, name).isfinite().all(), name
    assert float(gaussians.scales.min()) > 0
    assert 0 <= float(gaussians.opacities.min()) <= float(gaussians.opacities.max()) <= 1


class RepresentationSuite(Suite):
    """Runs on the toy mesh and the toy views."""

    @pytest.fixture
    def initialized(self, plugin: Representation[Any]) -> Representation[Any]:
        """The representation with its Gaussians."""
        plugin.initialize(toy_mesh(), toy_views(), seed=3)
        return plugin

    def test_one_row_per_gaussian_in_every_parameter(self, initialized: Representation[Any]) -> None:
        assert len({len(value) for value in initialized.splats.values()}) == 1
        assert len(initialized.gaussians()) == len(initialized.splats["means"]) > 0

    def test_each_gaussian_is_bound_to_a_triangle_or_none_is(self, initialized: Representation[Any]) -> None:
        binding = initialized.binding()
        if binding is not None:
            assert len(binding) == len(initialized.gaussians())
            assert 0 <= int(binding.min()) <= int(binding.max()) < len(toy_mesh().faces)

    def test_gaussians_are_valid(self, initialized: Representation[Any]) -> None:
        assert_valid_gaussians(initialized.gaussians().detach())

    def test_each_trainable_parameter_has_a_rate_and_a_gradient(self, initialized: Representation[Any]) -> None:
        trainable = {name for name, value in initialized.splats.items() if value.requires_grad}
        assert set(initialized.learning_rates()) == trainable
        gaussians = initialized.gaussians()
        parts = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
        torch.stack([(part * torch.rand_like(part)).sum() for part in parts]).sum().backward()
        for name in trainable:
            gradient = initialized.splats[name].grad
            assert gradient is not None, name
            assert gradient.isfinite().all(), name

    def test_regularization_is_scalar_and_finite(self, initialized: Representation[Any]) -> None:
        for name, loss in initialized.regularization().items():
            assert loss.shape == (), name
            assert loss.isfinite(), name

    def test_it_survives_densification(self, initialized: Representation[Any]) -> None:
        optimizers = {
            name: torch.optim.Adam([initialized.splats[name]], lr=rate)
            for name, rate in initialized.learning_rates().items()
        }
        count = len(initialized.splats["means"])
        torch.manual_seed(0)
        mask = torch.zeros(count, dtype=torch.bool)
        mask[:3] = True
        duplicate(initialized.splats, optimizers, {}, mask)
        split(initialized.splats, optimizers, {}, torch.cat([mask, mask[:3] & False]))
        mask = torch.zeros(count + 6, dtype=torch.bool)
        mask[-5:] = True
        remove(initialized.splats, optimizers, {}, mask)
        gaussians = initialized.gaussians()
        assert len(gaussians) == count + 1
        assert gaussians.means.isfinite().all()
        initialized.regularization()

    def test_the_same_seed_gives_the_same_gaussians(self, initialized: Representation[Any]) -> None:
        first = initialized.gaussians().detach()
        initialized.initialize(toy_mesh(), toy_views(), seed=3)
        assert torch.equal(initialized.gaussians().means, first.means)


def densify_step(
    representation: Representation[Any], optimizers: dict[str, torch.optim.Optimizer], step: int, total: int
) -> DensifyStep:
    """A step before its backward pass: centers in the first toy camera, every Gaussian visible, a black image.

    Args:
        optimizers: one per trainable entry of the representation's ``splats``.
        step: counted from 0.
        total: steps of the run.
    """
    gaussians = representation.gaussians()
    cameras = toy_cameras(1)
    means2d = cameras.project(gaussians.means)[..., :2]
    info = {
        "means2d": means2d,
        "radii": torch.full((1, len(gaussians), 2), 3, dtype=torch.int32),
        "gaussian_ids": None,
        "width": cameras.width,
        "height": cameras.height,
        "n_cameras": 1,
    }
    blank = torch.zeros(1, 1, cameras.height, cameras.width)
    render = Render(blank.repeat(1, 3, 1, 1), blank, blank, info)
    return DensifyStep(step, representation.splats, optimizers, render, gaussians, scene_scale=0.6, total_steps=total)


class DensifierSuite(Suite):
    """Runs on 86 unbound Gaussians, with strong gradients on a third of them."""

    steps: ClassVar[int] = 300
    """Length of the run: enough for the densifier to act."""

    @pytest.fixture
    def history(
        self, plugin: Densifier[Any]
    ) -> tuple[Representation[Any], dict[str, torch.optim.Optimizer], list[int]]:
        """The representation, its optimizers and the number of Gaussians after each step."""
        torch.manual_seed(0)
        representation = BlobGaussians()
        representation.initialize(toy_mesh(), toy_views(), seed=0)
        optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam([representation.splats[name]], lr=1e-4) for name in representation.learning_rates()
        }
        self.initial = len(representation.splats["means"])
        self.reports: list[DensifyReport] = []
        counts = []
        for index in range(self.steps):
            step = densify_step(representation, optimizers, index, self.steps)
            own = plugin.losses(step)
            plugin.before_backward(step)
            means2d = step.render.info["means2d"]
            strength = torch.zeros_like(means2d)
            strength[:, ::3] = 0.01
            torch.stack([(means2d * strength).sum(), *own.values()]).sum().backward()
            means2d.absgrad = strength.abs()
            for optimizer in optimizers.values():
                optimizer.step()
            with torch.no_grad():
                self.reports.append(plugin.after_step(step))
            for optimizer in optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            counts.append(len(representation.splats["means"]))
        return representation, optimizers, counts

    def test_every_parameter_keeps_one_row_per_gaussian(self, history: Any) -> None:
        representation, _, _ = history
        assert len({len(value) for value in representation.splats.values()}) == 1

    def test_the_reports_add_up(self, history: Any) -> None:
        _, _, counts = history
        expected = self.initial
        for report, count in zip(self.reports, counts):
            expected += report.born - report.died
            assert count == expected

    def test_the_reasons_account_for_all_that_was_born_or_died(self, history: Any) -> None:
        for report in self.reports:
            assert all(number > 0 for number in report.reasons.values()), report
            assert not report.reasons or sum(report.reasons.values()) >= report.born + report.died, report

    def test_optimizers_hold_the_live_parameters(self, history: Any) -> None:
        representation, optimizers, _ = history
        for name, optimizer in optimizers.items():
            parameter = optimizer.param_groups[0]["params"][0]
            assert parameter is representation.splats[name]
            for value in optimizer.state.get(parameter, {}).values():
                assert value.ndim == 0 or len(value) == len(parameter)

    def test_its_losses_are_scalar_and_finite(self, plugin: Densifier[Any]) -> None:
        representation = BlobGaussians()
        representation.initialize(toy_mesh(), toy_views(), seed=0)
        for name, loss in plugin.losses(densify_step(representation, {}, 0, self.steps)).items():
            assert loss.shape == (), name
            assert loss.isfinite(), name

    def test_some_gaussians_remain(self, history: Any) -> None:
        assert history[2][-1] > 0

    def test_state_can_be_saved_and_loaded(self, plugin: Densifier[Any], history: Any) -> None:
        plugin.load_state_dict(plugin.state_dict())


def loss_step(
    representation: Representation[Any], views: Views, view_index: int, *, step: int = 0, total_steps: int = 10
) -> LossStep:
    """A step that draws one of the views with `DenseRenderer`, differentiable with respect to ``splats``."""
    gaussians, renderer = representation.gaussians(), DenseRenderer()

    def draw(cameras: Cameras) -> Render:
        return renderer.render(gaussians, cameras, background=torch.ones(3))

    image, alpha, confidence = (
        part[view_index : view_index + 1] for part in (views.images, views.alpha, views.confidence)
    )
    view = TrainingView(image, alpha, views.cameras[view_index], confidence)
    render = draw(view.camera)
    return LossStep(step, total_steps, view_index, view, render, gaussians, representation.splats, draw)


class LossSuite(Suite):
    """Runs on gray Gaussians at the vertices of the toy mesh, turned at random, and on the toy views, of which the
    first is the photo.

    Override ``views`` for a loss that needs more of them.
    """

    @pytest.fixture
    def views(self) -> Views:
        """What the Gaussians should look like."""
        return toy_views()

    @pytest.fixture
    def scene(self, views: Views) -> Representation[Any]:
        """The Gaussians."""
        representation = BlobGaussians()
        representation.initialize(toy_mesh(), views, seed=0)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name in ("quats", "scales"):
                value = representation.splats[name]
                value += 0.3 * torch.randn(value.shape, generator=generator)
        return representation

    @pytest.fixture
    def started(self, plugin: Loss[Any], views: Views) -> Loss[Any]:
        """The loss, ready for its first step."""
        plugin.start(toy_mesh(), views, torch.device("cpu"))
        return plugin

    def test_it_gives_scalars_that_are_finite(
        self, started: Loss[Any], scene: Representation[Any], views: Views
    ) -> None:
        found = [started(loss_step(scene, views, index, step=index)) for index in range(len(views))]
        assert any(found), "it has nothing to add for any of the views"
        for scalars in found:
            for name, value in scalars.items():
                assert value.shape == (), name
                assert value.isfinite(), name

    def test_it_moves_the_gaussians(self, started: Loss[Any], scene: Representation[Any], views: Views) -> None:
        for index in range(len(views)):
            scalars = started(loss_step(scene, views, index, step=index))
            if scalars:
                torch.stack(list(scalars.values())).sum().backward()
        gradients = [value.grad for value in scene.splats.values() if value.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(float(gradient.abs().max()) > 0 for gradient in gradients)

    def test_it_leaves_the_parameters_alone(self, started: Loss[Any], scene: Representation[Any], views: Views) -> None:
        before = {name: value.detach().clone() for name, value in scene.splats.items()}
        started(loss_step(scene, views, 0))
        assert set(scene.splats) == set(before)
        for name, value in scene.splats.items():
            assert torch.equal(value, before[name]), name
            assert value.grad is None, name

    def test_a_resumed_run_goes_on_as_an_unbroken_one(
        self, started: Loss[Any], scene: Representation[Any], views: Views
    ) -> None:
        """With the same random numbers, from its state and the generator's."""

        def run(loss: Loss[Any], steps: range) -> list[dict[str, float]]:
            return [
                {name: float(value.detach()) for name, value in scalars.items()}
                for scalars in (loss(loss_step(scene, views, step % len(views), step=step)) for step in steps)
            ]

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            run(started, range(3))
            state, random = copy.deepcopy(started.state_dict()), torch.get_rng_state()
            expected = run(started, range(3, 8))
            fresh = type(started)(started.config)
            fresh.start(toy_mesh(), views, torch.device("cpu"))
            fresh.load_state_dict(_through_a_checkpoint(state))
            torch.set_rng_state(random)
            assert run(fresh, range(3, 8)) == expected


def _through_a_checkpoint(state: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint gives back: it holds tensors and plain values alone."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    read: dict[str, Any] = torch.load(file, weights_only=True)
    return read


class RendererSuite(Suite):
    """Compares with `DenseRenderer`."""

    absgrad: ClassVar[bool] = True
    """Whether the renderer gives absolute gradients (``provides={"absgrad"}`` in its spec)."""

    @pytest.fixture
    def background(self) -> torch.Tensor:
        """Behind the Gaussians."""
        return torch.tensor([0.2, 0.5, 0.9])

    def test_one_image_per_camera(self, plugin: Renderer[Any], background: torch.Tensor) -> None:
        cameras = toy_cameras(3, 40)
        render = plugin.render(toy_gaussians(), cameras, background=background)
        assert render.image.shape == (3, 3, 40, 40)
        assert render.alpha.shape == render.depth.shape == (3, 1, 40, 40)

    def test_it_draws_what_the_reference_draws(self, plugin: Renderer[Any], background: torch.Tensor) -> None:
        gaussians, cameras = toy_gaussians(), toy_cameras(2, 48)
        render = plugin.render(gaussians, cameras, background=background)
        reference = DenseRenderer().render(gaussians, cameras, background=background)
        torch.testing.assert_close(render.image, reference.image, atol=2e-3, rtol=0)
        torch.testing.assert_close(render.alpha, reference.alpha, atol=2e-3, rtol=0)

    def test_gradients_are_those_of_the_reference(self, plugin: Renderer[Any], background: torch.Tensor) -> None:
        cameras = toy_cameras(1, 48)
        names = ("means", "quats", "scales", "opacities", "sh")
        target = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))

        def gradients(renderer: Renderer[Any]) -> Iterator[torch.Tensor]:
            base = toy_gaussians()
            leaves = {name: getattr(base, name).clone().requires_grad_() for name in names}
            render = renderer.render(Gaussians(**leaves), cameras, background=background)
            ((render.image - target).square().sum() + render.alpha.sum()).backward()
            return (leaves[name].grad for name in names)  # type: ignore[misc]

        for name, gradient, reference in zip(names, gradients(plugin), gradients(DenseRenderer())):
            assert gradient.isfinite().all(), name
            assert float((gradient - reference).norm() / reference.norm()) < 1e-2, name

    def test_without_gaussians_the_image_is_the_background(
        self, plugin: Renderer[Any], background: torch.Tensor
    ) -> None:
        render = plugin.render(toy_gaussians(0), toy_cameras(1, 24), background=background)
        torch.testing.assert_close(render.image, background[None, :, None, None].expand(1, 3, 24, 24))
        assert float(render.alpha.abs().max()) == 0

    def test_densifiers_get_what_they_need(self, plugin: Renderer[Any], background: torch.Tensor) -> None:
        gaussians = toy_gaussians()
        gaussians.means.requires_grad_()
        render = plugin.render(gaussians, toy_cameras(1, 40), background=background, absgrad=self.absgrad)
        info = render.info
        assert (info["width"], info["height"], info["n_cameras"]) == (40, 40, 1)
        assert info["means2d"].shape == (1, len(gaussians), 2)
        assert info["radii"].shape == (1, len(gaussians), 2)
        info["means2d"].retain_grad()
        render.image.square().sum().backward()
        assert info["means2d"].grad.shape == (1, len(gaussians), 2)

    def test_image_plane_gradients_are_those_of_the_reference(
        self, plugin: Renderer[Any], background: torch.Tensor
    ) -> None:
        def gradients(renderer: Renderer[Any], absgrad: bool) -> list[torch.Tensor]:
            gaussians = toy_gaussians()
            gaussians.means.requires_grad_()
            render = renderer.render(gaussians, toy_cameras(2, 40), background=background, absgrad=absgrad)
            means2d = render.info["means2d"]
            means2d.retain_grad()
            render.image.square().sum().backward()
            return [means2d.grad, means2d.absgrad] if absgrad else [means2d.grad]

        pairs = zip(gradients(plugin, self.absgrad), gradients(DenseRenderer(), self.absgrad), strict=True)
        for gradient, reference in pairs:
            assert float((gradient - reference).norm() / reference.norm()) < 1e-2


class LandmarkDetectorSuite(Suite):
    """Runs on a real photo: NASA's portrait of Eileen Collins that comes with scikit-image."""

    provides: ClassVar[frozenset[str]] = frozenset({"landmarks68", "identity"})
    """The capabilities in the detector's spec."""

    @pytest.fixture
    def photo(self) -> torch.Tensor:
        """A photo of one person, uint8 [h, w, 3]."""
        from skimage.data import astronaut

        return torch.from_numpy(astronaut())

    def test_the_highest_scoring_face_is_the_person(self, plugin: LandmarkDetector[Any], photo: torch.Tensor) -> None:
        faces = plugin.detect(photo)
        assert faces == sorted(faces, key=lambda face: -face.score)
        left, top, right, bottom = faces[0].box
        assert 150 < (left + right) / 2 < 290
        assert 50 < (top + bottom) / 2 < 190

    def test_landmarks_are_in_order_and_on_the_face(self, plugin: LandmarkDetector[Any], photo: torch.Tensor) -> None:
        face = plugin.detect(photo)[0]
        assert (face.landmarks is not None) == ("landmarks68" in self.provides)
        if face.landmarks is None:
            return
        points = face.landmarks
        assert points.shape == (68, 2)
        assert points[RIGHT_EYE, 0].mean() < points[LEFT_EYE, 0].mean(), "the subject's right eye is left in the image"
        assert points[BOTH_EYES, 1].mean() < points[NOSE_TIP, 1] < points[LIPS, 1].mean() < points[CHIN, 1]

    def test_other_points_are_as_declared(self, plugin: LandmarkDetector[Any], photo: torch.Tensor) -> None:
        points = plugin.detect(photo)[0].points
        for capability, scheme, count in (("points5", FIVE_POINTS, 5), ("points478", MEDIAPIPE_POINTS, 478)):
            assert (scheme in points) == (capability in self.provides), scheme
            assert scheme not in points or points[scheme].shape == (count, 2)
        if FIVE_POINTS in points:
            right, left, nose, right_corner, left_corner = points[FIVE_POINTS]
            assert right[0] < left[0], "the subject's right eye is left in the image"
            assert right_corner[0] < left_corner[0]
            assert (right[1] + left[1]) / 2 < nose[1] < (right_corner[1] + left_corner[1]) / 2

    def test_no_face_is_found_where_there_is_none(self, plugin: LandmarkDetector[Any]) -> None:
        assert plugin.detect(torch.full((200, 200, 3), 255, dtype=torch.uint8)) == []

    def test_the_same_face_is_near_itself(self, plugin: LandmarkDetector[Any], photo: torch.Tensor) -> None:
        face = plugin.detect(photo)[0]
        if "identity" not in self.provides:
            with pytest.raises(NotImplementedError):
                plugin.descriptor(photo, face)
            return
        darker = (photo.float() * 0.8).to(torch.uint8)
        other = plugin.detect(darker)[0]
        assert float((plugin.descriptor(photo, face) - plugin.descriptor(darker, other)).norm()) < 0.3


class MetricSuite(Suite):
    """Runs on the toy portrait; override ``context`` for a metric that needs more."""

    metric_names: tuple[str, ...] = ()
    """The names in the spec's ``metric_info``."""

    @pytest.fixture
    def context(self) -> EvaluationContext:
        """The portrait that is measured."""
        return toy_context()

    def test_only_declared_metrics_are_measured_and_are_finite(
        self, plugin: Metric[Any], context: EvaluationContext
    ) -> None:
        measured = plugin.measure(context)
        assert measured
        assert set(measured) <= set(self.metric_names)
        assert all(isinstance(value, float) and math.isfinite(value) for value in measured.values())

    def test_measuring_changes_nothing(self, plugin: Metric[Any], context: EvaluationContext) -> None:
        before = context.rendered.clone()
        assert plugin.measure(context) == plugin.measure(context)
        assert torch.equal(context.rendered, before)


class ClipSourceSuite(Suite):
    """Every test makes a clip or two: give the plugin options that keep them small."""

    def test_a_clip_goes_once_around_in_even_steps_and_ends_at_the_input_view(self, plugin: ClipSource[Any]) -> None:
        views = plugin.make(0, seed=7).views
        assert len(views) == len(AZIMUTHS_DEG)
        assert views.photo_index == INPUT_VIEW
        # by the cameras' own axes: worlds differ in where up is
        forward = views.cameras.viewmats[:, 2, :3].double()
        up = torch.linalg.svd(forward - forward.mean(0)).Vh[-1]
        flat = torch.nn.functional.normalize(forward - (forward @ up)[:, None] * up, dim=1)
        turns = torch.rad2deg(torch.acos((flat * flat.roll(1, 0)).sum(1).clamp(-1, 1)))
        torch.testing.assert_close(turns, torch.full_like(turns, 360 / len(views)), atol=6.0, rtol=0)

    def test_a_clip_depends_on_its_index_and_the_seed_alone(self, plugin: ClipSource[Any]) -> None:
        first, again = plugin.make(0, seed=7), type(plugin)(plugin.config).make(0, seed=7)
        assert torch.equal(first.views.images, again.views.images)
        assert torch.equal(first.views.alpha, again.views.alpha)
        assert first.about == again.about

    def test_images_are_in_the_unit_range_and_white_where_alpha_is_zero(self, plugin: ClipSource[Any]) -> None:
        views = plugin.make(0, seed=7).views
        for values in (views.images, views.alpha):
            assert values.isfinite().all()
            assert 0 <= float(values.min()) <= float(values.max()) <= 1
        assert bool((views.images[(views.alpha == 0).expand_as(views.images)] > 0.99).all())
