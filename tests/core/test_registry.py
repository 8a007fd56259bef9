"""Third-party plugins in folders of their own, as pip would leave them, and the ways in which they can be wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from instax3d.errors import AmbiguousPluginError, BrokenPluginError, UnknownPluginError
from instax3d.interfaces import Densifier, MeshPrior
from instax3d.plugin import API_VERSION, GROUP, Kind, LossConfig, PluginConfig
from instax3d.registry import Registry, build, register, registry
from instax3d.types import HeadMesh, Views

_PLUGIN = """
from instax3d.plugin import Kind, PluginSpec, hookimpl

INSTAX3D_API = {api}

@hookimpl
def {hook}():
    yield PluginSpec(kind=Kind.DENSIFIER, name="{name}", summary="From outside.",
                     target="{package}.densifier:Outside", config="{package}.config:OutsideConfig")
"""
_CONFIG = """
from instax3d.plugin import PluginConfig

class OutsideConfig(PluginConfig):
    strength: float = 1.0
"""
_DENSIFIER = """
from instax3d.interfaces import Densifier
from instax3d.types import DensifyReport

class Outside(Densifier):
    def before_backward(self, step): ...
    def after_step(self, step): return DensifyReport()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Lays out a distribution: package, ``dist-info`` with entry points; the folder goes on the path."""

    def lay_out(
        package: str, *, name: str = "outside", api: object = 1, hook: str = "instax3d_plugins", top: str = ""
    ) -> Path:
        for module in [name for name in sys.modules if name.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, module)  # of an earlier test
        site = tmp_path / package
        (site / package).mkdir(parents=True)
        files = {
            f"{package}/__init__.py": "",
            f"{package}/plugin.py": top + _PLUGIN.format(hook=hook, name=name, api=api, package=package),
            f"{package}/config.py": _CONFIG,
            f"{package}/densifier.py": _DENSIFIER,
        }
        info = site / f"{package}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{package} = {package}.plugin\n")
        for relative, text in files.items():
            (site / relative).write_text(text)
        monkeypatch.syspath_prepend(site)
        return site

    return lay_out


def registry_of(*sites: Path) -> Registry:
    points = [p for d in distributions(path=[str(site) for site in sites]) for p in d.entry_points if p.group == GROUP]
    return Registry(points)


def listed(*sites: Path, **environment: str) -> dict[str, Any]:
    """``plugins list --json`` of a process that finds these distributions, with other environment variables."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; from instax3d.cli import main; main(['plugins', 'list', '--json'])"
    command = [sys.executable, "-c", code, *map(str, sites)]
    environment = {**os.environ, **environment}
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def test_a_third_party_plugin_is_found_and_used_by_name(install):
    plugins = registry_of(install("outside_ok"))
    entry = plugins.get(Kind.DENSIFIER, "outside")
    assert str(entry.provider) == "outside_ok 2.5"
    densifier = entry.build(entry.config_class()(strength=0.5))
    assert densifier.config.strength == 0.5
    assert plugins.get(Kind.DENSIFIER, "outside_ok/outside") is entry


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"top": "import no_such_package\n"}, "no_such_package"),
        ({"top": "raise SystemExit('give me a GPU')\n"}, "give me a GPU"),
        ({"api": 99}, "targets plugin API 99.0, instax3d offers 1.0 to"),
        ({"api": None}, "add INSTAX3D_API = "),
        ({"hook": "instax3d_plugin"}, "unknown hook 'instax3d_plugin'"),
    ],
    ids=["broken", "exits", "other-api", "no-api", "misspelt"],
)
def test_a_faulty_plugin_is_reported_and_harms_nothing(install, options, reason):
    package = "faulty_" + "".join(filter(str.isalnum, reason))
    plugins = registry_of(install("outside_good"), install(package, name="faulty", **options))
    assert plugins.get(Kind.DENSIFIER, "outside").provider.distribution == "outside_good"
    (broken,) = plugins.broken
    assert reason in broken.reason
    with pytest.raises(UnknownPluginError, match="not loaded") as raised:
        plugins.get(Kind.DENSIFIER, "faulty")
    assert reason in str(raised.value)


MAJOR, MINOR = map(int, API_VERSION.split("."))


@pytest.mark.parametrize(
    ("stated", "read"),
    [(MAJOR, f"{MAJOR}.0"), (str(MAJOR), f"{MAJOR}.0"), (f"{MAJOR}.0", f"{MAJOR}.0"), (API_VERSION, API_VERSION)],
)
def test_a_version_up_to_ours_is_loaded(install, stated, read):
    plugins = registry_of(install("outside_version", api=repr(stated)))
    assert plugins.get(Kind.DENSIFIER, "outside").provider.api == read


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (f"{MAJOR}.{MINOR + 1}", "update instax3d"),
        (MAJOR + 1, "update instax3d"),
        (f"{MAJOR - 1}.9", "update the package of outside_version.plugin"),
        (1.1, "write it in quotes"),
        (True, "is no version"),
        ("1.1.0", "is no version"),
        ("v1", "is no version"),
        ("01.1", "is no version"),
        ("1.", "is no version"),
        ("", "is no version"),
        (-1, "is no version"),
        ((1, 1), "is no version"),
    ],
)
def test_another_version_is_refused_with_what_to_do(install, stated, reason):
    (broken,) = registry_of(install("outside_version", api=repr(stated))).broken
    assert reason in broken.reason
    assert "outside_version.plugin" in broken.reason
    assert broken.reason.count("\n") == 0


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ('makes="views"', "reads or makes, which only stages have"),
        ('reads=("mesh",)', "reads or makes, which only stages have"),
        ('metric_info=(MetricInfo(name="a", description=""),)', "metric_info, which only metrics have"),
        ('needs="absgrad"', "write ('absgrad',) instead of 'absgrad'"),
        ("kind=Kind.STAGE", "must say what it makes, one of: views, mesh, gaussians"),
        ('kind=Kind.STAGE, makes="photos"', "it says 'photos'"),
        ('kind=Kind.STAGE, makes="mesh", reads=("views", "hair")', "reads 'hair', but stages read: views, mesh"),
    ],
)
def test_a_spec_that_claims_what_its_kind_cannot_mean_breaks_its_package_alone(install, claim, reason):
    site = install("outside_claims", name="claims")
    module = site / "outside_claims" / "plugin.py"
    text = module.read_text().replace("import Kind", "import Kind, MetricInfo")
    text = text.replace("kind=Kind.DENSIFIER, ", "") if "kind=" in claim else text
    module.write_text(text.replace("PluginSpec(", f"PluginSpec({claim}, "))
    shown = listed(site, install("outside_beside"))  # in a process that does not check types before the spec does
    assert [each["distribution"] for each in shown["plugins"] if each["name"] == "outside"] == ["outside_beside"]
    (broken,) = shown["broken"]
    assert reason in broken["error"]


def test_the_options_of_a_loss_have_a_weight(install):
    site = install("outside_loss")
    module = site / "outside_loss" / "plugin.py"
    module.write_text(module.read_text().replace("DENSIFIER", "LOSS"))
    with pytest.raises(BrokenPluginError, match=r"OutsideConfig is not a subclass of instax3d\.LossConfig"):
        registry_of(site).get(Kind.LOSS, "outside").config_class()
    module.write_text(module.read_text().replace(', config="outside_loss.config:OutsideConfig"', ""))
    del sys.modules["outside_loss.plugin"]
    assert registry_of(site).get(Kind.LOSS, "outside").config_class() is LossConfig


def test_a_module_without_a_hook_is_reported(install):
    site = install("outside_empty")
    (site / "outside_empty" / "plugin.py").write_text("INSTAX3D_API = 1\n")
    assert "announces nothing" in registry_of(site).broken[0].reason


@pytest.mark.parametrize(
    ("hook", "item"),
    [
        ("instax3d_commands", 'CommandSpec(name="hello", summary="", target="x:y")'),
        ("instax3d_converters", 'AssetConverter(name="hello", summary="", target="x:y")'),
        (
            "instax3d_assets",
            'Asset(name="hello", summary="", files=(), license="MIT", license_url="", commercial=True, '
            'registration=False, homepage="")',
        ),
    ],
)
def test_a_package_need_not_bring_plugins(install, hook, item):
    site = install(f"outside_{hook}")
    imports = "from instax3d.plugin import Asset, AssetConverter, CommandSpec, hookimpl\n\nINSTAX3D_API = 1\n\n"
    (site / f"outside_{hook}" / "plugin.py").write_text(f"{imports}@hookimpl\ndef {hook}():\n    yield {item}\n")
    plugins = registry_of(site)
    assert not plugins.broken
    assert "hello" in getattr(plugins, hook.removeprefix("instax3d_"))


def test_a_plugin_without_options_names_no_config(install):
    site = install("outside_bare")
    module = site / "outside_bare" / "plugin.py"
    module.write_text(module.read_text().replace(', config="outside_bare.config:OutsideConfig"', ""))
    entry = registry_of(site).get(Kind.DENSIFIER, "outside")
    assert entry.config_class() is PluginConfig
    with pytest.raises(ValueError, match="extra"):
        entry.config_class()(strength=1.0)
    assert entry.build(entry.config_class()()).config == PluginConfig()


@pytest.mark.parametrize(
    ("kind", "name", "change", "message"),
    [
        (Kind.RENDERER, "cpu", {"needs": frozenset({"cuda"})}, "device_type 'cpu'"),
        (Kind.LANDMARK_DETECTOR, "mtcnn", {"provides": frozenset({"identity"})}, r"descriptor\(\)"),
    ],
)
def test_a_class_that_contradicts_its_spec_is_broken(kind, name, change, message):
    entry = registry().get(kind, name)
    entry.plugin_class()
    with pytest.raises(BrokenPluginError, match=message):
        replace(entry, spec=replace(entry.spec, **change)).plugin_class()


def test_a_prior_that_promises_a_head_model_must_have_one(install):
    class Bare(MeshPrior[PluginConfig]):
        def fit(self, views: Views) -> HeadMesh:
            raise NotImplementedError

    with pytest.raises(BrokenPluginError, match=r"head_model\(\)"):
        register(Bare, name="bare", provides=["head_model"])


def test_a_duplicate_name_must_be_qualified(install):
    plugins = registry_of(install("outside_a"), install("outside_b"))
    with pytest.raises(AmbiguousPluginError, match="outside_a/outside, outside_b/outside"):
        plugins.get(Kind.DENSIFIER, "outside")
    assert plugins.get(Kind.DENSIFIER, "outside_b/outside").provider.distribution == "outside_b"


def test_an_implementation_that_fails_to_import_names_its_package(install):
    site = install("outside_late")
    (site / "outside_late" / "densifier.py").write_text("import no_such_library\n")
    entry = registry_of(site).get(Kind.DENSIFIER, "outside")
    with pytest.raises(BrokenPluginError, match=r"outside_late 2\.5.*no_such_library"):
        entry.plugin_class()


def test_an_implementation_must_implement_its_kind(install):
    site = install("outside_half")
    (site / "outside_half" / "densifier.py").write_text(
        "from instax3d.interfaces import Densifier\nclass Outside(Densifier): ...\n"
    )
    with pytest.raises(BrokenPluginError, match="does not implement after_step, before_backward"):
        registry_of(site).get(Kind.DENSIFIER, "outside").plugin_class()


def test_an_unknown_name_comes_with_a_guess(install):
    with pytest.raises(UnknownPluginError, match=r"unknown densifier 'outsied'.*did you mean 'outside'"):
        registry_of(install("outside_guess")).get(Kind.DENSIFIER, "outsied")


def test_build_checks_the_options():
    with pytest.raises(ValueError, match="grow_grad"):
        build(Densifier, "absgs", grow_grad=1)


def test_the_command_line_lists_a_third_party_plugin_and_its_version_of_the_contract(install):
    shown = listed(install("outside_cli"))
    (entry,) = (each for each in shown["plugins"] if each["name"] == "outside")
    assert (entry["distribution"], entry["version"], entry["api"]) == ("outside_cli", "2.5", "1.0")
    assert shown["api"] == API_VERSION
    assert {each["api"] for each in shown["plugins"] if each["distribution"] == "instax3d"} == {API_VERSION}
    assert shown["broken"] == []


def test_registration_and_config_never_import_torch():
    code = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numba", "lightning", "cv2", "dlib"):
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Blocker())
from instax3d.cli import main
from instax3d.registry import registry
assert not registry().broken, registry().broken
assert main(["plugins", "list"]) == 0
assert main(["config", "check"]) == 0
assert main(["config", "schema"]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
