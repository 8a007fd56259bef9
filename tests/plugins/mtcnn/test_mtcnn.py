"""MTCNN: its networks and cascade against the original's numbers, and what goes with other weights."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from instax3d_plugins.mtcnn.cascade import suppress
from instax3d_plugins.mtcnn.config import MtcnnConfig
from instax3d_plugins.mtcnn.detector import MtcnnDetector
from instax3d_plugins.mtcnn.networks import ONet, PNet, RNet
from instax3d_plugins.mtcnn.weights import FILES, load_cascade
from PIL import Image
from seeded_weights import regenerate, relative_error

from instax3d.errors import AssetError, BrokenPluginError
from instax3d.testing import LandmarkDetectorSuite
from instax3d.types import FIVE_POINTS

needs_weights = pytest.mark.skipif(
    find_spec("facenet_pytorch") is None, reason="MTCNN's weights are absent: pip install --no-deps facenet-pytorch"
)
NETWORKS = {"pnet": PNet, "rnet": RNet, "onet": ONet}


@pytest.fixture(scope="module")
def detector():
    return MtcnnDetector(MtcnnConfig())


@needs_weights
class TestMtcnn(LandmarkDetectorSuite):
    provides = frozenset({"points5"})

    @pytest.fixture
    def plugin(self, detector):
        return detector


def seeded(folder, name):
    return {key: torch.from_numpy(value) for key, value in regenerate(folder / f"{name}.weights.json").items()}


@pytest.mark.fixtures
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_original_s_numbers(fixtures_dir, name):
    folder = fixtures_dir / "facenet"
    network = NETWORKS[name]().eval()
    network.load_state_dict(seeded(folder, name))
    with np.load(folder / "mtcnn_nets_expected.npz") as expected, torch.no_grad():
        for number, output in enumerate(network(torch.from_numpy(expected[f"{name}_input"]))):
            assert relative_error(output, expected[f"{name}_out{number}"]) < 1e-5


@needs_weights
@pytest.mark.fixtures
@pytest.mark.data
def test_photos_give_the_original_s_faces(fixtures_dir, data_dir, detector):
    known = json.loads((fixtures_dir / "facenet" / "mtcnn_photos.json").read_text())["images"]
    for name, expected in known.items():
        pixels = torch.from_numpy(np.array(Image.open(data_dir / "photos" / name).convert("RGB")))
        scale = torch.tensor(expected["detect_size"]) / torch.tensor([pixels.shape[1], pixels.shape[0]])
        faces = detector.detect(pixels)
        faces.sort(key=lambda face: (face.box[0] - face.box[2]) * (face.box[3] - face.box[1]))
        assert len(faces) == len(expected["faces"]), name
        for face, wanted in zip(faces, expected["faces"]):
            assert face.score == pytest.approx(wanted["prob"], abs=2e-3)
            points = (face.points[FIVE_POINTS] * scale, wanted["points"])
            for found, true in ((torch.tensor(face.box) * scale.repeat(2), wanted["box"]), points):
                assert float((found - torch.tensor(true)).abs().max()) < 0.5, name


def test_suppression_keeps_the_highest_scoring_of_overlapping_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [3, 3, 6, 6]])
    scores = torch.tensor([0.8, 0.9, 0.5, 0.7])
    assert suppress(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert suppress(boxes, scores, 0.5, by_smaller=True).tolist() == [1, 2], "the small one lies in another"
    assert suppress(boxes[:0], scores[:0], 0.5).tolist() == []


def test_an_image_smaller_than_any_face_has_none(tmp_path):
    for name, network in NETWORKS.items():
        torch.save(network().state_dict(), tmp_path / FILES[name])
    small = torch.zeros(11, 40, 3, dtype=torch.uint8)
    assert MtcnnDetector(MtcnnConfig(weights=str(tmp_path))).detect(small) == []


def test_without_the_package_the_folder_of_assets_serves(tmp_path, monkeypatch):
    monkeypatch.setattr("instax3d_plugins.mtcnn.weights.find_spec", lambda name: None)
    monkeypatch.setenv("INSTAX3D_ASSETS", str(tmp_path))
    with pytest.raises(BrokenPluginError, match="facenet-pytorch"):
        load_cascade(None)
    (tmp_path / "mtcnn").mkdir()
    for name, network in NETWORKS.items():
        torch.save(network().state_dict(), tmp_path / "mtcnn" / FILES[name])
    assert MtcnnDetector(MtcnnConfig()).detect(torch.zeros(11, 40, 3, dtype=torch.uint8)) == []


def test_weights_that_are_not_there_or_not_mtcnn_s_are_refused(tmp_path):
    with pytest.raises(AssetError, match=r"pnet\.pt is missing"):
        load_cascade(tmp_path)
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "pnet.pt")
    with pytest.raises(AssetError, match="does not hold the weights of MTCNN's PNet"):
        load_cascade(tmp_path)
    (tmp_path / "pnet.pt").write_bytes(b"no weights at all")
    with pytest.raises(AssetError, match="not a torch checkpoint"):
        load_cascade(tmp_path)


@pytest.mark.fixtures
def test_weights_that_would_run_code_are_refused(fixtures_dir, tmp_path, monkeypatch):
    hostile = (fixtures_dir / "flame" / "hostile" / "checkpoint_hostile.pkl").read_bytes()
    (tmp_path / "pnet.pt").write_bytes(hostile)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError):
        load_cascade(tmp_path)
    assert not (tmp_path / "pwned").exists()
