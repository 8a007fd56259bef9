"""A stranger's head model, a distribution of its own: fitted, drawn and made into portraits without any other code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from labface_data import write_labface
from small_portrait import SMALL

SUITE = """
import pytest
from instax3d import HeadModel, build
from instax3d.testing import HeadModelSuite


class TestLabFace(HeadModelSuite):
    @pytest.fixture
    def plugin(self):
        return build(HeadModel, "labface")
"""
FIT = """
import sys

import torch
import instax3d
from instax3d import HeadModel, HeadParameters, MeshPrior, build
from instax3d.testing import plausible_parameters, views_of_model

model = build(HeadModel, "labface")
for prior in (build(MeshPrior, "labface"), build(MeshPrior, "landmarks", head="labface", shape_components=20)):
    assert prior.head_model() is model, "made once"
    mesh = prior.fit(views_of_model(model, 3, 128))
    assert mesh.rig.head is model
    assert mesh.metrics["landmark_error"] < 0.01, mesh.metrics
    assert abs(mesh.units_per_meter - 1) < 0.1
    assert float((mesh.vertices - model(model.neutral()))[model.regions["face"]].norm(dim=1).mean()) < 0.004
assert int((mesh.rig.parameters.shape != 0).sum()) == 20

config = instax3d.load_config(overrides=["mesh_prior=labface", "view_generator.head=labface"], source="photo")
assert config.choices["mesh_prior"].entry.provider.distribution == "labface"
"""
SUPPORT = Path(__file__).parent.parent / "support"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pip leaves it after installing the distribution, and beside it a folder of assets."""
    site = tmp_path_factory.mktemp("labface")
    shutil.copytree(SUPPORT / "labface", site / "labface", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "labface-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labface\nVersion: 1.0\nLicense-Expression: CC0-1.0\n")
    (info / "entry_points.txt").write_text("[instax3d.plugins]\nlabface = labface.plugin\n")
    write_labface(site / "assets" / "labface" / "labface.npz")
    return site


def run(site: Path, *arguments: str, assets: str = "assets") -> str:
    """What a program of another process prints, where the distribution is installed."""
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]; "
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(site), *arguments],
        capture_output=True,
        text=True,
        cwd=site,
        check=False,
        env={**os.environ, "INSTAX3D_ASSETS": str(site / assets)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_head_model_is_short(site: Path):
    lines = (site / "labface" / "head.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) < 65


def test_it_is_listed_with_its_bound_name_and_nothing_is_wrong_with_it(site: Path):
    listed = json.loads(run(site, "instax3d", "plugins", "list", "--json"))["plugins"]
    mine = [(item["kind"], item["distribution"]) for item in listed if item["name"] == "labface"]
    assert sorted(mine) == [("head_model", "labface"), ("mesh_prior", "labface")]
    options = {option["name"] for item in json.loads(run(site, "instax3d", "plugins", "show", "labface", "--json"))
               for option in item["options"]}  # fmt: skip
    assert options == {"file", "shape_components"}
    run(site, "instax3d", "plugins", "check")


def test_it_passes_the_suite_of_its_kind(site: Path):
    (site / "test_labface.py").write_text(SUITE)
    assert "passed" in run(site, "pytest", "-q", "-p", "no:cacheprovider", "test_labface.py")


def test_it_is_fitted_to_views(site: Path):
    (site / "fit_labface.py").write_text(FIT)
    run(site, "fit_labface")


def test_its_file_is_asked_for_before_any_work(site: Path, tmp_path: Path):
    overrides = ["mesh_prior=labface", "view_generator.head={plugin: labface, file: /nowhere.npz}"]
    with pytest.raises(AssertionError) as raised:
        run(site, "instax3d", "fit", __file__, "-o", str(tmp_path / "out"), *overrides, assets="empty")
    assert "mesh_prior.file: labface is not here: the lab's face model" in str(raised.value)
    assert "view_generator.head.file: /nowhere.npz does not exist" in str(raised.value)


@pytest.mark.slow
def test_a_portrait_is_made_of_a_photo(site: Path, photo: Path, tmp_path: Path):
    own = shutil.copy(site / "assets" / "labface" / "labface.npz", tmp_path / "mine.npz")
    heads = ["mesh_prior=labface", f"view_generator.head={{plugin: labface, file: {own}}}"]
    out = tmp_path / "out"
    run(site, "instax3d", "create", str(photo), "-o", str(out), "--preset", "draft", *SMALL, *heads)
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["head_model"] == {"name": "labface", "identity": ""}
    assert manifest["fit"]["landmark_error"] < 0.06
    for key in ("mesh_prior", "view_generator.head"):
        assert manifest["plugins"][key]["distribution"] == "labface"
        assert manifest["plugins"][key]["license"] == "CC0-1.0"
    used = {record["used_by"]: record["files"][0]["path"] for record in manifest["assets"] if "files" in record}
    assert used["view_generator.head.file"] == str(own)
    assert used["mesh_prior.file"].endswith("labface.npz")
    assert manifest["metrics"]["psnr_photo"] > 12


@pytest.mark.slow
@pytest.mark.data
def test_it_is_fitted_to_a_capture(site: Path, data_dir: Path, tmp_path: Path):
    out = tmp_path / "fit"
    run(site, "instax3d", "fit", str(data_dir / "head_scan"), "-o", str(out), "mesh_prior=labface")
    figures = json.loads((out / "fit.json").read_text())
    assert figures["head_model"]["name"] == "labface"
    assert figures["metrics"]["landmark_error"] < 0.04
    assert figures["reprojection"]
