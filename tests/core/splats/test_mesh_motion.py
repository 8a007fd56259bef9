"""Gaussians follow a moving mesh: rigidly where it moves rigidly, and untouched where it does not move."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from instax3d.geometry.rotations import matrix_to_quat, quat_multiply, quat_to_matrix, triangle_frames
from instax3d.geometry.spherical_harmonics import rotate_sh
from instax3d.splats.mesh_motion import move_with_mesh, nearest_faces
from instax3d.testing import toy_gaussians, toy_mesh
from instax3d.types import Gaussians

MESH = toy_mesh()


def drawn(count: int = 60, seed: int = 0, reach: float = 1.0) -> tuple[Gaussians, torch.Tensor]:
    """Gaussians in and around the ball, and their triangles; those with ``reach`` 1 within their triangle's scale."""
    gaussians = toy_gaussians(count, seed, sh_degree=3)
    generator = torch.Generator().manual_seed(seed)
    binding = torch.randint(len(MESH.faces), (count,), generator=generator)
    center, _, size = (part[binding] for part in triangle_frames(MESH.vertices, MESH.faces))
    offset = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    means = center + reach * size[:, None] * offset * torch.rand(count, 1, generator=generator)
    return Gaussians(means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh), binding


def covariances(gaussians: Gaussians) -> torch.Tensor:
    axes = quat_to_matrix(gaussians.quats) * gaussians.scales[:, None]
    return axes @ axes.transpose(1, 2)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 3.0, 20.0]), st.floats(0.5, 2.0))
def test_a_similarity_moves_all_gaussians_alike(seed, reach, scale):
    gaussians, binding = drawn(seed=seed, reach=reach)
    generator = torch.Generator().manual_seed(seed + 1)
    quat = torch.nn.functional.normalize(torch.randn(4, generator=generator), dim=0)
    turn, shift = quat_to_matrix(quat), torch.randn(3, generator=generator)
    moved = move_with_mesh(gaussians, binding, MESH.faces, MESH.vertices, scale * MESH.vertices @ turn.T + shift)
    torch.testing.assert_close(moved.means, scale * gaussians.means @ turn.T + shift, atol=2e-5, rtol=0)
    expected = scale**2 * turn @ covariances(gaussians) @ turn.T
    torch.testing.assert_close(covariances(moved), expected, atol=1e-7, rtol=1e-3)
    torch.testing.assert_close(moved.sh, rotate_sh(gaussians.sh, turn.expand(60, 3, 3)), atol=1e-3, rtol=0)
    assert moved.opacities is gaussians.opacities


@pytest.mark.parametrize("axis", range(3))
def test_a_half_turn_is_no_exception(axis):
    """Where a quaternion and its negative are equally near to no turn."""
    gaussians, binding = drawn(reach=20.0)
    turn = -torch.eye(3)
    turn[axis, axis] = 1.0
    spare = torch.zeros(2, 3)  # vertices without a triangle
    before, after = torch.cat([MESH.vertices, spare]), torch.cat([MESH.vertices @ turn.T, spare])
    moved = move_with_mesh(gaussians, binding, MESH.faces, before, after)
    torch.testing.assert_close(moved.means, gaussians.means @ turn.T, atol=2e-5, rtol=0)


def test_what_does_not_move_keeps_its_bits():
    gaussians, binding = drawn(reach=20.0)
    assert move_with_mesh(gaussians, binding, MESH.faces, MESH.vertices, MESH.vertices.clone()) is gaussians
    # the top vertex alone
    after = MESH.vertices.clone()
    after[0, 1] += 0.02
    moved = move_with_mesh(gaussians, binding, MESH.faces, MESH.vertices, after)
    lowest = MESH.vertices[MESH.faces[binding], 1].amax(1) < -0.05
    assert bool(lowest.any())
    for one, other in zip(vars(gaussians).values(), vars(moved).values(), strict=True):
        assert torch.equal(one[lowest], other[lowest])
    assert not torch.equal(moved.means, gaussians.means)


def test_near_gaussians_follow_the_frame_of_their_triangle():
    gaussians, binding = drawn()
    after = MESH.vertices + 0.01 * torch.randn(MESH.vertices.shape, generator=torch.Generator().manual_seed(5))
    moved = move_with_mesh(gaussians, binding, MESH.faces, MESH.vertices, after)
    (c0, r0, s0), (c1, r1, s1) = (
        tuple(part[binding] for part in triangle_frames(v, MESH.faces)) for v in (MESH.vertices, after)
    )
    local = torch.einsum("nji,nj->ni", r0, gaussians.means - c0) / s0[:, None]
    torch.testing.assert_close(moved.means, torch.einsum("nij,nj->ni", r1, local) * s1[:, None] + c1, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.scales, gaussians.scales * (s1 / s0)[:, None])
    turn = matrix_to_quat(r1 @ r0.transpose(1, 2))
    torch.testing.assert_close(moved.quats, quat_multiply(turn, gaussians.quats), atol=1e-5, rtol=0)


def test_far_gaussians_of_neighbors_stay_together():
    """A fold between two triangles turns what stands far from them by about the same."""
    mesh = toy_mesh(rings=40, spokes=60)
    after = mesh.vertices.clone()
    after += 0.002 * torch.randn(after.shape, generator=torch.Generator().manual_seed(0))
    means = torch.tensor([[0.0, 0.0, 0.2], [0.001, 0.0, 0.2]]).repeat(1, 1)
    frames = triangle_frames(mesh.vertices, mesh.faces)
    nearest = (frames[0] - means[0]).norm(dim=1).argsort()
    gaussians = toy_gaussians(2)
    gaussians = Gaussians(means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
    turns = frames[1].transpose(1, 2)
    after_turns = triangle_frames(after, mesh.faces)[1]
    for pair in (nearest[:2], nearest[2:4]):
        moved = move_with_mesh(gaussians, pair, mesh.faces, mesh.vertices, after).means
        alone = [after_turns[face] @ turns[face] @ torch.tensor([0.0, 0.0, 0.1]) for face in pair]
        assert float((moved[0] - moved[1]).norm()) < 0.2 * float((alone[0] - alone[1]).norm())


def test_a_degenerate_triangle_gives_finite_gaussians():
    vertices = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [1, 2, 3], [0, 3, 4]])
    after = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1]])
    gaussians = toy_gaussians(3, sh_degree=1)
    for start in (vertices, 0 * vertices):
        moved = move_with_mesh(gaussians, torch.tensor([0, 1, 2]), faces, start, after)
        assert all(bool(part.isfinite().all()) for part in vars(moved).values())


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_triangle_is_that_under_the_gaussian(seed):
    binding = torch.randint(len(MESH.faces), (50,), generator=torch.Generator().manual_seed(seed))
    center, rotation, _ = (part[binding] for part in triangle_frames(MESH.vertices, MESH.faces))
    assert torch.equal(nearest_faces(MESH.vertices, MESH.faces, center + 1e-4 * rotation[:, :, 1]), binding)
