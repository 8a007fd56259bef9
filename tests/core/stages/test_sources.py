"""Results are made again when a plugin's code or data has changed, wherever it lies, and only then."""

import importlib
import sys
from pathlib import Path

import pytest

from instax3d.errors import BrokenPluginError
from instax3d.plugin import Kind, PluginSpec
from instax3d.registry import PluginEntry, Provider, registry
from instax3d.stages import fingerprint, sources


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder on the path, as that of a development checkout."""
    monkeypatch.syspath_prepend(tmp_path)
    for cached in (sources._locate, sources._contents, sources._installed_folders):
        cached.cache_clear()
    importlib.invalidate_caches()
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def hashed(target: str, config: str, distribution: str = "(development)") -> str:
    spec = PluginSpec(
        kind=Kind.DENSIFIER, name="mine", summary="", target=f"{target}:Mine", config=f"{config}:MineConfig"
    )
    fingerprint.hash_code.cache_clear()
    return fingerprint.hash_plugin(PluginEntry(spec, Provider("mine", distribution, "1")))


def changes(folder: Path, edits: list[str], target: str, config: str, distribution: str = "(development)") -> list[str]:
    """The files among ``edits`` whose edit changes the hash."""
    before = hashed(target, config, distribution)
    assert hashed(target, config, distribution) == before
    found = []
    for name in edits:
        path = folder / name
        data = path.read_bytes()
        path.write_bytes(data + b"# edited")
        if hashed(target, config, distribution) != before:
            found.append(name)
        path.write_bytes(data)
    assert hashed(target, config, distribution) == before
    return found


def test_every_file_of_the_plugins_own_package_counts_and_bytecode_does_not(folder):
    files = {
        "own_a/__init__.py": "",
        "own_a/densifier.py": "",
        "own_a/config.py": "",
        "own_a/unused.py": "",
        "own_a/data/table.json": "{}",
        "own_a/weights.npz": "",
    }
    write(folder, files)
    assert changes(folder, list(files), "own_a.densifier", "own_a.config") == list(files)
    others = {"own_a/__pycache__/x.pyc": "", "own_a/.cache/x.npz": "", "own_a/README.md": ""}
    write(folder, others)
    assert changes(folder, list(others), "own_a.densifier", "own_a.config") == []


def test_a_single_module_counts_with_the_modules_it_imports(folder):
    files = {
        "single_impl.py": "def f():\n    from single_lib import KEEP",
        "single_conf.py": "import single_names",
        "single_lib.py": "KEEP = 1.0",
        "single_names.py": "",
        "single_other.py": "",
    }
    write(folder, files)
    assert changes(folder, list(files), "single_impl", "single_conf") == list(files)[:4]


def test_a_plugin_in_a_namespace_package_is_hashed(folder):
    files = {
        "space/impl.py": "from . import helper\nfrom .deep.inner import x",
        "space/conf.py": "",
        "space/helper.py": "",
        "space/table.npz": "",
        "space/deep/inner.py": "",
        "space/other.py": "",
    }
    write(folder, files)
    assert changes(folder, list(files), "space.impl", "space.conf") == list(files)[:5]
    write(folder, {"space/family/__init__.py": "", "space/family/impl.py": "", "space/family/conf.py": ""})
    edits = ["space/family/impl.py", "space/family/conf.py", "space/impl.py"]
    assert changes(folder, edits, "space.family.impl", "space.family.conf") == edits[:2]


def test_a_helper_package_counts_file_by_file_with_its_data(folder):
    files = {
        "plug_b/__init__.py": "",
        "plug_b/impl.py": "import helper_b.core as core",
        "plug_b/conf.py": "",
        "helper_b/__init__.py": "",
        "helper_b/core.py": "from .maths import f",
        "helper_b/maths.py": "",
        "helper_b/data/table.json": "{}",
        "helper_b/unused.py": "",
    }
    write(folder, files)
    assert changes(folder, list(files), "plug_b.impl", "plug_b.conf") == list(files)[:-1]


def test_installed_code_counts_where_it_is_of_the_same_distribution_only(folder, monkeypatch):
    files = {
        "plug_c/__init__.py": "",
        "plug_c/impl.py": "import helper_c, library_c",
        "plug_c/conf.py": "",
        "helper_c/__init__.py": "",
        "library_c/__init__.py": "",
    }
    write(folder, files)
    info = folder / "mine_c-1.dist-info"
    write(folder, {"mine_c-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine-c\nVersion: 1\n"})
    monkeypatch.setattr(sources, "_installed_folders", lambda: (folder.resolve(),))
    (info / "top_level.txt").write_text("plug_c\nhelper_c\n")
    assert changes(folder, list(files), "plug_c.impl", "plug_c.conf", "mine-c") == list(files)[:-1]
    sources._contents.cache_clear()
    (info / "RECORD").write_text("plug_c/__init__.py,,\nplug_c/impl.py,,\nplug_c/conf.py,,\nhelper_c/__init__.py,,\n")
    assert changes(folder, list(files), "plug_c.impl", "plug_c.conf", "mine-c") == list(files)[:-1]


def test_editing_a_family_changes_that_family_alone(folder):
    files = {
        "families_d/__init__.py": "",
        "families_d/one/__init__.py": "",
        "families_d/one/impl.py": "from .helper import x",
        "families_d/one/helper.py": "",
        "families_d/one/conf.py": "",
        "families_d/two/__init__.py": "",
        "families_d/two/impl.py": "",
        "families_d/two/conf.py": "",
    }
    write(folder, files)
    one = changes(folder, list(files), "families_d.one.impl", "families_d.one.conf")
    two = changes(folder, list(files), "families_d.two.impl", "families_d.two.conf")
    assert one == list(files)[:5]
    assert two == ["families_d/__init__.py", *list(files)[5:]]


def test_nothing_is_imported_to_take_a_fingerprint(folder):
    files = {
        "quiet_e/__init__.py": "",
        "quiet_e/impl.py": "import loud_e.inner",
        "loud_e/__init__.py": "raise RuntimeError",
        "loud_e/inner.py": "",
    }
    write(folder, files)
    assert changes(folder, list(files), "quiet_e.impl", "quiet_e.impl") == list(files)
    assert not {name for name in sys.modules if name.startswith(("loud_e", "quiet_e"))}


def test_code_that_is_not_there_is_refused_in_words(folder):
    with pytest.raises(BrokenPluginError, match="reinstall"):
        hashed("nowhere_f.impl", "nowhere_f.conf")


def test_every_installed_plugin_is_known_by_files_of_its_own():
    for entry in registry().entries:
        target = entry.spec.target.partition(":")[0]
        config = target if entry.spec.config is None else entry.spec.config.partition(":")[0]
        names = {name for name, _ in sources.plugin_sources(target, config, entry.provider.distribution)}
        family = ".".join(target.split(".")[:2])
        assert {target, config} <= names
        assert {name for name in names if not name.startswith(family)} <= {"instax3d_plugins"}, "no other family's"
