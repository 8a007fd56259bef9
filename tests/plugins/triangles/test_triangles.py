"""Residual triangle Gaussians against the paper's Eq. 6 and the contract."""

from pathlib import Path

import numpy as np
import pytest
import torch
from instax3d_plugins.triangles.config import TrianglesConfig
from instax3d_plugins.triangles.placement import frames_of, place, place_in_torch
from instax3d_plugins.triangles.representation import TriangleGaussians

from instax3d.geometry.rotations import quat_to_matrix
from instax3d.splats.mesh_motion import move_with_mesh
from instax3d.testing import RepresentationSuite, toy_mesh, toy_views


class TestConformance(RepresentationSuite):
    @pytest.fixture
    def plugin(self):
        return TriangleGaussians(TrianglesConfig(hull_points=500, sh_degree=1))


@pytest.mark.fixtures
@pytest.mark.parametrize("form", [place, place_in_torch])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_binding_is_that_of_the_reference(fixtures_dir: Path, form, dtype, tolerance):
    data = np.load(fixtures_dir / "binding" / "binding.npz")

    def wanted(name: str) -> torch.Tensor:
        return torch.from_numpy(data[name]).to(dtype)

    def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
        return float((ours.detach().double() - theirs).norm() / theirs.norm())

    faces = torch.from_numpy(data["faces"]).long()
    binding = torch.from_numpy(data["face_index"]).long()
    vertices = wanted("vertices")
    if form is place_in_torch:  # kernels take frames as constants
        vertices.requires_grad_()
    residuals = [wanted(name).requires_grad_() for name in ("delta_mu", "delta_q_wxyz", "delta_s")]
    total = torch.zeros((), dtype=dtype)
    for pose in range(len(vertices)):
        means, quats, scales = form(frames_of(vertices[pose], faces), binding, *residuals)
        for ours, kind in ((means, "means"), (scales, "scales"), (quat_to_matrix(quats), "rotations")):
            assert error(ours, torch.from_numpy(data[f"out_{kind}"][pose])) < tolerance, kind
            total = total + (ours * wanted(f"v_{kind}")[pose]).sum()
    assert float(total.detach()) == pytest.approx(float(data["out_loss"]), rel=10 * tolerance)
    total.backward()
    for leaf, name in zip([*residuals, vertices], ("delta_mu", "delta_q", "delta_s", "vertices")):
        if leaf.requires_grad:
            assert error(leaf.grad, torch.from_numpy(data[f"grad_{name}"])) < 10 * tolerance, name


def ready(**options) -> TriangleGaussians:
    representation = TriangleGaussians(TrianglesConfig(**options))
    representation.initialize(toy_mesh(), toy_views(), seed=0)
    return representation


def test_each_triangle_starts_with_its_points_inside_it():
    mesh = toy_mesh()
    representation = ready(hull_points=0)
    binding = representation.splats["binding"]
    assert torch.equal(binding, torch.arange(len(mesh.faces)).repeat_interleave(4))
    a, b, c = mesh.vertices[mesh.faces[binding]].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    offset = ((representation.gaussians().means.detach() - a) * normal).sum(1) / normal.norm(dim=1)
    assert float(offset.abs().max()) < 1e-6


def test_gaussians_lie_flat_on_the_surface():
    gaussians = ready(hull_points=0).gaussians().detach()
    thinnest = quat_to_matrix(gaussians.quats)[torch.arange(len(gaussians)), :, gaussians.scales.argmin(1)]
    outwards = torch.nn.functional.normalize(gaussians.means, dim=-1)
    assert float((thinnest * outwards).sum(1).abs().median()) > 0.95


def test_gaussians_follow_a_moved_mesh():
    representation = ready()
    turn = quat_to_matrix(torch.tensor([0.9, 0.1, -0.3, 0.2]))
    rest, moved = representation.gaussians(), representation.gaussians(2 * representation.vertices @ turn.T + 1)
    torch.testing.assert_close(moved.means, 2 * rest.means @ turn.T + 1, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved.scales, 2 * rest.scales, atol=1e-6, rtol=1e-4)


def test_the_geometry_constraint_pulls_only_beyond_its_thresholds():
    representation = ready()
    assert all(
        float(loss.detach()) == 0 for loss in representation.regularization().values() if loss.requires_grad
    ) or (float(representation.regularization()["position"].detach()) == 0)
    with torch.no_grad():
        representation.splats["means"] += 5
        representation.splats["scales"] += 3
    losses = representation.regularization()
    assert float(losses["position"].detach()) > 0.01
    assert float(losses["scale"].detach()) > 0.1


def test_gaussians_of_the_hull_may_let_go():
    mesh, views = toy_mesh(), toy_views(8, 64)
    small = type(mesh)(mesh.vertices * 0.5, mesh.faces)
    pulls = []
    for hold in (True, False):
        representation = TriangleGaussians(TrianglesConfig(hold_hull=hold))
        representation.initialize(small, views, seed=0)
        with torch.no_grad():
            representation.splats["means"][4 * len(small.faces) :] += 5
        pulls.append(float(representation.regularization()["position"].detach()))
    assert pulls[0] > 0.01
    assert pulls[1] == 0


def test_colors_come_from_the_views():
    representation = ready(hull_points=0)
    gaussians = representation.gaussians().detach()
    wanted = 0.5 + 0.4 * torch.nn.functional.normalize(gaussians.means, dim=-1)
    facing = wanted[:, 1].sub(0.5).abs() < 0.25  # the poles are seen at a grazing angle only
    colors = 0.5 + 0.28209479 * gaussians.sh[:, 0]
    assert float((colors - wanted)[facing].abs().mean()) < 0.06


def test_what_the_mesh_lacks_starts_on_the_visual_hull():
    small = toy_mesh()
    small = type(small)(small.vertices * 0.5, small.faces)
    representation = TriangleGaussians(TrianglesConfig())
    representation.initialize(small, toy_views(8, 64), seed=0)
    radii = representation.gaussians().means.detach().norm(dim=1)
    extra = radii[4 * len(small.faces) :]
    assert len(extra) > 300
    assert 0.09 < float(extra.median()) < 0.12


def test_ghosts_of_the_visual_hull_hold_no_points():
    """Two balls before few cameras leave hulls where no ball is."""
    views = toy_views(4, 64)
    aside = torch.roll(views.alpha, 20, dims=3)
    both = type(views)(views.images, torch.maximum(views.alpha, aside), views.cameras, views.confidence)
    mesh = toy_mesh()
    representation = TriangleGaussians(TrianglesConfig())
    representation.initialize(type(mesh)(mesh.vertices * 0.5, mesh.faces), both, seed=0)
    assert float(representation.gaussians().means.detach().norm(dim=1).max()) < 0.2


def test_a_finished_portrait_is_posed_as_the_representation_moves():
    """What is near the mesh: farther away, posing averages over triangles."""
    mesh = toy_mesh()
    representation = TriangleGaussians(TrianglesConfig(hull_points=0, sh_degree=1))
    representation.initialize(mesh, toy_views(), seed=0)
    vertices = mesh.vertices + 0.01 * torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    binding = representation.binding()
    assert binding is not None
    rest, expected = representation.gaussians().detach(), representation.gaussians(vertices).detach()
    moved = move_with_mesh(rest, binding, mesh.faces, mesh.vertices, vertices)
    torch.testing.assert_close(moved.means, expected.means, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.scales, expected.scales, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(quat_to_matrix(moved.quats), quat_to_matrix(expected.quats), atol=1e-5, rtol=0)
