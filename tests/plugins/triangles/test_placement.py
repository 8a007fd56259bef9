"""The fused placement of bound Gaussians and the fused geometry constraint are what plain torch makes of them."""

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instax3d_plugins.triangles.placement import constraint, constraint_in_torch, frames_of, place, place_in_torch

from instax3d.testing import toy_mesh


def scene(seed: int, count: int, dtype: torch.dtype = torch.float32):
    """Frames, a binding and residuals, which want gradients."""
    generator = torch.Generator().manual_seed(seed)
    mesh = toy_mesh()
    vertices = mesh.vertices + 0.02 * torch.randn(mesh.vertices.shape, generator=generator)
    binding = torch.randint(len(mesh.faces), (count,), generator=generator)
    means, quats, scales = (torch.randn(count, k, generator=generator).to(dtype) for k in (3, 4, 3))
    residuals = means, quats * 10 ** means[:, :1], scales.exp()
    return frames_of(vertices.to(dtype), mesh.faces), binding, [part.requires_grad_() for part in residuals]


def held(seed: int, count: int, dtype: torch.dtype = torch.float32):
    """Means and logarithmic scales, which want gradients, and what the constraint holds them to."""
    generator = torch.Generator().manual_seed(seed)
    means, scales, anchors = (torch.randn(count, 3, generator=generator).to(dtype) for _ in range(3))
    scales[::3, 1] = scales[::3, 0]  # a gradient shared by equals
    reaches, limits = (2 * torch.rand(count, generator=generator).to(dtype) for _ in range(2))
    reaches[::5] = torch.inf  # let go
    return means.requires_grad_(), scales.requires_grad_(), anchors, reaches, limits


def gradients(outputs, leaves, seed: int = 9):
    generator = torch.Generator().manual_seed(seed)
    weighted = [(out * torch.randn(out.shape, generator=generator).to(out)).sum() for out in outputs]
    return torch.autograd.grad(torch.stack(weighted).sum(), leaves)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 5, 1023, 1025, 3000]))
def test_placement_is_that_of_torch(seed, count):
    frames, binding, residuals = scene(seed, count)
    fused, plain = (form(frames, binding, *residuals) for form in (place, place_in_torch))
    for ours, theirs in zip((*fused, *gradients(fused, residuals)), (*plain, *gradients(plain, residuals))):
        torch.testing.assert_close(
            ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.detach().abs().amax()) if count else 0
        )


def test_gradients_of_the_placement_are_right():
    frames, binding, residuals = scene(0, 7, torch.float64)
    assert torch.autograd.gradcheck(lambda *parts: place(frames, binding, *parts), residuals)


def test_a_moving_mesh_gets_gradients():
    mesh = toy_mesh()
    vertices = mesh.vertices.clone().requires_grad_()
    _, binding, residuals = scene(1, 50)
    place(frames_of(vertices, mesh.faces), binding, *residuals)[0].sum().backward()
    assert float(vertices.grad.abs().sum()) > 0


def test_a_quaternion_of_no_length_stays_finite():
    frames, binding, (means, quats, scales) = scene(2, 10)
    placed = place(frames, binding, means, torch.zeros_like(quats), scales)
    assert all(part.isfinite().all() for part in placed)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([1, 5, 1023, 1025, 3000]))
def test_the_constraint_is_that_of_torch(seed, count):
    means, scales, *rest = held(seed, count)
    fused, plain = (form(means, scales, *rest) for form in (constraint, constraint_in_torch))
    for ours, theirs in zip((*fused, *gradients(fused, [means, scales])), (*plain, *gradients(plain, [means, scales]))):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_gradients_of_the_constraint_are_right():
    means, scales, *rest = held(3, 8, torch.float64)
    with torch.no_grad():
        scales[::3, 1] -= 0.1  # where two are equal there is no derivative
    assert torch.autograd.gradcheck(lambda *parts: constraint(*parts, *rest), (means, scales))


def test_gaussians_on_their_anchors_feel_no_pull():
    means, scales, _, reaches, limits = held(4, 20)
    position, _ = constraint(means, scales, means.detach().clone(), torch.zeros_like(reaches), limits)
    (pull,) = torch.autograd.grad(position, means)
    assert torch.equal(pull, torch.zeros_like(pull))


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one processor")
def test_results_do_not_depend_on_the_number_of_threads():
    frames, binding, residuals = scene(5, 5000)
    means, scales, *rest = held(6, 5000)
    found = []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            placed, losses = place(frames, binding, *residuals), constraint(means, scales, *rest)
            found.append([*placed, *gradients(placed, residuals), *losses, *gradients(losses, [means, scales])])
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert all(torch.equal(one, two) for one, two in zip(*found))
