"""The plugin `gsplat` says exactly what is missing; what it draws is compared where there is a GPU."""

import sys
import types

import pytest
import torch
from instax3d_plugins.gsplat import probe
from instax3d_plugins.gsplat.config import GsplatConfig
from instax3d_plugins.gsplat.renderer import GsplatRenderer

from instax3d.errors import RenderError
from instax3d.testing.toys import toy_cameras, toy_gaussians

needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def pretend(monkeypatch, *, cuda=None, gpu=False, backend=None):
    """A torch and a gsplat backend that look as told."""
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    module = types.ModuleType("gsplat.cuda._backend")
    if isinstance(backend, Exception):

        def fail(name):
            raise backend

        monkeypatch.setattr(probe.importlib, "import_module", fail)
    else:
        module._C = backend
        monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", module)


def test_torch_without_cuda(monkeypatch):
    pretend(monkeypatch)
    with pytest.raises(RenderError, match="install a CUDA build of torch, or choose renderer=cpu"):
        GsplatRenderer(GsplatConfig())


def test_no_gpu(monkeypatch):
    pretend(monkeypatch, cuda="12.4")
    with pytest.raises(RenderError, match=r"built for CUDA 12\.4\) finds none: check the driver"):
        GsplatRenderer(GsplatConfig())


def test_no_toolkit(monkeypatch):
    pretend(monkeypatch, cuda="12.4", gpu=True)
    with pytest.raises(RenderError, match=r"needs nvcc .* install CUDA 12\.4 and set CUDA_HOME"):
        GsplatRenderer(GsplatConfig())


def test_failed_build(monkeypatch):
    pretend(monkeypatch, cuda="12.4", gpu=True, backend=RuntimeError("Error building extension 'gsplat_cuda'"))
    with pytest.raises(RenderError, match=r"could not build its CUDA kernels .*Error building extension"):
        GsplatRenderer(GsplatConfig())


def test_gaussians_on_the_cpu_are_refused(monkeypatch):
    pretend(monkeypatch, cuda="12.4", gpu=True, backend=object())
    renderer = GsplatRenderer(GsplatConfig())
    with pytest.raises(RenderError, match="got Gaussians on cpu: move them to cuda"):
        renderer.render(toy_gaussians(), toy_cameras(), background=torch.ones(3))


@needs_no_cuda
def test_without_a_gpu_it_refuses_to_be_made():
    with pytest.raises(RenderError, match="renderer=cpu"):
        GsplatRenderer(GsplatConfig())


@needs_cuda
def test_draws_what_the_cpu_draws():
    from instax3d_plugins.cpu.config import CpuConfig
    from instax3d_plugins.cpu.renderer import CpuRenderer

    gaussians, cameras = toy_gaussians(), toy_cameras()
    there = type(gaussians)(*(t.cuda() for t in vars(gaussians).values()))
    ours = CpuRenderer(CpuConfig()).render(gaussians, cameras, background=torch.ones(3))
    theirs = GsplatRenderer(GsplatConfig()).render(there, cameras.to("cuda"), background=torch.ones(3).cuda())
    assert torch.allclose(ours.image, theirs.image.cpu(), atol=1e-4)
    assert torch.allclose(ours.depth, theirs.depth.cpu(), atol=1e-3)
