"""What `import instax3d` offers, and plugins that are registered without a package."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

import instax3d
from instax3d.cli import main
from instax3d.errors import AmbiguousPluginError, BrokenPluginError
from instax3d.interfaces import KINDS, Densifier, Renderer
from instax3d.plugin import Kind, PluginConfig
from instax3d.registry import registry
from instax3d.stages.fingerprint import hash_plugin, stage_keys
from instax3d.types import DensifyReport, DensifyStep

SCRIPT = """
from instax3d import Densifier, DensifyReport, PluginConfig, register

class MineConfig(PluginConfig):
    share: float = 0.5

class Mine(Densifier[MineConfig]):
    '''Changes nothing.'''
    def before_backward(self, step): ...
    def after_step(self, step): return DensifyReport()
"""


class MineConfig(PluginConfig):
    share: float = 0.5


class Mine(Densifier[MineConfig]):
    """Changes nothing."""

    def before_backward(self, step: DensifyStep) -> None: ...

    def after_step(self, step: DensifyStep) -> DensifyReport:
        return DensifyReport()


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry(), "entries", list(registry().entries))


def test_every_name_is_what_type_checkers_take_it_for():
    tree = ast.parse(Path(instax3d.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    homes = {alias.name: node.module for node in imports for alias in node.names}
    assert sorted(homes) == sorted(instax3d.__all__)
    assert set(instax3d.__all__) <= set(dir(instax3d))
    for name, home in homes.items():
        module = __import__(f"instax3d.{home}", fromlist=[name])
        assert getattr(instax3d, name) is getattr(module, name), name


def test_every_kind_and_every_record_of_the_contract_is_offered():
    from instax3d import headmodel, interfaces, plugin
    from instax3d import types as records

    assert {kind.__name__ for kind in KINDS.values()} <= set(instax3d.__all__)
    for module in (plugin, records, headmodel, interfaces):
        own = {n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__}
        assert {n for n in own if n[0] != "_"} - set(instax3d.__all__) <= {"HookSpecs", "Component"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = instax3d.nosuch


def test_importing_the_names_of_a_registration_module_needs_no_torch():
    names = "Kind, PluginConfig, PluginSpec, hookimpl, register"
    code = f"import sys; from instax3d import {names}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_registered_class_is_listed_and_chosen_by_name(capsys):
    assert instax3d.register(Mine, name="mine", config=MineConfig) is Mine
    assert main(["plugins", "list", "--kind", "densifier"]) == 0
    assert "Changes nothing." in capsys.readouterr().out
    config = instax3d.load_config(overrides=["densifier=mine", "densifier.share=0.25"], source="photo")
    assert config.build(Densifier).config == MineConfig(share=0.25)
    assert isinstance(instax3d.build(Densifier, "mine"), Mine)
    with pytest.raises(instax3d.ConfigError, match="did you mean 'share'"):
        instax3d.load_config(overrides=["densifier=mine", "densifier.shar=1"], source="photo")


def test_register_is_a_decorator_too():
    @instax3d.register(name="decorated")
    class Decorated(Mine): ...

    assert instax3d.build(Densifier, "decorated").config == PluginConfig()
    assert Decorated.__name__ == "Decorated"


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(AmbiguousPluginError, match=r"'absgs' is already offered by instax3d .*another name"):
        instax3d.register(Mine, name="absgs", config=MineConfig)
    instax3d.register(Mine, name="mine", config=MineConfig)

    class Another(Mine): ...

    with pytest.raises(AmbiguousPluginError, match="'mine' is already offered"):
        instax3d.register(Another, name="mine")


def test_a_class_that_is_defined_anew_replaces_its_earlier_definition():
    for share in (0.25, 0.75):
        scope = {"__name__": "__main__"}
        exec(SCRIPT.replace("0.5", str(share)), scope)
        instax3d.register(scope["Mine"], name="cell", config=scope["MineConfig"])
    assert instax3d.build(Densifier, "cell").config.share == 0.75
    assert len(registry().find(Kind.DENSIFIER, "cell")) == 1


def test_what_is_no_plugin_cannot_be_registered():
    with pytest.raises(TypeError, match="neither an abstract class"):
        instax3d.register(int, name="number")

    class Half(Renderer[PluginConfig]): ...

    with pytest.raises(BrokenPluginError, match="does not implement render"):
        instax3d.register(Half, name="half")


def test_a_densifier_that_still_says_absgrad_itself_works_if_its_spec_does():
    class Old(Mine):
        absgrad = True

    with pytest.raises(BrokenPluginError, match="absgrad = True, which is no longer read"):
        instax3d.register(Old, name="old")
    instax3d.register(Old, name="old", needs=["absgrad"])
    assert instax3d.load_config(overrides=["densifier=old"], source="photo").choices[Kind.DENSIFIER].build()


def test_the_cache_follows_the_file_of_a_registered_class(tmp_path: Path, monkeypatch):
    path, module = tmp_path / "my_script.py", types.ModuleType("my_script")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "my_script", module)
    hashes = []
    for text in (SCRIPT, SCRIPT, SCRIPT.replace("0.5", "0.25")):
        path.write_text(text)
        exec(text, module.__dict__)
        instax3d.register(module.Mine, name="scripted", config=module.MineConfig)
        hashes.append(hash_plugin(registry().get(Kind.DENSIFIER, "scripted")))
    assert hashes[0] == hashes[1] != hashes[2]


def test_stages_of_a_class_without_a_file_are_never_found_again():
    scope = {"__name__": "a_notebook"}
    exec(SCRIPT, scope)
    instax3d.register(scope["Mine"], name="cell", config=scope["MineConfig"])
    config = instax3d.load_config(overrides=["densifier=cell"], source="photo")
    one, other = (stage_keys(config, "cpu", "photo") for _ in range(2))
    assert one["views"] == other["views"]
    assert one["prior"] == other["prior"]
    assert one["construct"] != other["construct"]
