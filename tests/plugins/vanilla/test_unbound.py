"""Unbound Gaussians start where bound ones do, and follow nothing."""

import pytest
import torch
from instax3d_plugins.vanilla.config import UnboundConfig
from instax3d_plugins.vanilla.representation import UnboundGaussians

from instax3d.errors import IncompatiblePipelineError
from instax3d.geometry.rotations import quat_to_matrix
from instax3d.interfaces import Representation
from instax3d.registry import build
from instax3d.testing import RepresentationSuite, toy_mesh, toy_views


class TestConformance(RepresentationSuite):
    @pytest.fixture
    def plugin(self):
        return UnboundGaussians(UnboundConfig(hull_points=500, sh_degree=1))


def started(**options) -> UnboundGaussians:
    representation = UnboundGaussians(UnboundConfig(**options))
    representation.initialize(toy_mesh(), toy_views(8, 64), seed=0)
    return representation


def test_it_starts_as_bound_gaussians_do():
    bound = build(Representation, "triangles")
    bound.initialize(toy_mesh(), toy_views(8, 64), seed=0)
    ours, theirs = started().gaussians().detach(), bound.gaussians().detach()
    torch.testing.assert_close(ours.means, theirs.means, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.sh, theirs.sh)

    def covariances(gaussians):
        axes = quat_to_matrix(gaussians.quats) * gaussians.scales[:, None]
        return axes @ axes.transpose(1, 2)

    torch.testing.assert_close(covariances(ours), covariances(theirs), atol=1e-8, rtol=1e-3)


def test_without_the_mesh_they_start_all_over_the_hull():
    means = started(points_per_face=0).gaussians().means.detach()
    assert len(means) > 300
    assert 0.09 < float(means.norm(dim=1).median()) < 0.12
    octants = {tuple(row) for row in (means > 0).tolist()}
    assert len(octants) == 8


def test_a_start_without_points_is_refused():
    with pytest.raises(ValueError, match="no initial Gaussians"):
        started(points_per_face=0, hull_points=0)


def test_colors_may_start_gray():
    assert float(started(colors_from_views=False).splats["sh0"].detach().abs().max()) == 0


def test_rates_are_in_meters():
    representation = UnboundGaussians(UnboundConfig(means_rate=0.001))
    mesh = toy_mesh()
    representation.initialize(type(mesh)(mesh.vertices, mesh.faces, units_per_meter=5.0), toy_views(), seed=0)
    assert representation.learning_rates()["means"] == pytest.approx(0.005)


def test_they_follow_no_mesh():
    with pytest.raises(IncompatiblePipelineError, match="representation=triangles"):
        started().gaussians(toy_mesh().vertices)
