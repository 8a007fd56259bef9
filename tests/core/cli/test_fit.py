"""The fit alone: its folder, its overlays and its figures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from instax3d.cli import main
from instax3d.config import load_config
from instax3d.errors import AssetError, PortraitError
from instax3d.geometry.mesh_raster import rasterize
from instax3d.headmodel import HeadModel
from instax3d.heads.head_parameters import FittedHead, read_head, write_head
from instax3d.registry import build
from instax3d.report.fit_output import write_fit
from instax3d.report.overlays import DETECTED, MESH, PROJECTED, overlay, reprojection
from instax3d.stages.pipeline import FittedViews
from instax3d.testing.suites import views_of_model
from instax3d.types import Capture, HeadMesh, Rig, Views


@pytest.fixture(scope="module")
def model() -> HeadModel:
    return build(HeadModel, "mannequin")


@pytest.fixture(scope="module")
def views(model) -> Views:
    views = views_of_model(model, count=2)
    vertices, faces = model(model.neutral()).double().numpy(), model.faces.numpy()
    alpha = torch.zeros_like(views.alpha)
    for index in range(len(views)):
        camera = views.cameras[index]
        mask = rasterize(
            vertices, faces, camera.viewmats[0].numpy(), camera.Ks[0].numpy(), camera.width, camera.height
        ).mask
        alpha[index, 0] = torch.from_numpy(mask).float()
    return replace(views, alpha=alpha)


@pytest.fixture(scope="module")
def mesh(model) -> HeadMesh:
    """The very head of the views."""
    vertices = model(model.neutral())
    rig = Rig(model, model.neutral(), torch.eye(3), torch.zeros(3), 1.0)
    return HeadMesh(vertices, model.faces, landmarks=model.landmarks(vertices), regions=model.regions, rig=rig)


def test_the_head_of_the_views_has_no_error(mesh, views):
    rows = reprojection(mesh, views)
    assert rows
    for row in rows:
        assert row["all_median_px"] < 0.01
        assert row["silhouette_iou"] > 0.98


def test_a_head_that_drew_the_views_is_compared_with_the_photo_alone(mesh, views):
    known = replace(mesh, metrics={"known": 1.0})
    assert [row["view"] for row in reprojection(known, replace(views, photo_index=1))] == [1]
    assert len(reprojection(known, views)) == len(views)


def test_errors_are_told_as_they_are(mesh, views):
    index = next(i for i, face in enumerate(views.faces) if face is not None)
    face = views.faces[index]
    moved = replace(face, landmarks=face.landmarks + torch.tensor([3.0, 4.0]))
    faces = tuple(moved if i == index else None for i in range(len(views)))
    (row,) = reprojection(mesh, replace(views, faces=faces))
    assert row["view"] == index
    assert row["inner_mean_px"] == pytest.approx(5.0, abs=0.01)
    apart = float((face.landmarks[36] - face.landmarks[45]).norm())
    assert row["inner_median_percent"] == pytest.approx(500 / apart, abs=0.02)


def test_an_overlay_shows_landmarks_wires_and_outlines(mesh, views):
    index = next(i for i, face in enumerate(views.faces) if face is not None)
    face = views.faces[index]
    faces = list(views.faces)
    below = torch.tensor([0.0, 6.0])
    faces[index] = replace(face, landmarks=face.landmarks + below)
    picture = overlay(mesh, replace(views, faces=tuple(faces)), index)
    assert picture.shape == (3, 768, 1536)
    factor = 768 / views.cameras.width
    left, right = picture[:, :, :768], picture[:, :, 768:]

    def color_at(point):
        x, y = (point * factor - 0.5).round().long().tolist()
        return (left[:, y, x] * 255).round().int().tolist()

    assert color_at(face.landmarks[8] + below) == list(DETECTED)
    assert color_at(face.landmarks[8]) == list(PROJECTED)
    blue = (right * 255 - torch.tensor(MESH)[:, None, None]).abs().amax(0) < 2
    assert int(blue.sum()) > 1000


def test_the_folder_of_a_fit(mesh, views, tmp_path, model):
    config = load_config(source="photo")
    fitted = FittedViews(Capture(tmp_path, views.cameras, ()), views, mesh)
    figures = write_fit(tmp_path / "fit", fitted, config, {"kind": "photo", "name": "x.jpg"})
    names = sorted(path.relative_to(tmp_path / "fit").as_posix() for path in (tmp_path / "fit").rglob("*.*"))
    assert names == [
        *("config.yaml", "fit.json", "mesh.obj"),
        *(f"overlays/{index:03}.png" for index in range(len(views))),
        "parameters.npz",
    ]
    assert json.loads((tmp_path / "fit" / "fit.json").read_text()) == json.loads(json.dumps(figures))
    assert figures["head_model"] == {"name": "mannequin", "identity": ""}
    head = read_head(tmp_path / "fit" / "parameters.npz")
    assert head.model == "mannequin"
    assert head.expression_names == model.expression_names
    np.testing.assert_allclose(head.root, model.posed_joints(model.neutral())[0].numpy(), atol=1e-6)
    write_fit(tmp_path / "fit", fitted, config, {})  # over an earlier one
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    with pytest.raises(PortraitError, match="is not a fit of a head"):
        write_fit(tmp_path / "other", fitted, config, {})
    assert main(["fit", "nosuch.jpg", "-o", str(tmp_path / "other")]) == 2


def test_parameters_come_back_and_others_are_refused(tmp_path):
    head = FittedHead("toy", "id", np.ones(3), np.zeros(2), np.zeros((1, 3)), scale=2.0)
    write_head(tmp_path / "p.npz", head)
    found = read_head(tmp_path / "p.npz")
    assert (found.model, found.identity, found.scale, found.root) == ("toy", "id", 2.0, None)
    np.testing.assert_array_equal(found.shape, head.shape)
    np.savez(tmp_path / "q.npz", shape=np.ones(3))
    for name in ("q.npz", "nosuch.npz"):
        with pytest.raises(AssetError, match="not a file of head parameters"):
            read_head(tmp_path / name)
    with pytest.raises(AssetError, match="cannot write"):
        write_head(tmp_path / "nosuch" / "p.npz", head)
