"""The photometric loss and the image metrics, against plain formulas in float64."""

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from instax3d.splats.photometric import alpha_loss, photometric_loss, psnr, ssim


def _reference_ssim(image, target):
    """SSIM with the full 11x11 window, written down without the separation into two passes."""
    taps = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(taps / taps.sum(), taps / taps.sum()).expand(3, 1, 11, 11)

    def blur(x):
        return conv2d(x, window, padding=5, groups=3)

    mean_x, mean_y = blur(image), blur(target)
    var_x, var_y = blur(image**2) - mean_x**2, blur(target**2) - mean_y**2
    covariance = blur(image * target) - mean_x * mean_y
    top = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    return top / ((mean_x**2 + mean_y**2 + 0.01**2) * (var_x + var_y + 0.03**2))


def _reference_loss(image, target, ssim_weight, weight):
    loss = (1 - ssim_weight) * (image - target).abs() + ssim_weight * (1 - _reference_ssim(image, target))
    return (loss * weight).mean()


def _images(views, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image, target = torch.rand(2, views, 3, height, width, generator=generator)
    return image, target, torch.rand(views, 1, height, width, generator=generator)


@settings(max_examples=12, deadline=None)
@given(
    views=st.integers(1, 3), height=st.integers(1, 30), width=st.integers(1, 40), lam=st.sampled_from([0.0, 0.2, 1.0])
)
def test_value_and_gradient(views, height, width, lam):
    image, target, weight = _images(views, height, width)
    image.requires_grad_()
    exact = image.detach().double().requires_grad_()
    for w in (None, weight):
        image.grad = exact.grad = None
        loss = photometric_loss(image, target, ssim_weight=lam, weight=w)
        expected = _reference_loss(exact, target.double(), lam, torch.ones(1).double() if w is None else w.double())
        (2 * loss).backward()
        (2 * expected).backward()
        assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
        assert (image.grad - exact.grad).abs().max() <= 1e-5 * exact.grad.abs().max()


def test_rows_wider_than_a_block():
    image, target, weight = _images(1, 9, 1100)
    image.requires_grad_()
    exact = image.detach().double().requires_grad_()
    photometric_loss(image, target, weight=weight).backward()
    _reference_loss(exact, target.double(), 0.2, weight.double()).backward()
    assert (image.grad - exact.grad).abs().max() <= 1e-5 * exact.grad.abs().max()


def test_the_same_for_any_number_of_threads():
    image, target, weight = _images(1, 67, 45)
    results = []
    before = numba.get_num_threads()
    try:
        for threads in {1, before}:
            numba.set_num_threads(threads)
            leaf = image.clone().requires_grad_()
            loss = photometric_loss(leaf, target, weight=weight)
            loss.backward()
            results.append((loss.detach(), leaf.grad))
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[-1], strict=True))


def test_other_dtypes_and_layouts():
    image, target, weight = _images(2, 20, 16)
    loss = photometric_loss(image, target, weight=weight)
    strided = image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).double().requires_grad_()
    again = photometric_loss(strided, target.double(), weight=weight.double())
    again.backward()
    assert torch.equal(loss, again)
    assert strided.grad.dtype == torch.float64


def test_equal_images_cost_nothing_and_pull_nowhere():
    image, _, _ = _images(1, 16, 16)
    leaf = image.clone().requires_grad_()
    loss = photometric_loss(leaf, image)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert leaf.grad.abs().max() < 1e-6


def test_no_gradient_is_computed_where_none_is_needed():
    image, target, _ = _images(1, 8, 8)
    assert not photometric_loss(image, target).requires_grad


@settings(max_examples=12, deadline=None)
@given(views=st.integers(1, 3), height=st.integers(1, 300), width=st.integers(1, 40), weighted=st.booleans())
def test_alpha_loss_and_its_gradient(views, height, width, weighted):
    image, target, weight = _images(views, height, width)
    alpha, target = image[:, :1].clone().requires_grad_(), target[:, :1]
    target[..., ::2] = alpha.detach()[..., ::2]  # equal pixels pull nowhere
    loss = alpha_loss(alpha, target, weight=weight if weighted else None)
    exact = alpha.detach().double().requires_grad_()
    expected = ((exact - target).abs() * (weight.double() if weighted else 1)).mean()
    (3 * loss).backward()
    (3 * expected).backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(alpha.grad.double(), exact.grad, rtol=1e-5, atol=1e-10)


def test_psnr_and_ssim():
    image, target, _ = _images(2, 24, 24)
    shifted = torch.stack([image[0], (image[0] * 0.5).clamp(0, 1)])
    assert psnr(image, image).tolist() == [100.0, 100.0]
    mse = (image[1] - target[1]).square().mean()
    assert psnr(image, target)[1].item() == pytest.approx(-10 * mse.log10().item(), abs=1e-4)
    assert ssim(image, image).tolist() == pytest.approx([1, 1], abs=1e-5)
    expected = _reference_ssim(image.double(), shifted.double()).mean((1, 2, 3))
    assert ssim(image, shifted).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_metrics_clamp_the_render(metric):
    image, target, _ = _images(1, 12, 12)
    assert torch.equal(metric(image * 4 - 1, target), metric((image * 4 - 1).clamp(0, 1), target))
