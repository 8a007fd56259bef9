"""LPIPS by VGG16 with seeded weights: the formula written out, and a loss that does what it says."""

import math

import pytest
import torch
from instax3d_plugins.lpips.config import LpipsConfig
from instax3d_plugins.lpips.loss import Lpips
from instax3d_plugins.lpips.vgg import PerceptualDistance
from torch.nn import functional

from instax3d.errors import AssetError
from instax3d.testing import BlobGaussians, LossSuite, loss_step, toy_mesh, toy_views

# torchvision's `vgg16().features`: the convolutions by their index, with channels in and out
LAYERS = {
    0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256),
    17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
}  # fmt: skip
POOLINGS, COMPARED = (4, 9, 16, 23), (3, 8, 15, 22, 29)
"""Indices of the poolings, and of the ReLUs after conv1_2, conv2_2, conv3_3, conv4_3 and conv5_3."""


@pytest.fixture(scope="module")
def states():
    """torchvision's state and LPIPS's, drawn from a seed."""
    generator = torch.Generator().manual_seed(0)
    vgg16 = {"classifier.0.weight": torch.zeros(2, 2)}
    for index, (before, after) in LAYERS.items():
        spread = math.sqrt(2 / (9 * before))
        vgg16[f"features.{index}.weight"] = spread * torch.randn(after, before, 3, 3, generator=generator)
        vgg16[f"features.{index}.bias"] = 0.05 * torch.randn(after, generator=generator)
    widths = (64, 128, 256, 512, 512)
    linear = {
        f"lin{stage}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator)
        for stage, width in enumerate(widths)
    }
    return vgg16, linear


@pytest.fixture(scope="module")
def folder(states, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for name, state in zip(("vgg16-397923af.pth", "vgg.pth"), states):
        torch.save(state, folder / name)
    return folder


def written_out(states, image, target):
    """LPIPS 0.1, layer by layer."""
    vgg16, linear = states
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    kept = []
    for picture in (image, target):
        x = ((picture * 2 - 1) - shift[:, None, None]) / scale[:, None, None]
        features = []
        for index in range(30):
            if index in LAYERS:
                x = functional.conv2d(x, vgg16[f"features.{index}.weight"], vgg16[f"features.{index}.bias"], padding=1)
            elif index in POOLINGS:
                x = functional.max_pool2d(x, 2, 2)
            else:
                x = x.clamp_min(0)
            if index in COMPARED:
                features.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        kept.append(features)
    parts = []
    for stage, (a, b) in enumerate(zip(*kept)):
        apart = functional.conv2d((a - b) ** 2, linear[f"lin{stage}.model.1.weight"])
        parts.append(apart.mean((2, 3)).sum())
    return torch.stack(parts).sum()


def test_it_is_the_published_formula(states):
    generator = torch.Generator().manual_seed(1)
    image, target = torch.rand(2, 1, 3, 48, 40, generator=generator)
    network = PerceptualDistance.of(*states)
    assert float(network(image, target)) == pytest.approx(float(written_out(states, image, target)), rel=1e-5)
    assert float(network(image, image)) == 0
    blank = torch.zeros(1, 1, 48, 40)
    assert float(network(image, target, blank)) == 0
    assert float(network(image, target, blank + 0.5)) == pytest.approx(float(network(image, target)) / 2, rel=1e-5)


def test_no_gradient_is_infinite_where_images_agree(states):
    image = torch.ones(1, 3, 32, 32, requires_grad=True)
    network = PerceptualDistance.of(*states)
    network(image, torch.ones(1, 3, 32, 32)).backward()
    assert image.grad.isfinite().all()


@pytest.mark.parametrize(
    ("which", "name", "value", "said"),
    [
        (0, "features.28.bias", None, r"features\.28\.bias is missing"),
        (0, "features.0.weight", torch.zeros(64, 1, 3, 3), r"features\.0\.weight has the shape \[64, 1, 3, 3\], not"),
        (1, "lin4.model.1.weight", torch.zeros(1, 64, 1, 1), r"lin4\.model\.1\.weight has the shape"),
    ],
)
def test_other_weights_are_refused_in_a_sentence(states, tmp_path, which, name, value, said):
    changed = [dict(state) for state in states]
    changed[which].pop(name)
    changed[which] |= {} if value is None else {name: value}
    for file, state in zip(("vgg16-397923af.pth", "vgg.pth"), changed):
        torch.save(state, tmp_path / file)
    with pytest.raises(AssetError, match=f"do not hold the weights of LPIPS.*{said}"):
        Lpips(LpipsConfig(weights=str(tmp_path))).start(toy_mesh(), toy_views(), torch.device("cpu"))


def test_without_weights_the_way_to_them_is_told():
    with pytest.raises(AssetError, match="assets get lpips-vgg16"):
        Lpips(LpipsConfig()).start(toy_mesh(), toy_views(), torch.device("cpu"))


class TestLpips(LossSuite):
    @pytest.fixture
    def plugin(self, folder):
        return Lpips(LpipsConfig(weights=str(folder)))


def test_minimizing_it_brings_the_picture_closer(folder):
    """Colors and places of the Gaussians, with no other loss."""
    loss, views, scene = Lpips(LpipsConfig(weights=str(folder), size=24)), toy_views(), BlobGaussians()
    loss.start(toy_mesh(), views, torch.device("cpu"))
    scene.initialize(toy_mesh(), views, seed=0)
    optimizer = torch.optim.Adam([scene.splats["sh0"]], lr=0.05)
    found, errors = [], []
    for _ in range(25):
        step = loss_step(scene, views, 0)
        value = loss(step)["lpips"]
        found.append(float(value.detach()))
        errors.append(float((step.render.image.detach() - step.view.image).abs().mean()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert found[-1] < 0.7 * found[0]
    assert errors[-1] < errors[0]
