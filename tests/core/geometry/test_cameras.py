"""Orbits, conversions and `transforms.json` files."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from instax3d.errors import CaptureError
from instax3d.geometry.cameras import (
    opencv_to_opengl,
    opengl_to_opencv,
    orbit,
    read_transforms,
    write_transforms,
)
from instax3d.types import Cameras

angles = st.floats(-360, 360, allow_nan=False)
latitudes = st.floats(-90, 90, allow_nan=False)


def frame(name: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"file_path": name, "transform_matrix": torch.eye(4).tolist(), **more}


def transforms(folder: Path, *frames: Any, **top: Any) -> Path:
    path = folder / "transforms.json"
    path.write_text(json.dumps({"fl_x": 100.0, "w": 64, "h": 48, "frames": list(frames), **top}))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CaptureError) as caught:
        read_transforms(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# Orbits


def test_azimuth_zero_is_in_front_and_grows_to_the_subjects_left():
    cameras = orbit([0.0, 90.0, 180.0, 0.0], [0.0, 0.0, 0.0, 90.0], radius=2.0, focal=100.0, size=64)
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 0, -2], [0, 2, 0]])
    torch.testing.assert_close(cameras.centers, expected, atol=1e-6, rtol=0)


def test_from_the_front_the_subjects_left_is_right_in_the_image_and_up_is_up():
    camera = orbit([0.0], [0.0], radius=2.0, focal=100.0, size=(80, 60), center=(1.0, 2.0, 3.0))
    center, left, up = camera.project(torch.tensor([[1.0, 2, 3], [1.1, 2, 3], [1.0, 2.1, 3]]))[0]
    torch.testing.assert_close(center, torch.tensor([40.0, 30, 2]))
    torch.testing.assert_close(left, torch.tensor([45.0, 30, 2]))
    torch.testing.assert_close(up, torch.tensor([40.0, 25, 2]))


def test_the_angle_of_view_is_horizontal():
    camera = orbit([0.0], [0.0], radius=1.0, fov_deg=90.0, size=(80, 60))
    assert camera.Ks[0, 0, 0].item() == pytest.approx(40)
    assert camera.Ks[0, 1, 1].item() == pytest.approx(40)


@given(angles, latitudes, st.floats(0.1, 10))
def test_every_orbit_camera_is_rigid_and_looks_at_the_center(azimuth: float, elevation: float, radius: float):
    center = torch.tensor([0.3, -0.2, 0.1])
    camera = orbit([azimuth], [elevation], radius=radius, focal=50.0, size=32, center=center.tolist())
    rotation = camera.viewmats[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.det(rotation) > 0.99
    expected = torch.tensor([[[16.0, 16.0, radius]]])
    torch.testing.assert_close(camera.project(center[None]), expected, atol=1e-3, rtol=1e-4)


@given(angles, st.floats(-85, 85))
def test_an_orbit_s_cameras_look_at_the_center_with_up_upwards(azimuth: float, elevation: float):
    camera = orbit([azimuth], [elevation], radius=3.0, focal=50.0, size=32)
    forward = torch.nn.functional.normalize(-camera.centers[0], dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0])), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    torch.testing.assert_close(camera.viewmats[0, :3, :3], rotation, atol=1e-4, rtol=1e-4)


def test_an_orbit_needs_matching_angles_and_one_focal_length():
    with pytest.raises(ValueError, match="2 azimuths but 1 elevations"):
        orbit([0.0, 1.0], [0.0], radius=1.0, focal=1.0, size=8)
    with pytest.raises(ValueError, match="focal or fov_deg"):
        orbit([0.0], [0.0], radius=1.0, size=8)
    with pytest.raises(ValueError, match="focal or fov_deg"):
        orbit([0.0], [0.0], radius=1.0, size=8, focal=1.0, fov_deg=1.0)


# Conversions


def test_an_opengl_camera_at_rest_looks_along_minus_z():
    viewmat = opengl_to_opencv(torch.eye(4)[None])[0]
    torch.testing.assert_close(viewmat @ torch.tensor([1.0, 2, -3, 1]), torch.tensor([1.0, -2, 3, 1]))


@given(angles, latitudes, arrays("float64", 3, elements=st.floats(-5, 5)))
def test_conversion_there_and_back_changes_nothing(azimuth: float, elevation: float, center: Any):
    viewmats = orbit([azimuth], [elevation], radius=2.0, focal=9.0, size=8, center=center.tolist()).viewmats
    there = opencv_to_opengl(viewmats)
    torch.testing.assert_close(there[:, :3, 3], Cameras(viewmats, torch.eye(3)[None], 8, 8).centers)
    torch.testing.assert_close(opengl_to_opencv(there), viewmats, atol=1e-5, rtol=1e-5)


# Files


@given(st.lists(st.tuples(angles, latitudes, st.floats(10, 1e4)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_files_there_and_back(tmp_path_factory: pytest.TempPathFactory, rows: Any, shared: bool):
    cameras = orbit([r[0] for r in rows], [r[1] for r in rows], radius=2.0, focal=rows[0][2], size=(40, 30))
    if not shared:
        for K, (_, _, focal) in zip(cameras.Ks, rows):
            K[0, 0], K[1, 1], K[0, 2] = focal, focal * 1.5, 17.25
    folder = tmp_path_factory.mktemp("files")
    names = [f"views/{index:03d}.png" for index in range(len(rows))]
    write_transforms(folder / "t.json", cameras, names)
    read, files = read_transforms(folder / "t.json")
    torch.testing.assert_close(read.viewmats, cameras.viewmats, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read.Ks, cameras.Ks)
    assert (read.width, read.height, read.names) == (40, 30, tuple(names))
    assert files == tuple(folder / name for name in names)


def test_shared_intrinsics_are_at_the_top_level_and_others_in_each_frame(tmp_path: Path):
    cameras = orbit([0.0, 9.0], [0.0, 0.0], radius=1.0, focal=50.0, size=32)
    write_transforms(tmp_path / "t.json", cameras, ["a.png", "b.png"], [{"confidence": 1.0}, {"confidence": 0.5}])
    written = json.loads((tmp_path / "t.json").read_text())
    assert written["fl_x"] == 50
    assert written["camera_angle_x"] == pytest.approx(2 * math.atan(16 / 50))
    assert [entry["confidence"] for entry in written["frames"]] == [1.0, 0.5]
    assert "fl_x" not in written["frames"][0]
    cameras.Ks[1, 0, 0] = 60
    write_transforms(tmp_path / "t.json", cameras, ["a.png", "b.png"])
    written = json.loads((tmp_path / "t.json").read_text())
    assert "fl_x" not in written
    assert [entry["fl_x"] for entry in written["frames"]] == [50, 60]
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_writing_refuses_wrong_lengths_and_skew(tmp_path: Path):
    cameras = orbit([0.0], [0.0], radius=1.0, focal=50.0, size=32)
    with pytest.raises(ValueError, match="1 cameras"):
        write_transforms(tmp_path / "t.json", cameras, [])
    with pytest.raises(ValueError, match="1 cameras"):
        write_transforms(tmp_path / "t.json", cameras, ["a.png"], [])
    cameras.Ks[0, 0, 1] = 1
    with pytest.raises(ValueError, match="skewed"):
        write_transforms(tmp_path / "t.json", cameras, ["a.png"])


def test_a_blender_file_with_angle_and_no_suffix_or_size(tmp_path: Path):
    (tmp_path / "train").mkdir()
    Image.new("RGBA", (50, 40)).save(tmp_path / "train" / "r_0.png")
    path = tmp_path / "transforms_train.json"
    path.write_text(json.dumps({"camera_angle_x": 2 * math.atan(0.5), "frames": [frame("./train/r_0", rotation=0.1)]}))
    cameras, files = read_transforms(path)
    assert (cameras.width, cameras.height) == (50, 40)
    torch.testing.assert_close(cameras.Ks[0], torch.tensor([[50.0, 0, 25], [0, 50, 20], [0, 0, 1]]))
    assert files == (tmp_path / "train" / "r_0.png",)
    assert cameras.names == ("train/r_0.png",)


def test_frames_override_the_top_level_and_unknown_keys_are_ignored(tmp_path: Path):
    path = transforms(
        tmp_path,
        frame("a.jpg", fl_x=10, fl_y=20, cx=1.5, cy=2.5, colmap_im_id=3),
        frame("b.0"),
        camera_angle_x=1.0,
        applied_transform=[[0.0] * 4] * 3,
        applied_scale=2.0,
        aabb_scale=16,
        k1=0.0,
        p2=0,
    )
    cameras, files = read_transforms(path)
    torch.testing.assert_close(cameras.Ks[0], torch.tensor([[10.0, 0, 1.5], [0, 20, 2.5], [0, 0, 1]]))
    torch.testing.assert_close(cameras.Ks[1], torch.tensor([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]]))
    assert [file.name for file in files] == ["a.jpg", "b.0.png"]


def test_a_matrix_of_three_rows_and_one_rounded_are_read(tmp_path: Path):
    turned = opencv_to_opengl(orbit([33.0], [21.0], radius=2.0, focal=1.0, size=8).viewmats)[0]
    rounded = [[round(x, 3) for x in row] for row in turned.tolist()]
    cameras, _ = read_transforms(transforms(tmp_path, frame(transform_matrix=rounded[:3])))
    rotation = cameras.viewmats[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3))
    torch.testing.assert_close(opencv_to_opengl(cameras.viewmats)[0], turned, atol=2e-3, rtol=0)


def scaled(factor: float) -> list[list[float]]:
    return torch.diag(torch.tensor([factor, factor, factor, 1.0])).tolist()


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (7, "is not a JSON object"),
        ({"transform_matrix": torch.eye(4).tolist()}, '"file_path"'),
        (frame(""), '"file_path"'),
        (frame("."), "not the name of a file"),
        (frame("b.png", transform_matrix=[[1, 0], [0, 1]]), r"\(b.png\) needs .*four rows of four"),
        (frame("b.png", transform_matrix="x"), "four rows of four"),
        ({"file_path": "b.png"}, "four rows of four"),
        (frame("b.png", transform_matrix=[[math.nan] * 4] * 4), "finite"),
        (frame("b.png", transform_matrix=[["1", 0, 0, 0], *torch.eye(4).tolist()[1:]]), "finite"),
        (frame("b.png", transform_matrix=[[10**400, 0, 0, 0], *torch.eye(4).tolist()[1:]]), "finite"),
        (frame("b.png", transform_matrix=scaled(1.1)), "scales"),
        (frame("b.png", transform_matrix=scaled(-1.0)), "mirrors"),
        (frame("b.png", transform_matrix=scaled(0.0)), "scales"),
        (frame("b.png", transform_matrix=[*torch.eye(4).tolist()[:3], [0, 0, 1, 0]]), "last row"),
        (frame("b.png", w=32), "one size.*32x48"),
        (frame("b.png", w=32.5), "whole number"),
        (frame("b.png", w=10**9), "whole number"),
        (frame("b.png", h=True), "finite number"),
        (frame("b.png", fl_x=0), "positive"),
        (frame("b.png", fl_y="wide"), 'fl_y = "wide"'),
        (frame("b.png", cx=math.inf), "finite number"),
        (frame("b.png", k1=-0.1, p1=0.01), r"k1 = -0.1, p1 = 0.01.*undistort"),
        (frame("b.png", camera_model="OPENCV_FISHEYE"), "OPENCV_FISHEYE.*undistort"),
        (frame("a.png"), "frames 0 and 1 are both a.png"),
    ],
)  # fmt: skip
def test_a_broken_frame_is_named(tmp_path: Path, broken: Any, problem: str):
    message = refusal(transforms(tmp_path, frame("a.png"), broken))
    assert re.search(problem, message, re.DOTALL)
    assert "frame 1" in message or "frames 0 and 1" in message


def test_a_file_without_focal_length_or_size_says_what_to_add(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"w": 8, "h": 8, "frames": [frame()]}))
    assert "add fl_x" in refusal(path)
    path.write_text(json.dumps({"w": 8, "h": 8, "camera_angle_x": 40.0, "frames": [frame()]}))
    assert "radians" in refusal(path)
    path.write_text(json.dumps({"fl_x": 8, "frames": [frame()]}))
    assert "add w and h" in refusal(path)
    (tmp_path / "a.png").write_bytes(b"no image")
    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "lists no frames"),
        ('{"frames": []}', "lists no frames"),
        ('{"frames": {}}', "lists no frames"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, problem: str):
    path = tmp_path / "transforms.json"
    path.write_text(text)
    assert problem in refusal(path)


def test_a_file_that_is_not_text_a_missing_one_and_a_folder_are_refused(tmp_path: Path):
    (tmp_path / "t.json").write_bytes(b"\xff\xfe\x00")
    assert "not valid JSON" in refusal(tmp_path / "t.json")
    assert "there is no file" in refusal(tmp_path / "none.json")
    assert "cannot read" in refusal(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
keys = st.sampled_from(["file_path", "transform_matrix", "fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "camera_model"])


@given(st.dictionaries(keys, json_values), st.dictionaries(keys, json_values))
@settings(max_examples=150, deadline=None)
def test_no_content_escapes_the_errors(tmp_path_factory: pytest.TempPathFactory, top: Any, changes: Any):
    path = transforms(tmp_path_factory.mktemp("any"), {**frame(), **changes}, **top)
    try:
        cameras, _ = read_transforms(path)
    except CaptureError:
        return
    assert torch.isfinite(cameras.viewmats).all()
    assert torch.isfinite(cameras.Ks).all()


@pytest.mark.data
def test_the_scans_cameras_look_at_the_head_from_where_they_say(data_dir: Path):
    path = data_dir / "head_scan" / "transforms_train.json"
    cameras, files = read_transforms(path)
    assert len(cameras) == 21
    assert all(file.is_file() for file in files)
    stated = json.loads(path.read_text())["frames"]
    expected = orbit(
        [entry["azimuth_deg"] for entry in stated],
        [entry["elevation_deg"] for entry in stated],
        radius=float(cameras.centers[0].norm()),
        focal=float(cameras.Ks[0, 0, 0]),
        size=512,
    )
    torch.testing.assert_close(cameras.viewmats, expected.viewmats, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cameras.Ks, expected.Ks)
