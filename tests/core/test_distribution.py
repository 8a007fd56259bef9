"""What `pip install .` leaves behind."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in the wheel."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_installs_two_packages(files):
    packages = {name.split("/")[0] for name in files if not name.split("/")[0].endswith(".dist-info")}
    assert packages == {"instax3d", "instax3d_plugins"}


def test_it_brings_every_file_that_the_source_has(files):
    for source, package in (
        (ROOT / "instax3d", "instax3d"),
        (ROOT / "plugins" / "instax3d_plugins", "instax3d_plugins"),
    ):
        suffixes = {".py", ".yaml", ".j2", ".npz", ".typed"}
        expected = {
            path.relative_to(source) for path in source.rglob("*") if path.suffix in suffixes or path.name == "py.typed"
        }
        missing = [path.as_posix() for path in sorted(expected) if f"{package}/{path.as_posix()}" not in files]
        assert not missing
