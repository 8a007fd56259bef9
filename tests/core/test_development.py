"""Files on disk that announce plugins: what `INSTAX3D_DEV_PLUGINS` names beside modules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from instax3d._development import FilePoint, module_name, points_of
from instax3d.errors import BrokenPluginError
from instax3d.plugin import API_VERSION, Kind
from instax3d.registry import PluginEntry, Registry
from instax3d.stages import fingerprint, sources

REGISTERS = """
import instax3d
from instax3d import Densifier, DensifyReport, PluginConfig

class MineConfig(PluginConfig):
    share: float = 0.5

@instax3d.register(name="mine", config=MineConfig)
class Mine(Densifier[MineConfig]):
    '''Changes nothing.'''
    def before_backward(self, step): ...
    def after_step(self, step): return DensifyReport()
"""
ANNOUNCES = """
from instax3d import Kind, PluginSpec, hookimpl

INSTAX3D_API = "1.1"

@hookimpl
def instax3d_plugins():
    yield PluginSpec(kind=Kind.DENSIFIER, name="told", summary="By a hook.", target=f"{__name__}:Told")

def __getattr__(name):
    if name != "Told":
        raise AttributeError(name)
    from instax3d import Densifier, DensifyReport
    class Told(Densifier):
        def before_backward(self, step): ...
        def after_step(self, step): return DensifyReport()
    return Told
"""


@pytest.fixture(autouse=True)
def _forgotten():
    """Modules of files are unloaded after each test."""
    yield
    for name in [name for name in sys.modules if name.startswith("instax3d_dev_")]:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def of(*paths: Path | str) -> Registry:
    return Registry(points_of(",".join(map(str, paths))))


def only(plugins: Registry, name: str) -> PluginEntry:
    assert plugins.broken == []
    return plugins.get(Kind.DENSIFIER, name)


def run(variable: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "INSTAX3D_DEV_PLUGINS": str(variable)}
    command = [sys.executable, "-m", "instax3d", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_file_may_register_classes(tmp_path):
    path = write(tmp_path / "my file.py", REGISTERS)
    entry = only(of(path), "mine")
    assert entry.build(entry.config_class()(share=0.25)).config.share == 0.25
    assert (entry.provider.entry_point, entry.provider.api) == (str(path), API_VERSION)
    assert module_name(path) == "instax3d_dev_my_file" == entry.plugin_class().__module__


def test_a_file_may_have_the_hook_of_a_registration_module(tmp_path):
    entry = only(of(write(tmp_path / "told.py", ANNOUNCES)), "told")
    assert entry.plugin_class().__name__ == "Told"


def test_a_file_may_do_both_and_be_given_with_others(tmp_path):
    other = write(tmp_path / "other.py", REGISTERS.replace('"mine"', '"third"'))
    plugins = of(write(tmp_path / "both.py", REGISTERS + ANNOUNCES), other)
    files = {name: Path(only(plugins, name).provider.entry_point).stem for name in ("mine", "told", "third")}
    assert files == {"mine": "both", "told": "both", "third": "other"}


@pytest.mark.parametrize(
    ("item", "is_file"),
    [
        ("mine.py", True),
        ("/home/me/mine.py", True),
        ("~/mine.py", True),
        (r"C:\Users\me\mine.py", True),
        ("./mine", True),
        ("mine", False),
        ("my_package.plugin", False),
    ],
)
def test_paths_are_told_from_modules(item, is_file):
    (point,) = points_of(f" {item} ,")
    assert isinstance(point, FilePoint) == is_file
    assert point.value == item


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is not there"),
        ("1 +", "SyntaxError"),
        ("x = 1", "announces nothing"),
        (ANNOUNCES.replace("INSTAX3D_API", "OTHER"), "add INSTAX3D_API"),
        (ANNOUNCES.replace('"1.1"', '"99.0"'), "targets plugin API 99.0"),
        (f"INSTAX3D_API = 1.1\n{REGISTERS}", "write it in quotes"),
        (f"{REGISTERS}\n{ANNOUNCES.replace('INSTAX3D_API', 'OTHER')}", "add INSTAX3D_API"),
        (f"{REGISTERS}\nraise SystemExit('give me a GPU')", "give me a GPU"),
        (REGISTERS.replace("after_step", "after"), "does not implement after_step"),
        (REGISTERS.replace('name="mine"', 'name="absgs", makes="mesh"'), "reads or makes, which only stages have"),
        (REGISTERS.replace('"mine"', '"good"'), "'good' is already offered"),
    ],
    ids=["absent", "syntax", "none", "no-api", "other-api", "float", "mixed", "exits", "half", "claim", "taken"],
)
def test_what_is_wrong_with_a_file_is_kept_and_harms_nothing(tmp_path, text, reason):
    path = tmp_path / "wrong.py"
    if text is not None:
        write(path, text)
    plugins = of(write(tmp_path / "good.py", REGISTERS.replace('"mine"', '"good"')), path)
    assert [entry.spec.name for entry in plugins.entries] == ["good"]
    (broken,) = plugins.broken
    assert broken.entry_point == str(path)
    assert reason in broken.reason


def test_two_files_of_one_name_are_refused(tmp_path):
    plugins = of(write(tmp_path / "a" / "mine.py", REGISTERS), write(tmp_path / "b" / "mine.py", ANNOUNCES))
    (broken,) = plugins.broken
    assert "rename one" in broken.reason
    assert [entry.spec.name for entry in plugins.entries] == ["mine"]


def test_strict_lets_an_error_of_a_file_raise(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTAX3D_STRICT_PLUGINS", "1")
    with pytest.raises(BrokenPluginError, match="is not there"):
        of(tmp_path / "absent.py")


def test_a_file_hides_no_library_of_its_name(tmp_path):
    only(of(write(tmp_path / "json.py", REGISTERS)), "mine")
    assert sys.modules["json"] is json


def test_the_command_line_uses_a_file_and_shows_what_is_wrong_with_another(tmp_path):
    path = write(tmp_path / "mine.py", REGISTERS)
    listed = json.loads(run(f"{path}, {tmp_path / 'absent.py'}", "plugins", "list", "--json").stdout)
    assert [each["name"] for each in listed["plugins"] if each["distribution"] == "(development)"] == ["mine"]
    assert "is not there" in listed["broken"][0]["error"]
    checked = run(f"{path},{tmp_path / 'absent.py'}", "config", "check", "densifier=mine", "densifier.share=0.125")
    assert checked.returncode == 0, checked.stderr
    unknown = run(tmp_path / "absent.py", "config", "check", "densifier=mine")
    assert unknown.returncode == 2
    assert "unknown densifier 'mine'" in unknown.stderr
    assert "is not there" in unknown.stderr
    assert run(tmp_path / "absent.py", "plugins", "check").returncode == 1


def test_a_file_that_uses_plugins_while_it_is_loaded_is_refused_in_words(tmp_path):
    path = write(tmp_path / "runs.py", f"{REGISTERS}\ninstax3d.load_config()\n")
    (broken,) = json.loads(run(path, "plugins", "list", "--json").stdout)["broken"]
    assert "if __name__ == '__main__':" in broken["error"]


def test_a_script_may_be_named_for_the_processes_that_it_starts(tmp_path):
    """The process of the script loads it twice, as a script and as a file; both define the same plugin."""
    path = write(
        tmp_path / "script.py",
        REGISTERS
        + """
if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        print(pool.submit(instax3d.build, Densifier, "mine").exception() or "seen")
    print(instax3d.build(Densifier, "mine").config.share)
""",
    )
    environment = {**os.environ, "INSTAX3D_DEV_PLUGINS": str(path)}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["seen", "0.5"]


def hashed(path: Path, name: str) -> str:
    """As a new process takes it."""
    fingerprint.hash_code.cache_clear()
    sources._locate.cache_clear()
    return fingerprint.hash_plugin(only(of(path), name))


@pytest.mark.parametrize(("text", "name"), [(REGISTERS, "mine"), (ANNOUNCES, "told")])
def test_the_cache_follows_the_contents_of_a_file_and_not_its_place(tmp_path, text, name):
    first = hashed(write(tmp_path / "a" / "mine.py", text), name)
    sys.modules.pop("instax3d_dev_mine")
    assert hashed(write(tmp_path / "b" / "mine.py", text), name) == first
    assert hashed(write(tmp_path / "b" / "mine.py", text + "# edited\n"), name) != first


@pytest.mark.parametrize(("text", "name"), [(REGISTERS, "mine"), (ANNOUNCES, "told")])
def test_the_cache_follows_the_modules_that_a_file_imports(tmp_path, monkeypatch, text, name):
    monkeypatch.syspath_prepend(tmp_path / "lib")
    helper = write(tmp_path / "lib" / f"helper_of_{name}.py", "SHARE = 0.5\n")
    path = write(tmp_path / "mine.py", f"import {helper.stem}\n{text}")
    first = hashed(path, name)
    assert hashed(path, name) == first
    write(helper, "SHARE = 0.25\n")
    assert hashed(path, name) != first


def test_the_cache_follows_the_versions_of_the_libraries_that_a_file_imports(tmp_path, monkeypatch):
    installed = fingerprint.version
    path = write(tmp_path / "mine.py", f"import scipy.ndimage\n{REGISTERS}")
    first = hashed(path, "mine")
    for library, counts in (("scipy", True), ("matplotlib", False)):
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "version", lambda name, it=library: "99" if name == it else installed(name))
            assert (hashed(path, "mine") != first) == counts, library
