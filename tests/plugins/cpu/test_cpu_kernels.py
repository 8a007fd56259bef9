"""Compilation: announced, ahead of time, and nothing heavy before it is needed."""

import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from instax3d_plugins import cpu
from instax3d_plugins.cpu import notice
from instax3d_plugins.cpu.plugin import instax3d_plugins


def test_registration_imports_neither_torch_nor_numba():
    code = (
        "import sys, instax3d_plugins.cpu, instax3d_plugins.cpu.plugin, instax3d_plugins.cpu.config\n"
        "import instax3d_plugins.gsplat.plugin, instax3d_plugins.gsplat.config\n"
        "assert not {'torch', 'numba', 'gsplat'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_spec():
    (spec,) = instax3d_plugins()
    assert spec.name == "cpu"
    assert spec.provides == {"absgrad", "cpu"}


def test_warmup():
    from instax3d_plugins.cpu import warmup

    assert warmup() > 0
    # the name is still the function once its module has been imported
    assert cpu.warmup is warmup


def test_the_first_compilation_of_this_familys_kernels_is_announced_once(caplog):
    def kernel():
        pass

    def event(module):
        kernel.__module__ = module
        return SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=kernel)})

    listener = notice._Listener()
    with caplog.at_level(logging.INFO, logger="instax3d.cpu"):
        listener.on_start(event("scipy.somewhere"))
        listener.on_start(event("instax3d_plugins.mannequin.crossings"))
        assert caplog.messages == []
        listener.on_start(event("instax3d_plugins.cpu.projection"))
        listener.on_start(event("instax3d_plugins.cpu.binning"))
    assert len(caplog.messages) == 1
    assert "once per machine" in caplog.messages[0]


def test_numba_tells_the_listener(tmp_path):
    """In a fresh process without a cache, compiling a kernel is announced before it is done."""
    code = (
        "import logging\n"
        "logging.basicConfig(level=logging.INFO, format='%(name)s %(message)s')\n"
        "import numpy as np\n"
        "from instax3d_plugins.cpu import autograd, projection\n"
        "projection._row(np.zeros((1, 3), np.float32), 0)\n"
    )
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert "instax3d.cpu Compiling" in done.stderr
    again = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert "Compiling" not in again.stderr


@pytest.mark.parametrize("use", ["instax3d_plugins.cpu; instax3d_plugins.cpu.warmup()", "instax3d.splats.photometric"])
def test_torch_keeps_its_number_of_threads(use):
    code = f"import torch; torch.set_num_threads(1); import {use}; assert torch.get_num_threads() == 1"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_processor_without_vector_extensions(tmp_path):
    """Kernels compiled for the plainest processor of this kind draw the same within rounding."""
    code = (
        "import sys, torch\n"
        "from instax3d.testing.toys import toy_cameras, toy_gaussians\n"
        "from instax3d_plugins.cpu.config import CpuConfig\n"
        "from instax3d_plugins.cpu.renderer import CpuRenderer\n"
        "gaussians = toy_gaussians(200)\n"
        "gaussians.means.requires_grad_()\n"
        "render = CpuRenderer(CpuConfig()).render(gaussians, toy_cameras(2, 40), background=torch.ones(3))\n"
        "render.image.square().sum().backward()\n"
        "torch.save([render.image.detach(), gaussians.means.grad], sys.argv[1])\n"
    )
    plain = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    results = []
    for name, environment in (("native", dict(os.environ)), ("plain", plain)):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=environment)
        results.append(torch.load(tmp_path / name, weights_only=True))
    for native, generic in zip(*results, strict=True):
        assert (native - generic).abs().max() < 1e-5 * native.abs().max()
