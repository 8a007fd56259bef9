"""Threads of numba and torch."""

import subprocess
import sys

import pytest

MODULES = (
    "instax3d.geometry.mesh_raster",
    "instax3d.splats.photometric",
    "instax3d.fitting",
    "instax3d_plugins.cpu.renderer",
    "instax3d_plugins.triangles.representation",
)

FIRST_USES = {
    "rasterizer of meshes": """
from instax3d.geometry.mesh_raster import rasterize
rasterize(np.eye(3), np.array([[0, 1, 2]]), np.eye(4), np.eye(3), 4, 4)
""",
    "photometric loss": """
from instax3d.splats.photometric import photometric_loss
photometric_loss(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))
""",
    "renderer": """
from instax3d.interfaces import Renderer
from instax3d.registry import build
from instax3d.testing import toy_cameras, toy_gaussians
build(Renderer, "cpu").render(toy_gaussians(), toy_cameras(1), background=torch.ones(3))
""",
    "representation": """
from instax3d.interfaces import Representation
from instax3d.registry import build
from instax3d.testing import toy_mesh, toy_views
triangles = build(Representation, "triangles", hull_points=0)
triangles.initialize(toy_mesh(), toy_views(), seed=0)
triangles.gaussians()
triangles.regularization()
""",
    "one thread": """
from instax3d.fitting.single_thread import one_thread
with one_thread():
    assert torch.get_num_threads() == 1
""",
}


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_modules_with_kernels_starts_no_threads():
    run(
        f"import importlib\nfor name in {MODULES}: importlib.import_module(name)\n"
        "from numba.np.ufunc import parallel\nassert not parallel._is_initialized"
    )


@pytest.mark.parametrize("use", FIRST_USES.values(), ids=FIRST_USES.keys())
def test_the_first_kernel_starts_numba_and_leaves_torch_s_threads_alone(use: str):
    run(
        "import instax3d\nimport numpy as np, torch\ntorch.set_num_threads(3)\n"
        + use
        + "assert torch.get_num_threads() == 3\n"
        "from instax3d.geometry.numba_threads import start_numba_threads\n"
        "from numba.np.ufunc import parallel\n"
        "assert parallel._is_initialized and start_numba_threads.cache_info().currsize"
    )
