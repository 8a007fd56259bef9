"""The loss `identity`, with networks of random weights: any network tells faces apart somehow."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from instax3d_plugins.identity.alignment import aligned, cropped
from instax3d_plugins.identity.config import IdentityConfig
from instax3d_plugins.identity.encoders import ArcfaceEncoder, FacenetEncoder, differentiable_crop, encoder_of
from instax3d_plugins.identity.inception_resnet_v1 import InceptionResnetV1
from instax3d_plugins.identity.iresnet import IResNet
from instax3d_plugins.identity.loss import Identity
from torch.nn import functional

from instax3d.errors import AssetError, FitError
from instax3d.testing import BlobGaussians, LossSuite, loss_step, toy_mesh, toy_photo, toy_views
from instax3d.types import FIVE_POINTS, Face, Render

pytestmark = pytest.mark.usefixtures("one_thread")
FIVE = torch.tensor([[12.0, 13.0], [20.0, 13.0], [16.0, 17.0], [13.0, 21.0], [19.0, 21.0]])
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of both networks, drawn from a seed."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, network in (("facenet", InceptionResnetV1()), ("arcface", IResNet())):
            torch.save(network.state_dict(), folder / f"{name}.pt")
    return folder


@pytest.fixture
def views():
    """A face is found in every view but the third."""
    face = Face((10.0, 9.0, 22.0, 24.0), 1.0, points={FIVE_POINTS: FIVE})
    return replace(toy_views(), faces=(face, face, None, face))


class TestFacenetLoss(LossSuite):
    @pytest.fixture
    def views(self, views):
        return views

    @pytest.fixture
    def plugin(self, weights):
        return Identity(IdentityConfig(weights=str(weights / "facenet.pt")))


def test_the_file_tells_which_network_it_is(weights, tmp_path):
    assert isinstance(encoder_of(weights / "facenet.pt"), FacenetEncoder)
    assert isinstance(encoder_of(weights / "arcface.pt"), ArcfaceEncoder)
    torch.save({"something": torch.ones(3)}, tmp_path / "other.pt")
    with pytest.raises(AssetError, match="does not hold"):
        encoder_of(tmp_path / "other.pt")


@pytest.mark.parametrize("name", ["facenet", "arcface"])
def test_faces_are_cut_out_as_for_the_metrics(weights, name):
    """Up to how pixels are averaged."""
    encoder = encoder_of(weights / f"{name}.pt")
    photo = toy_photo()
    five = torch.tensor([[118.0, 104.0], [145.0, 104.0], [132.0, 121.0], [120.0, 135.0], [143.0, 135.0]])
    face = replace(photo.face, points={FIVE_POINTS: five})
    pixels = (photo.image.permute(1, 2, 0) * 255).round().to(torch.uint8)
    mine = 255 * differentiable_crop(photo.image[None], encoder.frame(face), encoder.size)
    theirs = (aligned if name == "arcface" else cropped)(pixels, face, encoder.size)
    assert float((mine - theirs).abs().mean()) < 4.0


def test_a_crop_averages_what_lies_under_its_pixels():
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    crop = differentiable_crop(image, np.array([[4.0, 0, 8], [0, 4.0, 4]]), 6)
    expected = functional.avg_pool2d(image[:, :, 4:28, 8:32], 4)
    torch.testing.assert_close(crop, expected, atol=1e-5, rtol=0)
    assert float(differentiable_crop(image, np.array([[1.0, 0, -20], [0, 1.0, -20]]), 6).abs().max()) == 0


def test_it_compares_from_the_photo_s_camera_and_near_it(weights, views):
    loss = Identity(IdentityConfig(weights=str(weights / "facenet.pt"), reach_deg=30.0))
    loss.start(toy_mesh(), views, CPU)
    scene = BlobGaussians()
    scene.initialize(toy_mesh(), views, seed=0)
    assert [bool(loss(loss_step(scene, views, index))) for index in range(4)] == [True, False, False, False]
    loss = Identity(IdentityConfig(weights=str(weights / "facenet.pt"), reach_deg=90.0))
    loss.start(toy_mesh(), views, CPU)
    assert [bool(loss(loss_step(scene, views, index))) for index in range(4)] == [True, True, False, True]


def test_the_photo_itself_is_at_no_distance_at_any_resolution(weights, views):
    loss = Identity(IdentityConfig(weights=str(weights / "arcface.pt")))
    loss.start(toy_mesh(), views, CPU)
    scene = BlobGaussians()
    scene.initialize(toy_mesh(), views, seed=0)
    step = loss_step(scene, views, 0)
    apart = float(loss(step)["identity"].detach())
    for factor, within in ((1, 1e-5), (2, 0.2 * apart)):
        blank = torch.zeros(1, 1, 32 * factor, 32 * factor)
        image = functional.interpolate(step.view.image, scale_factor=factor, mode="nearest")
        assert float(loss(replace(step, render=Render(image, blank, blank, {})))["identity"]) == pytest.approx(
            0, abs=within
        )


def test_in_a_capture_each_view_is_compared_with_itself(weights, views):
    loss = Identity(IdentityConfig(weights=str(weights / "arcface.pt")))
    loss.start(toy_mesh(), replace(views, photo_index=None), CPU)
    scene = BlobGaussians()
    scene.initialize(toy_mesh(), views, seed=0)
    step = loss_step(scene, views, 1)
    same = replace(step, render=replace(step.render, image=step.view.image))
    assert float(loss(same)["identity"]) == pytest.approx(0, abs=1e-5)
    assert loss(loss_step(scene, views, 2)) == {}


def test_where_no_face_was_found_it_says_so(weights, views):
    loss = Identity(IdentityConfig(weights=str(weights / "arcface.pt")))
    with pytest.raises(FitError, match="found none in the photo"):
        loss.start(toy_mesh(), replace(views, faces=(None, *views.faces[1:])), CPU)
    with pytest.raises(FitError, match="found none in the views"):
        loss.start(toy_mesh(), replace(views, photo_index=None, faces=()), CPU)


def test_without_weights_the_way_to_them_is_told(views):
    with pytest.raises(AssetError, match="assets get facenet-vggface2"):
        Identity(IdentityConfig()).start(toy_mesh(), views, CPU)


def test_minimizing_it_brings_the_faces_closer(weights, views):
    loss = Identity(IdentityConfig(weights=str(weights / "facenet.pt")))
    loss.start(toy_mesh(), views, CPU)
    scene = BlobGaussians()
    scene.initialize(toy_mesh(), views, seed=0)
    optimizer = torch.optim.Adam([scene.splats["sh0"]], lr=0.05)
    found = []
    for _ in range(12):
        step = loss_step(scene, views, 0)
        value = loss(step)["identity"]
        found.append(float(value.detach()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert found[-1] < 0.7 * found[0]
