"""Captures: which files are read, what is refused, and what becomes of the frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captures import SIZE, frame_image, write_capture
from PIL import Image

from instax3d.errors import CaptureError
from instax3d.geometry.cameras import orbit
from instax3d.inputs.capture import load_frames, read_capture


def refusal(path: Path) -> str:
    with pytest.raises(CaptureError) as caught:
        read_capture(path)
    return str(caught.value)


@pytest.mark.parametrize("views", [1, 2, 7])
def test_a_folder_or_its_file_is_read(tmp_path: Path, views: int):
    file = write_capture(tmp_path, views=views)
    for path in (tmp_path, file):
        capture = read_capture(path)
        assert capture.folder == tmp_path
        assert len(capture.cameras) == len(capture.files) == views
        assert capture.files[0] == tmp_path / "transforms" / "0.png"
        assert capture.test_cameras is None
        assert capture.test_files == ()
        assert capture.notes == ()


def test_the_train_split_is_preferred_and_the_test_split_is_kept_apart(tmp_path: Path):
    for name, views in (("transforms.json", 5), ("transforms_train.json", 3), ("transforms_test.json", 2)):
        write_capture(tmp_path, name, views)
    capture = read_capture(tmp_path)
    assert len(capture.cameras) == 3
    assert capture.test_cameras is not None
    assert len(capture.test_cameras) == len(capture.test_files) == 2
    assert capture.test_files[1].parent.name == "transforms_test"
    assert len(read_capture(tmp_path / "transforms.json").cameras) == 5
    assert read_capture(tmp_path / "transforms_test.json").test_cameras is None


def test_a_folder_without_cameras_says_what_is_expected(tmp_path: Path):
    message = refusal(tmp_path)
    assert "transforms_train.json nor transforms.json" in message
    assert "image file" in message
    assert "there is no" in refusal(tmp_path / "nowhere")


def test_missing_broken_and_wrongly_sized_frames_are_named(tmp_path: Path):
    file = write_capture(tmp_path)
    frame = tmp_path / "transforms" / "1.png"
    Image.new("RGBA", (12, 8)).save(frame)
    message = refusal(file)
    assert "12x8" in message
    assert "24x16" in message
    assert "1.png" in message
    frame.write_bytes(b"no image")
    assert "1.png cannot be read" in refusal(file)
    frame.unlink()
    assert "1.png, which does not exist" in refusal(file)


def test_a_broken_test_split_is_found_before_any_work(tmp_path: Path):
    write_capture(tmp_path)
    test = write_capture(tmp_path, "transforms_test.json")
    (tmp_path / "transforms_test" / "2.png").unlink()
    assert str(test) in refusal(tmp_path)


def test_frames_are_laid_over_white(tmp_path: Path):
    write_capture(tmp_path)
    capture = read_capture(tmp_path)
    images, alpha = load_frames(capture.cameras, capture.files)
    assert images.shape == (3, 3, 16, 24)
    assert alpha.shape == (3, 1, 16, 24)
    assert (images[:, :, 0, 0] == 1).all()
    assert alpha.sum().item() == 3 * 8 * 12
    torch.testing.assert_close(images[2, :, 5, 7], torch.tensor([40.0, 100, 200]) / 255)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_without_transparency_white_at_the_border_is_background_and_a_note_says_so(tmp_path: Path, mode: str):
    write_capture(tmp_path, mode=mode)
    capture = read_capture(tmp_path)
    assert "3 of 3 frames have no transparency" in capture.notes[0]
    images, alpha = load_frames(capture.cameras, capture.files)
    assert alpha.sum().item() == 3 * 8 * 12
    assert (images[:, :, 0, 0] == 1).all()


def test_white_inside_and_colored_backgrounds_are_opaque(tmp_path: Path):
    write_capture(tmp_path, views=2)
    pixels = np.array(frame_image(0, "RGB"))
    pixels[6:9, 8:11] = 255
    Image.fromarray(pixels).save(tmp_path / "transforms" / "0.png")
    Image.new("RGB", SIZE, (200, 220, 240)).save(tmp_path / "transforms" / "1.png")
    capture = read_capture(tmp_path)
    _, alpha = load_frames(capture.cameras, capture.files)
    assert alpha[0].sum().item() == 8 * 12
    assert (alpha[1] == 1).all()


def test_frames_are_reduced_to_smaller_cameras_but_never_enlarged_or_stretched(tmp_path: Path):
    write_capture(tmp_path)
    capture = read_capture(tmp_path)
    images, alpha = load_frames(capture.cameras.scaled(0.5), capture.files)
    assert images.shape == (3, 3, 8, 12)
    assert alpha.sum().item() == 3 * 4 * 6
    # Nothing bleeds in from behind the transparency.
    torch.testing.assert_close(images[2, :, 2, 3], torch.tensor([40.0, 100, 200]) / 255)
    with pytest.raises(CaptureError, match="24x16"):
        load_frames(capture.cameras.scaled(2.0), capture.files)
    square = orbit([0.0] * 3, [0.0] * 3, radius=1.0, focal=1.0, size=8)
    with pytest.raises(CaptureError, match="8x8 are needed"):
        load_frames(square, capture.files)


def test_a_truncated_frame_is_named(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 4), np.uint8)
    write_capture(tmp_path)
    frame = tmp_path / "transforms" / "1.png"
    Image.fromarray(noise).save(frame)
    frame.write_bytes(frame.read_bytes()[:200])
    capture = read_capture(tmp_path)
    with pytest.raises(CaptureError, match=r"1\.png cannot be read"):
        load_frames(capture.cameras, capture.files)


def test_a_blender_capture(tmp_path: Path):
    (tmp_path / "train").mkdir()
    frame_image(1).save(tmp_path / "train" / "r_0.png")
    frame: dict[str, Any] = {"file_path": "./train/r_0", "transform_matrix": torch.eye(4).tolist()}
    (tmp_path / "transforms_train.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": [frame]}))
    capture = read_capture(tmp_path)
    assert (capture.cameras.width, capture.cameras.height) == SIZE
    images, _ = load_frames(capture.cameras, capture.files)
    torch.testing.assert_close(images[0, :, 5, 7], torch.tensor([20.0, 100, 200]) / 255)


@pytest.mark.data
def test_the_scan_is_read_with_its_test_split(data_dir: Path):
    capture = read_capture(data_dir / "head_scan")
    assert len(capture.files) == 21
    assert len(capture.test_files) == 10
    assert capture.notes == ()
    assert capture.test_cameras is not None
    images, alpha = load_frames(capture.test_cameras, capture.test_files)
    assert images.shape == (10, 3, 512, 512)
    assert 0.2 < alpha.mean().item() < 0.7
    assert (images[:, :, 0, 0] == 1).all()
