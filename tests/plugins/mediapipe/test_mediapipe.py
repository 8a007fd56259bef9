"""MediaPipe's points as faces. Its model is the user's, so finding faces is tested only where one is given."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from instax3d_plugins.mediapipe.config import MediapipeConfig
from instax3d_plugins.mediapipe.detector import MediapipeDetector
from instax3d_plugins.mediapipe.mesh import COUNT, IBUG_68

from instax3d.errors import AssetError, BrokenPluginError
from instax3d.types import MEDIAPIPE_POINTS

MIRROR_68 = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
MIRROR_68 += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
MIRROR_68 += [64, 63, 62, 61, 60, 67, 66, 65]


def test_each_landmark_has_a_point_of_its_own():
    assert len(set(IBUG_68)) == 68
    assert max(IBUG_68) < 468


def test_the_landmarks_of_one_side_mirror_those_of_the_other():
    """By the symmetric pairs of the mesh's oval, eyes and lips, as MediaPipe lists them."""
    pairs = [(127, 356), (234, 454), (93, 323), (58, 288), (172, 397), (136, 365), (149, 378), (148, 377), (33, 263)]
    pairs += [(133, 362), (160, 387), (158, 385), (153, 380), (144, 373), (61, 291), (39, 269), (37, 267), (84, 314)]
    pairs += [(181, 405), (78, 308), (82, 312), (87, 317), (70, 300), (63, 293), (105, 334), (66, 296), (107, 336)]
    pairs += [(98, 327), (97, 326)]
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    assert [other.get(IBUG_68[k], IBUG_68[k]) for k in MIRROR_68] == list(IBUG_68)


def detector_seeing(*meshes):
    detector = MediapipeDetector(MediapipeConfig())
    detector.__dict__["_landmark"] = lambda pixels: list(meshes)  # what the user's model would give
    return detector


def test_points_become_pixels_and_their_68_landmarks():
    mesh = np.random.default_rng(0).uniform(0.2, 0.7, (COUNT, 2))
    (face,) = detector_seeing(mesh).detect(torch.zeros(100, 200, 3, dtype=torch.uint8))
    expected = torch.tensor(mesh * [200, 100], dtype=torch.float32)
    torch.testing.assert_close(face.points[MEDIAPIPE_POINTS], expected)
    torch.testing.assert_close(face.landmarks, expected[list(IBUG_68)])
    assert face.box == pytest.approx((*expected.amin(0).tolist(), *expected.amax(0).tolist()))


def test_a_model_without_irises_is_refused():
    with pytest.raises(BrokenPluginError, match="468 points"):
        detector_seeing(np.zeros((468, 2))).detect(torch.zeros(10, 10, 3, dtype=torch.uint8))


def test_an_absent_package_or_model_is_reported(tmp_path):
    detector = MediapipeDetector(MediapipeConfig(model=str(tmp_path / "face_landmarker.task")))
    with pytest.raises((AssetError, BrokenPluginError), match=r"face_landmarker|pip install"):
        detector.detect(torch.zeros(10, 10, 3, dtype=torch.uint8))


@pytest.mark.skipif(find_spec("mediapipe") is None, reason="the extra mediapipe is not installed")
def test_a_file_that_is_not_a_model_is_refused(tmp_path):
    (tmp_path / "face_landmarker.task").write_bytes(b"no model")
    detector = MediapipeDetector(MediapipeConfig(model=str(tmp_path / "face_landmarker.task")))
    with pytest.raises(BrokenPluginError, match="cannot use"):
        detector.detect(torch.zeros(10, 10, 3, dtype=torch.uint8))
