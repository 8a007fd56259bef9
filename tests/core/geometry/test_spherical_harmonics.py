"""Spherical harmonics against the formulas of 3D Gaussian Splatting, and their rotation against its meaning."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instax3d.geometry.rotations import quat_to_matrix
from instax3d.geometry.spherical_harmonics import rotate_sh, sh_basis


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def directions(seed: int, count: int = 20) -> torch.Tensor:
    return torch.nn.functional.normalize(drawn(seed, count, 3), dim=1)


def test_the_first_degrees_are_those_of_3d_gaussian_splatting():
    at = directions(0)
    x, y, z = at.T
    expected = [
        torch.full_like(x, 0.28209479177387814),
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * z * z - x * x - y * y),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (x * x - y * y),
        -0.5900435899266435 * y * (3 * x * x - y * y),
        2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
        0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
        -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
        1.445305721320277 * z * (x * x - y * y),
        -0.5900435899266435 * x * (x * x - 3 * y * y),
    ]
    torch.testing.assert_close(sh_basis(3, at), torch.stack(expected, 1))


def test_the_basis_is_orthonormal():
    count = 20_000
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * index / count, math.pi * (1 + math.sqrt(5)) * index
    around = (1 - z**2).sqrt()
    values = sh_basis(4, torch.stack([around * turn.cos(), around * turn.sin(), z], 1))
    torch.testing.assert_close(
        4 * math.pi * values.T @ values / count, torch.eye(25, dtype=torch.float64), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("degree", range(5))
@given(seed=st.integers(0, 10_000))
def test_a_turned_function_has_its_values_at_the_turned_directions(degree, seed):
    sh, at = drawn(seed, 7, (degree + 1) ** 2, 3), directions(seed)
    rotations = quat_to_matrix(drawn(seed + 1, 7, 4))
    before = torch.einsum("db,nbc->ndc", sh_basis(degree, at), sh)
    turned = sh_basis(degree, torch.einsum("nij,dj->ndi", rotations, at))
    after = torch.einsum("ndb,nbc->ndc", turned, rotate_sh(sh, rotations))
    torch.testing.assert_close(after, before, atol=1e-9, rtol=0)


def test_single_precision_is_enough():
    sh, rotations = drawn(0, 50, 16, 3), quat_to_matrix(drawn(1, 50, 4))
    torch.testing.assert_close(
        rotate_sh(sh.float(), rotations.float()), rotate_sh(sh, rotations).float(), atol=2e-5, rtol=0
    )
