"""What is copied from object stores stays in the folder it is copied to."""

from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from instax3d.errors import ConfigError
from instax3d.io.remote import fetch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("INSTAX3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return tmp_path / "cache"


@pytest.mark.parametrize("key", ["../../../escaped.txt", "train/../../../../escaped.txt"])
def test_a_key_that_leads_out_of_the_folder_is_refused_and_writes_nothing(tmp_path, cache, key):
    files = MemoryFileSystem()
    files.pipe_file("/bucket/capture/transforms.json", b"{}")
    files.store[f"/bucket/capture/{key}"] = files.store["/bucket/capture/transforms.json"]
    with pytest.raises(ConfigError, match="leads out of its folder"):
        fetch("memory://bucket/capture")
    assert list(tmp_path.rglob("escaped.txt")) == []
    assert list((cache / "fetched").iterdir()) == []


@pytest.mark.parametrize("uri", ["memory://bucket/..", "memory://"])
def test_a_url_that_names_no_file_is_refused(uri):
    with pytest.raises(ConfigError, match=r"leads out|there is nothing"):
        fetch(uri)


def test_a_url_with_a_slash_at_the_end_is_the_same_folder():
    MemoryFileSystem().pipe_file("/bucket/capture/transforms.json", b"{}")
    assert (fetch("memory://bucket/capture/") / "transforms.json").read_bytes() == b"{}"
