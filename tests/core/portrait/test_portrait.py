"""Result folders are saved, loaded and saved again without losing anything, and damaged ones are refused in words."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from toy_portrait import toy_portrait

from instax3d.errors import CaptureError, PortraitError
from instax3d.geometry.cameras import write_transforms
from instax3d.io.artifacts import write_artifact
from instax3d.portrait.frames import render_frames
from instax3d.portrait.layout import HEAD
from instax3d.portrait.portrait import Portrait
from instax3d.portrait.views import read_views
from instax3d.testing import toy_cameras


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("portrait") / "ball"
    toy_portrait().save(folder)
    (folder / "report.html").write_text("a report")
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("a user's own")
    return folder


@pytest.fixture
def saved(original, tmp_path) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(original, tmp_path / "ball"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_saving_a_loaded_portrait_onto_itself_keeps_every_file(saved):
    before = contents(saved)
    assert {"views/000.png", "views/provenance/003.png", "views/provenance.png", "mine/notes.txt"} <= set(before)
    Portrait.load(saved).save(saved)
    assert contents(saved) == before
    assert [path.name for path in saved.parent.iterdir()] == ["ball"]


def test_saving_a_loaded_portrait_elsewhere_takes_every_file_along(saved, tmp_path):
    before = contents(saved)
    Portrait.load(saved).save(tmp_path / "other" / "copy")
    assert contents(tmp_path / "other" / "copy") == before
    assert contents(saved) == before


def test_a_copy_inside_the_portraits_own_folder_does_not_hold_itself(saved):
    names = set(contents(saved))
    for _ in range(2):
        Portrait.load(saved).save(saved / "copies" / "first")
    assert set(contents(saved / "copies" / "first")) == names


def test_the_views_of_a_loaded_portrait_are_read_when_asked_for(saved, monkeypatch):
    portrait = Portrait.load(saved)
    assert portrait.views is not None
    assert portrait.views.photo_index == 1
    wanted = toy_portrait().views
    assert wanted is not None
    assert float((portrait.views.images - wanted.images).abs().max()) < 0.02
    shutil.rmtree(saved / "views")
    assert Portrait.load(saved).views is None
    with pytest.raises(PortraitError, match="make the portrait again"):
        read_views(saved)


def test_how_well_the_head_fits_is_kept_apart_from_what_metrics_measured(saved):
    assert Portrait.load(saved).metrics == {"psnr_views": 30.0}
    assert json.loads((saved / "run.json").read_text())["fit"] == {"landmark_error": 0.0125}


def damage(folder: Path, **changes: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"orbit": None},
        {"orbit": []},
        {"orbit": {"center": [0, 0, 0]}},
        {"orbit": {"center": [0, 0], "axes": [[1]], "radius": 1, "focal": 1, "size": 1}},
        {"orbit": {"center": "here", "axes": [], "radius": 1, "focal": 1, "size": 1}},
        {"format": "one"},
        {"instax3d": 1},
        {"metrics": [1, 2]},
        {"metrics": {"psnr_views": "good"}},
        {"seconds": None},
        {"plugins": {"renderer": {"name": "cpu"}}},
        {"assets": [{}]},
        {"notes": "none"},
    ],
    ids=str,
)
def test_a_damaged_manifest_is_refused_with_a_remedy(saved, changes):
    damage(saved, **changes)
    with pytest.raises(PortraitError, match="make the portrait again"):
        Portrait.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000], ids=lambda text: text[:4])
def test_a_manifest_that_is_not_json_is_refused_with_a_remedy(saved, text):
    (saved / "run.json").write_text(text)
    with pytest.raises(PortraitError, match="make the portrait again"):
        Portrait.load(saved)


def test_a_manifest_of_a_newer_version_is_refused(saved):
    damage(saved, format=99)
    with pytest.raises(PortraitError, match="update yours"):
        Portrait.load(saved)


@pytest.mark.parametrize("cut", [0, 30, 200, 1000, 5000])
def test_a_truncated_or_damaged_head_is_refused_with_a_remedy(saved, cut):
    data = (saved / HEAD).read_bytes()
    for damaged in (data[:cut], data[:cut] + b"\xff" * 40 + data[cut + 40 :]):
        (saved / HEAD).write_bytes(damaged)
        with pytest.raises(PortraitError, match="make the portrait again"):
            Portrait.load(saved)


def test_a_head_with_other_contents_is_refused_with_a_remedy(saved):
    triangle = {"vertices": torch.zeros(3, 3), "faces": torch.tensor([[0, 1, 2]])}
    for tensors, values in (
        (triangle, {}),
        (triangle, {"units_per_meter": 1.0, "metrics": None}),
        (triangle | {"vertices": torch.zeros(3, 2)}, {"units_per_meter": 1.0, "metrics": {}}),
        (triangle | {"faces": torch.tensor([[0, 1, 7]])}, {"units_per_meter": 1.0, "metrics": {}}),
        (triangle | {"faces": torch.zeros(1, 3)}, {"units_per_meter": 1.0, "metrics": {}}),
    ):
        write_artifact(saved / HEAD, (tensors, values))
        with pytest.raises(PortraitError, match="make the portrait again"):
            Portrait.load(saved)


def test_views_that_lie_outside_the_portrait_are_not_read(saved):
    Image.new("RGB", (32, 32)).save(saved / "secret.png")
    path = saved / "views" / "transforms.json"
    path.write_text(path.read_text().replace('"000.png"', '"../secret.png"'))
    with pytest.raises(PortraitError, match="outside the portrait"):
        read_views(saved)


def rendered(portrait: Portrait, folder: Path, *names: str) -> list[str]:
    write_transforms(folder / "cameras.json", toy_cameras(len(names), size=8), names)
    written = render_frames(portrait, folder / "cameras.json", folder / "out" / "frames")
    return [path.relative_to(folder / "out" / "frames").as_posix() for path in written]


def test_rendered_frames_never_leave_the_folder(tmp_path):
    portrait = toy_portrait()
    assert rendered(portrait, tmp_path, "../../a.png", f"{os.sep}b.jpg") == ["a.png", "b.png"]
    assert rendered(portrait, tmp_path, "../../x/a.png", "/y/a.png") == ["x/a.png", "y/a.png"]
    with pytest.raises(CaptureError, match="is not a file name"):
        rendered(portrait, tmp_path, "C:\\..\\a.png")
    assert {path.name for path in tmp_path.iterdir()} == {"cameras.json", "out"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["frames"]


def test_frames_that_would_overwrite_each_other_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(CaptureError, match="would all become"):
        rendered(toy_portrait(), tmp_path, "../x/a.png", "x/a.png", "b.png")
    with pytest.raises(CaptureError, match="would all become"):
        rendered(toy_portrait(), tmp_path, "a.png", "a.jpg")
    assert not (tmp_path / "out").exists()
