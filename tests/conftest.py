"""Runs the whole suite under jaxtyping + beartype, and finds the folders of reference data."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

import instax3d  # noqa: F401 - before torch, for its OpenMP setting

# Nothing that tests keep, or find, shall lie in the user's own cache.
os.environ["INSTAX3D_CACHE"] = tempfile.mkdtemp(prefix="instax3d-tests-")
os.environ.pop("INSTAX3D_ASSETS", None)
atexit.register(shutil.rmtree, os.environ["INSTAX3D_CACHE"], ignore_errors=True)

# Before anything imports the packages, so that every annotation is checked; tests/test_typechecking.py proves it.
_hook = install_import_hook(["instax3d", "instax3d_plugins"], "checker.check")

# The first example pays for imports and compilation, on machines of any speed.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT / default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"reference folder {folder} is absent; set {variable} to where it is")
    return folder


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Numbers of the original implementations."""
    return _folder("INSTAX3D_FIXTURES", "../shared/fixtures")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real photos and scans."""
    return _folder("INSTAX3D_DATA", "../shared/data")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For networks so small that threads only wait for each other, ten times as long on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo that comes with a package."""
    from PIL import Image
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def made(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small portrait of that photo, made by the command line; not to be changed."""
    from small_portrait import SMALL

    from instax3d.cli import main

    folder = tmp_path_factory.mktemp("out") / "small"
    assert main(["create", str(photo), "-o", str(folder), "--preset", "draft", *SMALL]) == 0
    return folder
