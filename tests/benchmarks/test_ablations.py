"""The ablation benchmark measures what it says."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from instax3d.geometry.mesh_raster import rasterize

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def ablations():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("ablations", BENCHMARKS / "ablations.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["ablations"] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("ablations", None)


@pytest.fixture(scope="module")
def subject(ablations):
    head = ablations.mannequin_head(1)
    return ablations.synthetic("mannequin", head, size=96, seed=0, train=3, test=2)


@pytest.fixture(scope="module")
def surface(ablations, subject):
    vertices, faces = torch.from_numpy(subject.vertices).float(), torch.from_numpy(subject.faces)
    return ablations.HeldOutSurface(subject, ablations.HeadMesh(vertices, faces))


def test_a_run_finds_its_stored_rows_again(ablations):
    stored = json.loads((BENCHMARKS.parent / "docs" / "ablations.json").read_text(encoding="utf-8"))
    of_today = [json.loads(json.dumps(row.settings(ablations.Scale()))) for row in ablations.rows()]
    assert [each["settings"]["name"] for each in stored if each["settings"] not in of_today] == []


def depths(subject, vertices):
    cameras = subject.test.cameras
    for viewmat, K in zip(cameras.viewmats.numpy(), cameras.Ks.numpy()):
        raster = rasterize(vertices, subject.faces, viewmat, K, cameras.width, cameras.height)
        yield np.where(raster.mask, raster.depth, 0)


def test_the_true_surface_is_at_no_distance(subject, surface):
    assert surface.distances(list(depths(subject, subject.vertices)))["distance_mm"] < 0.1


def test_a_surface_set_back_is_at_its_distance(subject, surface):
    middle = (subject.vertices.min(0) + subject.vertices.max(0)) / 2
    smaller = (subject.vertices - middle) * 0.98 + middle
    measured = surface.distances(list(depths(subject, smaller.astype(np.float32))))["distance_mm"]
    assert 1.0 < measured < 4.0


def test_the_truth_has_all_its_detail_and_blur_loses_it(subject, surface):
    truth = subject.test.images
    assert surface.detail(truth, truth) == pytest.approx({"sharpness": 1.0, "detail": 1.0})
    blurred = surface.detail(functional.avg_pool2d(truth, 3, 1, 1), truth)
    assert blurred["sharpness"] < 0.3
    noise = 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    noisy = surface.detail(truth + noise, truth)
    assert noisy["sharpness"] > 1.1
    assert noisy["detail"] < 0.9


def test_landmarks_lie_on_the_head(subject):
    columns, rows = subject.views.faces[0].landmarks[17:].long().unbind(1)
    assert float(subject.views.alpha[0, 0][rows, columns].min()) > 0.5
    assert subject.views.faces[1] is None, "a third of a turn aside"


def test_rows_differ_from_the_base_in_what_they_say(ablations):
    made = [row.settings(ablations.Scale()) for row in ablations.rows()]
    assert len({each["name"] for each in made}) == len(made)
    plain = [{key: value for key, value in each.items() if key not in ("name", "group")} for each in made]
    assert all(plain.count(each) == 1 for each in plain)
    assert set(ablations.QUICK) <= {each["name"] for each in made}


@pytest.mark.slow
def test_an_interrupted_run_continues(tmp_path):
    def run(*rows: str) -> str:
        options = [option for row in rows for option in ("--row", row)]
        command = [sys.executable, str(BENCHMARKS / "ablations.py"), "--quick", "--out", str(tmp_path), *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("base").count("\n") == 1
    assert run("base", "none").splitlines()[0].split()[:2] == ["mannequin", "none"]
    results = json.loads((tmp_path / "ablations.json").read_text())
    assert [each["settings"]["name"] for each in results] == ["base", "none"]
    assert all(each["psnr"] > 25 for each in results)
    assert "| none |" in (tmp_path / "benchmarks.md").read_text()
