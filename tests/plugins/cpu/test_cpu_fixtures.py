"""`instax3d_plugins.cpu.rasterization` against independent float64 results with gsplat's semantics."""

import numpy as np
import pytest
import torch
from instax3d_plugins.cpu import rasterization

pytestmark = pytest.mark.fixtures

SCENES = (
    "scene0_sh0_nobg",
    "scene1_sh3_bg",
    "scene2_colors_2cam",
    "scene3_dense_2cam",
    "scene4_degenerate",
    "scene5_wide_offcentre",
)
TOLERANCE = 1e-4


class Scene:
    """One file: its inputs as leaves, and the comparison with its outputs."""

    def __init__(self, path):
        self.arrays = np.load(path)
        self.degree = int(self.arrays["in_sh_degree"])
        self.colors = "sh" if self.degree >= 0 else "colors"
        names = ("means", "quats", "scales", "opacities", self.colors)
        self.leaves = {name: torch.from_numpy(self.arrays[f"in_{name}"]).requires_grad_() for name in names}

    def draw(self, mode):
        arrays = self.arrays
        return rasterization(
            *self.leaves.values(),
            torch.from_numpy(arrays["in_viewmats"]),
            torch.from_numpy(arrays["in_Ks"]),
            int(arrays["in_width"]),
            int(arrays["in_height"]),
            sh_degree=self.degree if self.degree >= 0 else None,
            backgrounds=torch.from_numpy(arrays["in_backgrounds"]) if "in_backgrounds" in arrays else None,
            render_mode=mode,
        )

    def __getitem__(self, name):
        return torch.from_numpy(self.arrays[name])

    def assert_close(self, name, got):
        """Largest error against the largest value: no pixel and no Gaussian is left out.

        The margins of the files (scenes.json) are wide enough that float32 takes every threshold the same way; a pixel
        that did not would differ by 1/255 and fail.
        """
        expected = self[f"out_{name}"].double()
        error = (got.detach().double() - expected).abs().max() / expected.abs().max()
        assert error < TOLERANCE, f"{name}: relative error {error:.2e}"


@pytest.fixture(params=SCENES)
def scene(request, fixtures_dir):
    return Scene(fixtures_dir / "rasterization" / f"{request.param}.npz")


@pytest.mark.parametrize("with_depth", [False, True])
def test_images_and_gradients(scene, with_depth):
    image, alpha, meta = scene.draw("RGB+D" if with_depth else "RGB")
    meta["means2d"].retain_grad()
    loss = (image[..., :3] * scene["in_v_rgb"]).sum() + (alpha[..., 0] * scene["in_v_alpha"]).sum()
    suffix = ""
    if with_depth:
        loss = loss + (image[..., 3] * scene["in_v_depth"]).sum()
        scene.assert_close("depth", image[..., 3])
        suffix = "_with_depth"
    loss.backward()
    scene.assert_close("rgb", image[..., :3])
    scene.assert_close("alpha", alpha[..., 0])
    for name, leaf in scene.leaves.items():
        scene.assert_close(f"grad_{name}{suffix}", leaf.grad)
    scene.assert_close(f"grad_means2d{suffix}", meta["means2d"].grad)
    scene.assert_close(f"absgrad_means2d{suffix}", meta["means2d"].absgrad)


def test_meta(scene):
    _, _, meta = scene.draw("RGB")
    assert torch.equal(meta["radii"], scene["out_radii"])
    seen = (meta["radii"] > 0).all(-1)
    for name in ("means2d", "conics", "depths"):
        got, expected = meta[name][seen].detach().double(), scene[f"out_{name}"][seen]
        assert (got - expected).abs().max() < TOLERANCE * expected.abs().max(), name
        assert (meta[name][~seen] == 0).all()


def test_expected_depth(scene):
    for mode in ("ED", "RGB+ED"):
        image, _, _ = scene.draw(mode)
        scene.assert_close("expected_depth", image[..., -1])
