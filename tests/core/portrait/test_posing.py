"""A portrait is posed by names, created or loaded alike, and refuses in words what its head cannot do."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_portrait import toy_portrait, toy_rigged

from instax3d.cli import main
from instax3d.errors import PortraitError
from instax3d.io.artifacts import read_artifact, write_artifact
from instax3d.io.ply import read_ply
from instax3d.portrait.layout import RIG
from instax3d.portrait.portrait import Portrait


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    return toy_portrait(toy_rigged())


@pytest.fixture
def saved(portrait, tmp_path) -> Path:
    return portrait.save(tmp_path / "toy")


def same(one: Portrait, other: Portrait) -> bool:
    parts = zip(vars(one.gaussians).values(), vars(other.gaussians).values(), strict=True)
    return all(torch.equal(a, b) for a, b in parts) and torch.equal(one.mesh.vertices, other.mesh.vertices)


def test_without_changes_it_is_the_same_to_the_bit(portrait, saved):
    for each in (portrait, Portrait.load(saved)):
        assert same(each.pose(), each)
        assert torch.equal(each.pose().mesh.landmarks, each.mesh.landmarks)
        fitted = dict(zip(each.rig.head.expression_names, each.rig.parameters.expression.tolist(), strict=True))
        assert same(each.pose(fitted, jaw=(0, 0, 0)), each)


def test_an_expression_takes_the_place_of_the_fitted_one(portrait):
    posed = portrait.pose({"jawOpen": 1.0})
    rig = portrait.mesh.rig
    changed = replace(rig.parameters, expression=torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(posed.mesh.vertices, rig.vertices(changed), atol=1e-6, rtol=0)
    torch.testing.assert_close(posed.mesh.landmarks, rig.head.landmarks(posed.mesh.vertices), atol=1e-6, rtol=0)
    assert torch.equal(posed.rig.parameters.expression, changed.expression)
    assert not same(posed, portrait)


def test_joints_take_degrees_and_short_names(portrait):
    posed = portrait.pose(neck=(0, 20, 0), eyes=(5, 0, 0), joints={"jaw": (10, 0, 0)})
    turns = posed.rig.parameters.pose.rad2deg()
    torch.testing.assert_close(turns, torch.tensor([[0.0, 20, 0], [10, 0, 0], [5, 0, 0], [5, 0, 0]]))
    by_name = {"neck": (0, 20, 0), "eye_left": (5, 0, 0), "eye_right": (5, 0, 0)}
    assert same(posed, portrait.pose(joints=by_name, jaw=(10, 0, 0)))
    assert posed.manifest["posed"]["joints_deg"]["neck"] == [0.0, 20.0, 0.0]


def test_a_loaded_portrait_is_posed_as_the_created_one(portrait, saved):
    loaded = Portrait.load(saved)
    # the PLY holds logarithms of sizes, so the Gaussians are not the same to the bit
    for change in ({"expression": {"jawOpen": 0.9}}, {"neck": (10, 20, 5), "jaw": (15, 0, 0)}):
        one, other = portrait.pose(**change), loaded.pose(**change)
        assert torch.equal(one.mesh.vertices, other.mesh.vertices)
        torch.testing.assert_close(one.gaussians.means, other.gaussians.means, atol=1e-6, rtol=0)


def test_a_posed_portrait_is_saved_and_posed_back(portrait, tmp_path):
    there = portrait.pose({"jawOpen": 1.0}, neck=(0, 20, 0))
    folder = there.save(tmp_path / "there")
    assert not (folder / "views").exists()
    run = json.loads((folder / "run.json").read_text())
    assert run["metrics"] == {}
    assert run["posed"] == {"expression": {"jawOpen": 1.0}, "joints_deg": {"neck": [0.0, 20.0, 0.0]}}
    back = Portrait.load(folder).pose({"jawOpen": 0.25}, neck=(0, 0, 0))
    torch.testing.assert_close(back.mesh.vertices, portrait.mesh.vertices, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.gaussians.means, portrait.gaussians.means, atol=5e-3, rtol=0)
    assert back.manifest["posed"] == {"expression": {"jawOpen": 0.25}, "joints_deg": {"neck": [0.0, 0.0, 0.0]}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expression": {"jawopen": 0.5}}, "did you mean 'jawOpen'"),
        ({"expression": {"frown": 0.5}}, "there are: jawOpen, smile"),
        ({"expression": {"smile": 1.5}}, r"give a weight in \[0, 1\]"),
        ({"expression": {"smile": float("nan")}}, "outside the range"),
        ({"joints": {"necc": (0, 0, 0)}}, "did you mean 'neck'"),
        ({"neck": (0, 20)}, "three angles x, y, z in degrees"),
        ({"neck": (0, float("inf"), 0)}, "three angles"),
        ({"neck": (0, 1, 0), "joints": {"neck": (0, 2, 0)}}, "given twice"),
        ({"eyes": (0, 1, 0), "joints": {"eye_left": (0, 2, 0)}}, "leave one of them out"),
    ],
    ids=str,
)
def test_what_the_head_cannot_do_is_refused(portrait, change, said):
    with pytest.raises(PortraitError, match=said):
        portrait.pose(**change)


def test_a_portrait_without_a_rig_says_so(tmp_path):
    plain = toy_portrait()
    folder = plain.save(tmp_path / "plain")
    assert not (folder / RIG).exists()
    for each in (plain, Portrait.load(folder)):
        with pytest.raises(PortraitError, match="has no rig"):
            each.pose()


def test_gaussians_without_a_binding_move_with_the_nearest_triangle(portrait):
    centers = portrait.mesh.vertices[portrait.mesh.faces].mean(1)
    away = torch.cdist(portrait.gaussians.means, centers)
    chosen = away.gather(1, portrait.binding[:, None])[:, 0]
    assert bool((chosen <= away.amin(1) + 0.05).all())


def rewritten(folder: Path, **tensors: torch.Tensor) -> None:
    old, values = read_artifact(folder / RIG)
    write_artifact(folder / RIG, (old | tensors, values))


@pytest.mark.parametrize(
    "tensors",
    [
        {"vertices": torch.zeros(3, 3)},
        {"expressions": torch.zeros(1, 86, 3)},
        {"binding": torch.full((40,), 10_000, dtype=torch.int32)},
        {"binding": torch.zeros(3, dtype=torch.int32)},
        {"pose": torch.full((4, 3), float("nan"))},
        {"skinning": torch.zeros(86, 2)},
        {"faces": torch.zeros(168, 3)},
        {"other": torch.zeros(3)},
    ],
    ids=lambda tensors: next(iter(tensors)),
)
def test_a_damaged_rig_is_refused_with_a_remedy(saved, tensors):
    rewritten(saved, **tensors)
    with pytest.raises(PortraitError, match="make the portrait again"):
        Portrait.load(saved)


@pytest.mark.parametrize("cut", [0, 30, 1000])
def test_a_truncated_rig_is_refused_with_a_remedy(saved, cut):
    (saved / RIG).write_bytes((saved / RIG).read_bytes()[:cut])
    with pytest.raises(PortraitError, match="make the portrait again"):
        Portrait.load(saved)


def test_a_rig_that_would_fill_the_memory_or_run_code_is_refused(saved, monkeypatch):
    arrays = dict(np.load(saved / RIG, allow_pickle=False))
    monkeypatch.setattr("instax3d.portrait.rig_file.LARGEST", 1000)
    with pytest.raises(PortraitError, match="would take more than"):
        Portrait.load(saved)
    monkeypatch.undo()
    np.savez(saved / RIG, **{**arrays, "pose": np.array([print], dtype=object)})
    with pytest.raises(PortraitError, match="make the portrait again"):
        Portrait.load(saved)


def test_a_rig_of_a_newer_version_is_refused(saved):
    tensors, values = read_artifact(saved / RIG)
    write_artifact(saved / RIG, (tensors, {**values, "format": 99}))
    with pytest.raises(PortraitError, match="update yours"):
        Portrait.load(saved)


def test_the_command_writes_pictures_gaussians_and_folders(saved, tmp_path, capsys):
    assert main(["pose", str(saved)]) == 0
    listed = capsys.readouterr().out
    assert "jawOpen=0.25" in listed
    assert "neck=0,0,0" in listed
    change = [str(saved), "jawOpen=0.9", "neck=0,20,0"]
    assert main(["pose", *change, "-o", str(tmp_path / "a" / "posed.png"), "--azimuth", "30"]) == 0
    with Image.open(tmp_path / "a" / "posed.png") as image:
        assert image.size == (32, 32)
    assert main(["pose", *change, "-o", str(tmp_path / "posed.ply")]) == 0
    assert main(["pose", *change, "-o", str(tmp_path / "posed")]) == 0
    expected = Portrait.load(saved).pose({"jawOpen": 0.9}, neck=(0, 20, 0)).gaussians.means
    assert torch.equal(read_ply(tmp_path / "posed.ply").means, expected)
    assert torch.equal(Portrait.load(tmp_path / "posed").gaussians.means, expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["jawOpen=0.5"], "say with -o"),
        (["jawOpen", "-o", "x"], "cannot understand 'jawOpen'"),
        (["jawOpen=wide", "-o", "x"], "write jawOpen=0.6"),
        (["jaw=15", "-o", "x"], "needs three angles"),
        (["--azimuth", "3", "-o", "x"], "--azimuth is for a picture"),
        (["jawOpenn=0.5", "-o", "x"], "did you mean 'jawOpen'"),
        (["smile=2", "-o", "x"], "give a weight in"),
    ],
    ids=str,
)
def test_the_command_refuses_in_a_sentence(saved, arguments, said, capsys):
    assert main(["pose", str(saved), *arguments]) == 2
    assert said in capsys.readouterr().err
