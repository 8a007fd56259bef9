"""Plugins that were written for version 1.0 of the contract, whose files never change, keep working.

A change that makes one of these tests fail breaks plugins of other people. Do not edit the frozen files: give the
contract a new major version, or find another way.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_portrait import SMALL

from instax3d.testing import DensifierSuite, MetricSuite

FROZEN = Path(__file__).resolve().parents[1] / "frozen"
PLUGINS = FROZEN / "v1_0"
PACKAGES = ("frozen_pruner", "frozen_likeness")
SUMS = {
    "contract/1.0.json": "8a6851e28464789aa9dcef07d2a6bbf89add122a013c4ac183ad072ec19a610e",
    "v1_0": "6ab7f131cb10d3a341874a08a09569a3c922b571cda9528a3bf1bcc964ce3a4a",
}


def digest(path: Path) -> str:
    """Of a file, or of all Python files in a folder with their names; line ends do not count."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    lines = [line for file in files for line in (file.name.encode(), *file.read_bytes().splitlines())]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


@pytest.mark.parametrize("name", SUMS)
def test_what_is_frozen_was_not_edited(name):
    assert digest(FROZEN / name) == SUMS[name], "restore the files: they show what was promised"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGINS)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a process in which both distributions are installed."""
    for package in PACKAGES:
        info = tmp_path / "site" / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[instax3d.plugins]\n{package} = {package}.plugin\n")
    before = filter(None, [os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(PLUGINS), *before])}


def run(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "instax3d", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_they_are_listed_with_the_version_that_they_were_written_for(environment):
    listed = json.loads(run(environment, "plugins", "list", "--json"))
    assert listed["broken"] == []
    found = {each["name"]: each["api"] for each in listed["plugins"] if each["name"] in PACKAGES}
    assert found == dict.fromkeys(PACKAGES, "1.0")


def test_a_portrait_is_made_and_measured_with_them(environment, photo, tmp_path):
    out = tmp_path / "out"
    chosen = ["densifier=frozen_pruner", "densifier.every=25", "metrics=[{plugin: frozen_likeness, head: mannequin}]"]
    run(environment, "create", str(photo), "-o", str(out), "--preset", "draft", "--no-cache", *SMALL, *chosen)
    manifest = json.loads((out / "run.json").read_text())
    metrics = manifest["metrics"]
    assert 0.7 < metrics["frozen_height"] < 1.4
    assert 0 < metrics["frozen_brightness"] < 1
    assert manifest["gaussians"] > 0


class TestFrozenPruner(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        from frozen_pruner.config import FrozenPrunerConfig
        from frozen_pruner.densifier import FrozenPruner

        return FrozenPruner(FrozenPrunerConfig())

    def test_it_removes_what_it_should(self, history):
        _, _, counts = history
        assert counts[0] == self.initial > counts[-1]


class TestFrozenLikeness(MetricSuite):
    metric_names = ("frozen_height", "frozen_brightness")

    @pytest.fixture
    def plugin(self):
        from frozen_likeness.config import FrozenLikenessConfig
        from frozen_likeness.metric import FrozenLikeness

        return FrozenLikeness(FrozenLikenessConfig())
