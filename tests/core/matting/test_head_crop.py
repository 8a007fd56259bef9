"""Crops of the photo and their cameras."""

import numpy as np
import pytest
from toy_person import landmarks, toy_person

from instax3d.matting.head_crop import PhotoArrays, PhotoCrop, cut_head_crop, cut_valid, photo_arrays
from instax3d.types import Face, Photo


def test_a_crop_and_its_camera_agree():
    K = np.array([[800.0, 0, 150], [0, 800, 150], [0, 0, 1]])
    crop = PhotoCrop(1.7, (-20.0, 33.0), 256)
    point = np.array([0.05, -0.03, 0.9])
    pixel = (K @ point / point[2])[:2]
    in_crop = crop.intrinsics(K) @ point / point[2]
    assert np.allclose(crop.points(pixel[None])[0], in_crop[:2])


def test_cutting_at_the_same_scale_changes_no_pixel():
    image = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)
    assert np.abs(PhotoCrop(1.0, (-5.0, -3.0), 20).cut(image) - image[3:23, 5:25]).max() < 1e-5


@pytest.mark.parametrize("scale", [0.4, 2.5])
def test_cutting_keeps_places(scale):
    """A smooth bump stays where the crop's formula says."""
    y, x = np.mgrid[:200, :200] + 0.5
    image = np.exp(-((x - 120) ** 2 + (y - 80) ** 2) / 32).astype(np.float32)
    crop = PhotoCrop(scale, (30 - 100 * scale, 40 - 70 * scale), 128)
    cut = crop.cut(image)
    y, x = np.mgrid[:128, :128] + 0.5
    center = np.array([(cut * x).sum(), (cut * y).sum()]) / cut.sum()
    assert np.abs(center - crop.points(np.array([[120.0, 80.0]]))[0]).max() < 0.1


def test_where_the_photo_ends():
    source = PhotoArrays(np.zeros((40, 60, 3), np.float32), None, np.zeros((68, 2)))
    valid = cut_valid(source, PhotoCrop(0.5, (10.0, 20.0), 64))
    assert valid.sum() == 20 * 30
    assert valid[20:40, 10:40].all()


def test_the_head_crop_holds_the_face_at_one_size():
    for width in (60.0, 120.0):
        photo, _ = toy_person((0.4, 0.5, 0.4))
        face = Face(photo.face.box, 1.0, landmarks(width=width))
        head_crop = cut_head_crop(photo_arrays(Photo(photo.image, None, face)))
        assert np.ptp(head_crop.landmarks[:, 0]) == pytest.approx(190, rel=0.05)
        assert abs(head_crop.landmarks[17:, 0].mean() - head_crop.crop.size / 2) < 1
