"""What each loss is for."""

from dataclasses import replace

import pytest
import torch
from instax3d_plugins.losses.config import AlphaConfig, NormalsConfig, OpacityConfig, PhotometricConfig
from instax3d_plugins.losses.image import Alpha, Opacity, Photometric
from instax3d_plugins.losses.normals import Normals

from instax3d.config import TrainingConfig
from instax3d.geometry.rotations import quat_to_matrix, triangle_frames
from instax3d.interfaces import Loss, Renderer, Representation
from instax3d.registry import build
from instax3d.splats.photometric import alpha_loss, photometric_loss
from instax3d.stages.training import PortraitModule, train
from instax3d.testing import (
    BlobGaussians,
    DenseRenderer,
    IdleDensifier,
    LossSuite,
    loss_step,
    toy_mesh,
    toy_views,
)

CPU = torch.device("cpu")


class TestPhotometric(LossSuite):
    @pytest.fixture
    def plugin(self):
        return Photometric(PhotometricConfig())


class TestAlpha(LossSuite):
    @pytest.fixture
    def plugin(self):
        return Alpha(AlphaConfig())


class TestOpacity(LossSuite):
    @pytest.fixture
    def plugin(self):
        return Opacity(OpacityConfig())


class TestNormals(LossSuite):
    @pytest.fixture
    def plugin(self):
        return Normals(NormalsConfig())


def blobs(views=None) -> BlobGaussians:
    representation = BlobGaussians()
    representation.initialize(toy_mesh(), views or toy_views(), seed=0)
    return representation


def minimize(losses, representation, views, iterations=40, renderer=None) -> list[dict[str, float]]:
    """The losses after each of the steps of a construction."""
    for loss in losses.values():
        loss.start(toy_mesh(), views, CPU)
    parts = representation, IdleDensifier(), renderer or DenseRenderer(), losses, toy_mesh(), views
    found = []
    module = PortraitModule(
        *parts, TrainingConfig(iterations=iterations), every_step=True, on_step=lambda event: found.append(event.losses)
    )
    train(module, [index % len(views) for index in range(iterations)], device="cpu")
    return found


def test_photometric_and_alpha_are_the_formulas_of_the_toolkit():
    views = toy_views()
    views = replace(views, confidence=0.25 + 0.5 * torch.rand(views.alpha.shape, generator=torch.Generator()))
    step = loss_step(blobs(), views, 1)
    confidence = views.confidence[1:2]
    photometric = Photometric(PhotometricConfig(ssim_weight=0.7))(step)["photometric"]
    image, alpha = step.render.image, step.render.alpha
    assert torch.equal(photometric, photometric_loss(image, views.images[1:2], ssim_weight=0.7, weight=confidence))
    assert torch.equal(Alpha(AlphaConfig())(step)["alpha"], alpha_loss(alpha, views.alpha[1:2], weight=confidence))


def covered(representation, view: int) -> float:
    step = loss_step(representation, toy_views(), view)
    return float(step.render.alpha[step.view.alpha == 1].mean().detach())


def test_opacity_closes_holes_where_no_color_is_believed():
    views = toy_views()
    blind = replace(views, confidence=torch.where(torch.arange(4)[:, None, None, None] == 0, 1.0, 0.0) * views.alpha)
    coverage = {}
    for name, losses in {
        "without": {"photometric": build(Loss, "photometric")},
        "with": {"photometric": build(Loss, "photometric"), "opacity": build(Loss, "opacity", weight=1.0)},
    }.items():
        representation = blobs()
        with torch.no_grad():
            representation.splats["opacities"][:] = -3.0
        before = covered(representation, 2)
        found = minimize(losses, representation, blind)
        coverage[name] = covered(representation, 2)
    assert coverage["with"] > coverage["without"] + 0.1
    assert coverage["with"] > before + 0.2
    of_view = [losses["opacity"] for losses in found[2::4]]
    assert of_view[-1] < 0.7 * of_view[0]


def test_opacity_counts_views_from_the_side_alone():
    views = toy_views()  # the photo at 0 degrees, others at 90, 180 and 270
    for from_deg, expected in (
        (45.0, [False, True, True, True]),
        (120.0, [False, False, True, False]),
        (0.0, [True] * 4),
    ):
        loss = Opacity(OpacityConfig(from_deg=from_deg))
        loss.start(toy_mesh(), views, CPU)
        assert [bool(loss(loss_step(blobs(), views, index))) for index in range(4)] == expected
    loss = Opacity(OpacityConfig())
    loss.start(toy_mesh(), replace(views, photo_index=None), CPU)
    assert all(loss(loss_step(blobs(), views, index)) for index in range(4))


def test_opacity_has_nothing_to_say_of_a_view_without_a_person():
    views = toy_views()
    views = replace(views, alpha=torch.zeros_like(views.alpha))
    loss = Opacity(OpacityConfig())
    loss.start(toy_mesh(), views, CPU)
    assert loss(loss_step(blobs(), views, 1)) == {}


def slant(representation) -> torch.Tensor:
    """Degrees between each Gaussian's shortest axis and the normal of the nearest triangle."""
    gaussians, mesh = representation.gaussians().detach(), toy_mesh()
    centers, rotations, _ = triangle_frames(mesh.vertices, mesh.faces)
    normals = rotations[torch.cdist(gaussians.means, centers).argmin(1), :, 1]
    axes = torch.stack([quat_to_matrix(q)[:, int(s.argmin())] for q, s in zip(gaussians.quats, gaussians.scales)])
    return torch.rad2deg(torch.acos((axes * normals).sum(1).abs().clamp(max=1)))


@pytest.mark.parametrize("name", ["triangles", "unbound"])
def test_normals_lays_gaussians_flat_on_the_mesh(name):
    torch.manual_seed(0)
    representation = build(Representation, name, points_per_face=1, hull_points=0, quats_rate=0.05)
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    with torch.no_grad():
        representation.splats["quats"] += 0.5 * torch.randn_like(representation.splats["quats"])
    before = slant(representation)
    losses = {"normals": build(Loss, "normals", weight=1.0)}
    found = minimize(losses, representation, toy_views(), 60, build(Renderer, "cpu"))
    assert found[-1]["normals"] < 0.2 * found[0]["normals"]
    assert float(slant(representation).mean()) < 0.4 * float(before.mean())


def test_normals_are_invariant_to_a_flip_and_zero_where_all_lie_flat():
    representation = build(Representation, "triangles", points_per_face=1, hull_points=0)
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    loss = Normals(NormalsConfig())
    loss.start(toy_mesh(), toy_views(), CPU)
    assert float(loss(loss_step(representation, toy_views(), 0))["normals"].detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():  # half a turn about x, which flips y and z
        w, x, y, z = representation.splats["quats"].unbind(1)
        representation.splats["quats"][:] = torch.stack([-x, w, z, -y], 1)
    assert float(loss(loss_step(representation, toy_views(), 0))["normals"].detach()) == pytest.approx(0, abs=1e-6)


def test_normals_leave_alone_what_is_far_from_the_mesh():
    mesh, loss = toy_mesh(), Normals(NormalsConfig(reach=0.005))
    loss.start(mesh, toy_views(), CPU)
    for height, counts in ((0.004, True), (0.006, False), (-0.006, False)):
        representation = blobs()
        centers, rotations, _ = triangle_frames(mesh.vertices, mesh.faces)
        with torch.no_grad():
            representation.splats["means"][:] = (centers + height * rotations[:, :, 1])[: len(mesh.vertices)]
            representation.splats["scales"] += torch.rand(3, generator=torch.Generator().manual_seed(0))
        loss._nearest = None
        assert bool(loss(loss_step(representation, toy_views(), 0))) == counts
    in_millimeters = replace(mesh, vertices=1000 * mesh.vertices, units_per_meter=1000.0)
    loss.start(in_millimeters, toy_views(), CPU)
    with torch.no_grad():
        representation.splats["means"][:] = (1000 * centers + 4.0 * rotations[:, :, 1])[: len(mesh.vertices)]
    loss._nearest = None
    assert loss(loss_step(representation, toy_views(), 0))
