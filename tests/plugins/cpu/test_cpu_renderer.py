"""The plugin `cpu`: what it draws and what it tells densifiers."""

import pytest
import torch
from instax3d_plugins.cpu import autograd
from instax3d_plugins.cpu.autograd import _check_shapes
from instax3d_plugins.cpu.config import CpuConfig
from instax3d_plugins.cpu.renderer import CpuRenderer

from instax3d.errors import RenderError
from instax3d.types import Cameras, Gaussians


def _cameras(count: int = 1, width: int = 40, height: int = 24) -> Cameras:
    views = torch.eye(4).repeat(count, 1, 1)
    views[:, 2, 3] = 4.0 + torch.arange(count)
    intrinsics = torch.tensor([[40.0, 0, width / 2], [0, 40.0, height / 2], [0, 0, 1]]).repeat(count, 1, 1)
    return Cameras(views, intrinsics, width, height)


def _gaussians(count: int = 30, bands: int = 4) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator) * 0.4,
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.rand(count, 3, generator=generator) * 0.2 + 0.02,
        opacities=torch.rand(count, generator=generator),
        sh=torch.randn(count, bands, 3, generator=generator) * 0.3,
    )


def test_an_empty_scene_is_background():
    render = CpuRenderer(CpuConfig()).render(_gaussians(0), _cameras(2), background=torch.tensor([0.1, 0.5, 0.9]))
    assert render.image.shape == (2, 3, 24, 40)
    assert torch.equal(render.image[1, :, 3, 4], torch.tensor([0.1, 0.5, 0.9]))
    assert render.alpha.sum() == 0
    assert render.depth.sum() == 0


def test_one_opaque_gaussian_is_where_it_should_be():
    one = Gaussians(
        means=torch.tensor([[0.5, -0.25, 0.0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), 0.1),
        opacities=torch.tensor([0.99]),
        sh=torch.tensor([[[1.0, 0.0, -1.0]]]),
    )
    render = CpuRenderer(CpuConfig()).render(one, _cameras(), background=torch.zeros(3))
    row, column = divmod(int(render.alpha[0, 0].argmax()), 40)
    # x = 20 + 40 * 0.5 / 4 = 25 lies between pixels 24 and 25, y = 12 - 2.5 = 9.5 in the middle of pixel 9
    assert column in (24, 25)
    assert row == 9
    assert render.depth[0, 0, row, column] == pytest.approx(4.0)
    color = render.image[0, :, row, column] / render.alpha[0, 0, row, column]
    assert torch.allclose(color, 0.5 + 0.28209479 * torch.tensor([1.0, 0.0, -1.0]), atol=1e-5)


def test_info_holds_what_densifiers_read():
    gaussians = _gaussians()
    means = gaussians.means.requires_grad_()
    render = CpuRenderer(CpuConfig()).render(gaussians, _cameras(2), background=torch.ones(3), absgrad=True)
    info = render.info
    assert (info["width"], info["height"], info["n_cameras"], info["gaussian_ids"]) == (40, 24, 2, None)
    assert info["radii"].shape == (2, 30, 2)
    info["means2d"].retain_grad()
    render.image.square().sum().backward()
    assert info["means2d"].grad.shape == info["means2d"].absgrad.shape == (2, 30, 2)
    assert (info["means2d"].absgrad >= info["means2d"].grad.abs() * (1 - 1e-4) - 1e-6).all()
    assert (info["means2d"].absgrad > 0).any()
    assert means.grad.isfinite().all()
    assert means.grad.abs().max() > 0


def test_tensors_elsewhere_are_refused():
    there = _gaussians().means.to("meta")
    gaussians = _gaussians()
    moved = Gaussians(there, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
    with pytest.raises(RenderError, match="move it to the CPU"):
        CpuRenderer(CpuConfig()).render(moved, _cameras(), background=torch.ones(3))


def test_too_high_a_degree_is_refused():
    with pytest.raises(RenderError, match="degree at most 3"):
        CpuRenderer(CpuConfig()).render(_gaussians(bands=25), _cameras(), background=torch.ones(3))


def test_lengths_that_differ_are_refused():
    """Without type checks, as users run it."""
    gaussians, cameras = _gaussians(), _cameras()
    tensors = [gaussians.means, gaussians.quats[:-1], gaussians.scales, gaussians.opacities, gaussians.sh]
    with pytest.raises(RenderError, match=r"but was given \[30, 3\], \[29, 4\]"):
        _check_shapes([*tensors, cameras.viewmats, cameras.Ks], 1)


def test_sums_beyond_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(autograd, "_physical_memory", lambda: 1000.0)
    with pytest.raises(RenderError, match="which takes 0 GiB: use fewer or smaller"):
        CpuRenderer(CpuConfig()).render(_gaussians(), _cameras(), background=torch.ones(3))
