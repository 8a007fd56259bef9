"""Rotations and skinning, against scipy and by hand."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from instax3d.headmodel import rotation_matrices, skin

angles = st.floats(-3.0, 3.0)


@given(st.tuples(angles, angles, angles))
def test_rotations_are_scipys(axis_angle):
    expected = Rotation.from_rotvec(axis_angle).as_matrix()
    np.testing.assert_allclose(rotation_matrices(torch.tensor(axis_angle)).numpy(), expected, atol=2e-6)


def test_rotations_have_a_derivative_at_rest():
    forward = torch.func.jacfwd(rotation_matrices)(torch.zeros(3))
    backward = torch.func.jacrev(rotation_matrices)(torch.zeros(3))
    about_z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(forward[..., 2], about_z)
    torch.testing.assert_close(forward, backward)


def test_a_chain_of_joints_turns_like_an_arm():
    rest = torch.tensor([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [3.0, 0.0, 0.0]])
    joints = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    quarter = torch.tensor([[0.0, 0.0, torch.pi / 2], [0.0, 0.0, torch.pi / 2]])
    bent = skin(rest, joints, quarter, (-1, 0), torch.eye(3))
    # the second joint turns with the first, and about where the first has taken it
    torch.testing.assert_close(
        bent, torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.0]]), atol=1e-6, rtol=0
    )


def test_weights_blend():
    half = torch.tensor([[0.5, 0.5]])
    turn = torch.tensor([[0.0, 0.0, torch.pi]])
    moved = skin(torch.tensor([[1.0, 0.0, 2.0]]), torch.zeros(1, 3), turn, (-1,), half)
    torch.testing.assert_close(moved, torch.tensor([[0.0, 0.0, 2.0]]), atol=1e-6, rtol=0)
