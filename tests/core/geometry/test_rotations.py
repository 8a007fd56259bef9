"""Rotations and triangle frames."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instax3d.geometry.rotations import (
    barycentric_samples,
    matrix_to_quat,
    quat_multiply,
    quat_to_matrix,
    triangle_frames,
)


def random_quats(seed: int, count: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 4, generator=generator, dtype=torch.float64), dim=-1)


@given(st.integers(0, 10_000))
def test_matrix_and_quaternion_agree(seed):
    quats = random_quats(seed)
    back = matrix_to_quat(quat_to_matrix(quats))
    torch.testing.assert_close(back, torch.where(quats[:, :1] < 0, -quats, quats), atol=1e-12, rtol=0)


def test_half_turns_have_a_quaternion():
    turns = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]]))
    torch.testing.assert_close(quat_to_matrix(matrix_to_quat(turns)), turns)


@given(st.integers(0, 10_000))
def test_product_of_quaternions_is_product_of_matrices(seed):
    a, b = random_quats(seed), random_quats(seed + 1)
    torch.testing.assert_close(quat_to_matrix(quat_multiply(a, b)), quat_to_matrix(a) @ quat_to_matrix(b))


@given(st.integers(0, 10_000), st.floats(0.1, 10))
def test_frames_move_with_the_triangle(seed, factor):
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    faces = torch.arange(30).reshape(10, 3)
    rotation, shift = quat_to_matrix(random_quats(seed, 1)[0]), torch.tensor([1.0, -2, 3], dtype=torch.float64)
    centers, frames, sizes = triangle_frames(vertices, faces)
    moved_centers, moved_frames, moved_sizes = triangle_frames(factor * vertices @ rotation.T + shift, faces)
    torch.testing.assert_close(moved_centers, factor * centers @ rotation.T + shift)
    torch.testing.assert_close(moved_frames, rotation @ frames)
    torch.testing.assert_close(moved_sizes, factor * sizes)


def test_a_degenerate_triangle_gets_a_finite_frame():
    _, frames, sizes = triangle_frames(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    assert frames.isfinite().all()
    assert sizes.item() == pytest.approx(0)


def test_barycentric_weights_are_uniform():
    weights = barycentric_samples(1, 40_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weights.sum(1), torch.ones(40_000))
    torch.testing.assert_close(weights.mean(0), torch.full((3,), 1 / 3), atol=0.01, rtol=0)
    torch.testing.assert_close((weights**2).mean(0), torch.full((3,), 1 / 6), atol=0.01, rtol=0)
