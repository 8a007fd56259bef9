"""The recognition networks give the originals' numbers, and faces are cut out as they expect them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from instax3d_plugins.identity.alignment import aligned, cropped
from instax3d_plugins.identity.inception_resnet_v1 import InceptionResnetV1
from instax3d_plugins.identity.iresnet import IResNet
from seeded_weights import enlarged, regenerate, relative_error

from instax3d.errors import AssetError
from instax3d.inputs.faces import five_points
from instax3d.interfaces import Metric
from instax3d.registry import build
from instax3d.testing import FakeDetector, toy_context, toy_photo
from instax3d.types import FIVE_POINTS, Face

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def weights(fixtures_dir):
    """The seeded weights of a recipe, generated once."""
    return cache(
        lambda recipe: {
            name: torch.from_numpy(np.asarray(value)) for name, value in regenerate(fixtures_dir / recipe).items()
        }
    )


@pytest.mark.fixtures
def test_facenet_is_the_originals(fixtures_dir, weights):
    network = InceptionResnetV1()
    network.load_state_dict(weights("facenet/inception_resnet_v1.weights.json"))
    expected = np.load(fixtures_dir / "facenet" / "inception_resnet_v1_expected.npz")
    faces = torch.from_numpy(enlarged(expected["image_small"], 160 // expected["image_small"].shape[-1]))
    with torch.no_grad():
        assert relative_error(network.eval().features(faces), expected["features_1792"]) < TOLERANCE
        assert relative_error(network(faces), expected["embedding"]) < TOLERANCE


@pytest.mark.fixtures
def test_arcface_is_the_originals(fixtures_dir, weights):
    network = IResNet.of(weights("arcface/iresnet50.weights.json"))
    expected = np.load(fixtures_dir / "arcface" / "arcface_expected.npz")
    faces = torch.from_numpy(enlarged(expected["image_small"], 112 // expected["image_small"].shape[-1]))
    with torch.no_grad():
        assert relative_error(network(faces), expected["embedding_iresnet50"]) < TOLERANCE
        assert relative_error(network.directions(faces), expected["normalized_iresnet50"]) < TOLERANCE


@pytest.mark.fixtures
@pytest.mark.parametrize(
    ("name", "folder", "recipe", "expected", "file"),
    [
        ("facenet", "facenet", "inception_resnet_v1", "embedding", "vggface2.pt"),
        ("arcface", "arcface", "iresnet50", "normalized_iresnet50", "backbone.pth"),
    ],
)
def test_figures_are_the_cosines_of_the_original_s_embeddings(
    fixtures_dir, weights, tmp_path, monkeypatch, name, folder, recipe, expected, file
):
    """Photo and frames that are already cut out; what is left is that pixels have eight bits."""
    from instax3d_plugins.identity import alignment, inception_resnet_v1, iresnet

    size = {"facenet": inception_resnet_v1.SIZE, "arcface": iresnet.SIZE}[name]
    torch.save(weights(f"{folder}/{recipe}.weights.json"), tmp_path / file)
    with np.load(
        next((fixtures_dir / folder).glob(f"{'inception' if name == 'facenet' else name}*_expected.npz"))
    ) as known:
        small, embedded = known["image_small"], torch.from_numpy(known[expected]).double()
    pixels = torch.from_numpy(enlarged(small, size // small.shape[-1]))
    images = ((pixels * (128 if name == "facenet" else 127.5) + 127.5).round().clamp(0, 255)) / 255
    face = Face((0.0, 0.0, float(size), float(size)), 1.0, points={FIVE_POINTS: torch.from_numpy(alignment._TEMPLATE)})
    monkeypatch.setattr("instax3d_plugins.identity.metrics.build", lambda kind, name: FakeDetector([face]))
    context = replace(toy_context(), photo=replace(toy_photo(), image=images[0]), render=lambda cameras: images[1:])
    found = build(Metric, name, weights=str(tmp_path / file)).measure(context)[name]
    assert found == pytest.approx(float((embedded[1:] @ embedded[0]).mean()), abs=1e-4)


def test_weights_of_something_else_are_refused(tmp_path):
    with pytest.raises(ValueError, match="iresnet50"):
        IResNet.of({"layer3.0.bn1.weight": torch.ones(3)})
    torch.save({"something": torch.ones(3)}, tmp_path / "other.pt")
    for name in ("facenet", "arcface"):
        metric = build(Metric, name, weights=str(tmp_path / "other.pt"))
        with pytest.raises(AssetError, match="does not hold"):
            metric.measure(toy_context())


@pytest.mark.parametrize("name", ["facenet", "arcface"])
def test_without_weights_the_way_to_them_is_told(name):
    with pytest.raises(AssetError, match="assets"):
        build(Metric, name).measure(toy_context())


def test_without_a_photo_nothing_is_measured():
    assert build(Metric, "facenet").measure(replace(toy_context(), photo=None)) == {}


def test_points_come_to_the_norm_whatever_the_turn():
    landmarks = torch.zeros(68, 2)
    for index, at in {30: (56.0, 72.0), 48: (41.6, 92.4), 54: (70.7, 92.2)}.items():
        landmarks[index] = torch.tensor(at)
    landmarks[36:42], landmarks[42:48] = torch.tensor([38.3, 51.7]), torch.tensor([73.5, 51.5])
    turn = torch.tensor([[0.0, -2.0], [2.0, 0.0]])  # a quarter turn, twice as large
    moved = landmarks @ turn.T + torch.tensor([300.0, 50.0])
    image = torch.zeros(400, 400, 3, dtype=torch.uint8)
    x, y = moved[30].round().int().tolist()
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    face = aligned(image, Face((0.0, 0.0, 1.0, 1.0), 1.0, moved), 112)
    spot = (face[0, 0] > 100).nonzero().float().mean(0)
    assert torch.allclose(spot, torch.tensor([72.0, 56.0]), atol=1.0)
    assert five_points(Face((0.0, 0.0, 1.0, 1.0), 1.0, landmarks)).shape == (5, 2)


def test_boxes_beyond_the_image_are_filled_with_black():
    image = torch.full((100, 100, 3), 200, dtype=torch.uint8)
    face = cropped(image, Face((-50.0, 0.0, 50.0, 100.0), 1.0), 160)
    assert float(face[..., :79].max()) == 0
    assert float(face[..., 81:].min()) == 200
