"""Fitting on a real capture, against its true surface (marker ``data``), and on real photos."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from instax3d_plugins.template.generator import analyze

from instax3d.fitting import fit_head, fit_photo
from instax3d.geometry.proximity import ProximityQuery
from instax3d.headmodel import HeadModel
from instax3d.inputs.capture import read_capture
from instax3d.inputs.photo import read_photo
from instax3d.interfaces import LandmarkDetector, ViewGenerator
from instax3d.io.images import to_uint8
from instax3d.registry import build

pytestmark = pytest.mark.data

LOOKS = {
    "big_mouth_open_border.png": 0,
    "expression_mouth_open.jpg": 0,
    "hand_on_chin.jpg": 0,
    "red_hair_white_background.jpg": -5,
    "three_quarter_bangs.jpg": -7,
    "woman_dark_hair_front.jpg": 22,
}
"""Degrees to the subject's left of the camera at which open eyes look; judged by eye."""
FRONTAL = ("bald_man_front.png", "big_mouth_open_border.png", "expression_mouth_open.jpg", "hand_on_chin.jpg")


@pytest.fixture(scope="module")
def detector():
    return build(LandmarkDetector, "dlib")


@pytest.fixture(scope="module")
def model():
    return build(HeadModel, "mannequin")


@pytest.fixture(scope="module")
def scan(data_dir, detector):
    capture = read_capture(data_dir / "head_scan")
    views = build(ViewGenerator, "frames").generate(capture, seed=0)
    found = [detector.detect(to_uint8(image)) for image in views.images]
    return replace(views, faces=tuple(faces[0] if faces else None for faces in found))


@pytest.fixture(scope="module")
def fitted(model, scan):
    return fit_head(model, scan)


def test_scan_landmarks_and_outline(fitted):
    assert fitted.metrics["views_used"] >= 4
    assert fitted.metrics["landmark_error"] < 0.035
    assert fitted.metrics["outside"] < 0.03
    assert fitted.metrics["bald"] == 1
    assert float(fitted.rig.parameters.shape.abs().max()) < 2.5
    torch.testing.assert_close(fitted.axes, torch.eye(3), atol=0.1, rtol=0)  # the capture's head stands upright


def test_scan_surface(data_dir, fitted):
    truth = ProximityQuery.of(read_capture(data_dir / "head_scan").surface)
    distance = truth.closest(fitted.vertices.numpy())[1] / fitted.units_per_meter * 1000
    face, scalp = (fitted.regions[name].numpy() for name in ("face", "scalp"))
    face = face & ~fitted.regions["nostrils"].numpy()
    assert distance[face].mean() < 1.8  # millimeters of a head at life size
    assert np.percentile(distance[face], 95) < 4.5
    assert distance[scalp].mean() < 2.0


def test_scan_fit_is_the_same_again(model, scan, fitted):
    assert torch.equal(fit_head(model, scan).vertices, fitted.vertices)


def test_one_frame_of_the_scan_gives_its_distance(model, scan):
    """Of a photo at a known focal length, the distance tells that the head's size is right."""
    camera = scan.cameras[0]
    found = fit_photo(
        model,
        scan.faces[0].landmarks,
        camera.width,
        camera.height,
        focal=float(camera.Ks[0, 0, 0]),
        alpha=scan.alpha[0],
        bald=True,
    )
    assert found.landmark_error < 0.02
    assert found.yaw == pytest.approx(0, abs=4)
    assert float(found.cameras.centers.norm()) == pytest.approx(4.08 / 5.03, rel=0.06)


@pytest.mark.parametrize(
    "name", [*FRONTAL, "red_hair_white_background.jpg", "three_quarter_bangs.jpg", "woman_dark_hair_front.jpg"]
)
def test_photos(data_dir, detector, model, name):
    """By landmarks alone, and with gaze and outline as the template generator fits them."""
    photo = read_photo(data_dir / "photos" / name, detector)
    _, height, width = photo.image.shape
    person = analyze(photo, model)
    for found in (fit_photo(model, photo.face.landmarks, width, height), person.fit):
        assert found.landmark_error < 0.016
        assert float(found.parameters.shape.abs().max()) < 2.0, "two standard deviations"
        assert 0.6 < float(found.cameras.centers.norm()) < 1.2
        assert (abs(found.yaw) < 8) == (name in FRONTAL)
    eye = model.joint_names.index("eye_left")
    down, left, _ = np.degrees(person.fit.parameters.pose[eye].numpy())
    if name in LOOKS:
        assert left + person.fit.yaw == pytest.approx(LOOKS[name], abs=7)
        assert abs(down) < 16
    else:
        assert left == down == 0, "the eyes are nearly closed"
