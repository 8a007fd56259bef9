"""``instax3d evaluate`` on saved portraits: what they keep, what is held against them, what is told."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_portrait import toy_portrait

from instax3d.cli import main
from instax3d.geometry.cameras import write_transforms
from instax3d.io.images import write_png
from instax3d.portrait.layout import HEAD
from instax3d.portrait.portrait import Portrait
from instax3d.testing import toy_mesh, toy_views

LANDMARKS = torch.full((68, 3), -0.02)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A portrait of the toy ball in a world in which a meter is two units."""
    mesh = replace(
        toy_mesh(rings=24, spokes=36),
        landmarks=LANDMARKS,
        units_per_meter=2.0,
        axes=torch.eye(3),
        regions={"face": toy_mesh(rings=24, spokes=36).vertices[:, 2] > 0},
    )
    folder = tmp_path_factory.mktemp("saved") / "ball"
    return toy_portrait(mesh, replace(toy_views(), photo_index=None)).save(folder)


@pytest.fixture
def capture(tmp_path):
    """The true ball, a centimeter larger in the portrait's units."""
    views, mesh = toy_views(), toy_mesh(rings=24, spokes=36)
    names = [f"{index}.png" for index in range(len(views))]
    for name, image, alpha in zip(names, views.images, views.alpha):
        write_png(tmp_path / name, image, alpha)
    for name in ("transforms.json", "transforms_test.json"):
        write_transforms(tmp_path / name, views.cameras, names)
    np.savez(tmp_path / "mesh.npz", vertices=1.2 * mesh.vertices.numpy(), faces=mesh.faces.numpy())
    return tmp_path


def told(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_saved_portrait_keeps_what_metrics_need(saved):
    mesh, wanted = Portrait.load(saved).mesh, toy_mesh(rings=24, spokes=36)
    assert torch.equal(mesh.vertices, wanted.vertices)
    assert torch.equal(mesh.faces, wanted.faces)
    assert torch.equal(mesh.landmarks, LANDMARKS)
    assert torch.equal(mesh.regions["face"], wanted.vertices[:, 2] > 0)
    assert mesh.units_per_meter == 2
    assert mesh.rig is None


def test_the_truth_is_handed_to_metrics(saved, capture, capsys):
    found = told(capsys, saved, "--against", capture, "--metrics", "fidelity,surface,landmarks")
    assert found["not_measured"] == {}
    assert {"psnr_views", "psnr_test", "surface", "landmarks_faces"} <= set(found["metrics"])
    assert found["metrics"]["surface"] == pytest.approx(10, rel=0.05), "two centimeters in units of half a meter"
    other = told(capsys, saved, "--against", capture, "metrics=[{plugin: surface, units_per_meter: 1}]")
    assert other["metrics"]["surface"] == pytest.approx(2 * found["metrics"]["surface"], rel=1e-6)


def test_without_truth_the_reason_is_told_and_reported(saved, capsys):
    found = told(capsys, saved, "--metrics", "surface,fidelity")
    assert "needs the true surface" in found["not_measured"]["surface"]
    assert set(found["metrics"]) == {"psnr_views", "ssim_views"}
    assert main(["evaluate", str(saved), "--metrics", "surface,fidelity"]) == 0
    said = capsys.readouterr().out
    assert "surface: not measured: surface needs" in said
    page = (saved / "report.html").read_text()
    assert "surface needs the true surface" in page
    assert "mean PSNR over the views" in page


def test_the_report_shows_the_figures_with_their_definitions(saved, capture, capsys):
    assert main(["evaluate", str(saved), "--against", str(capture), "--metrics", "surface"]) == 0
    assert "surface_from_truth" in capsys.readouterr().out
    assert "chamfer distance of the fitted head" in (saved / "report.html").read_text()


def test_a_surface_that_cannot_be_read_is_refused(saved, capture, capsys):
    (capture / "mesh.npz").write_bytes(b"nothing")
    assert main(["evaluate", str(saved), "--against", str(capture)]) == 2
    assert "is not the surface of a head" in capsys.readouterr().err


def test_portraits_of_older_versions_are_still_read(saved, capture, capsys, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(saved, old)
    (old / HEAD).unlink()
    found = told(capsys, old, "--against", capture, "--metrics", "surface,fidelity")
    assert "has no landmarks" in found["not_measured"]["surface"]
    assert "psnr_test" in found["metrics"]
    (old / HEAD).write_bytes(b"no archive")
    assert main(["evaluate", str(old), "--json"]) == 2
    assert "make the portrait again" in capsys.readouterr().err
