"""Plugins that options name, with and without options of their own, and the names under which they may be written."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
import torch
from pydantic import Field

from instax3d import _sharing
from instax3d.assets import usage
from instax3d.config import RunConfig, json_schema, load_config
from instax3d.errors import AssetError, BrokenPluginError, ConfigError
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.interfaces import KINDS, MeshPrior
from instax3d.plugin import Asset, AssetFile, AssetRef, Kind, NamedPlugin, PluginConfig, PluginRef
from instax3d.portrait.manifest import plugin_records
from instax3d.registry import BoundEntry, build, named_plugins, references, register, registry
from instax3d.stages.fingerprint import hash_choice, hash_plugin


class CubeConfig(PluginConfig):
    """Where a cube comes from."""

    renamed: ClassVar[Mapping[str, str]] = {"width": "side"}

    file: Annotated[str | None, AssetRef("test-cube")] = None
    """Its file."""
    side: float = Field(1.0, gt=0)
    """Meters."""
    corners: int = 8
    """Of a cube."""

    def ignored_options(self):
        return {"corners": "a cube has eight"}


class Cube(HeadModel[CubeConfig]):
    """Enough of a head to be made."""

    name = "cube"
    shape_components, expression_names, joint_names = 2, (), ()
    made = 0

    def __init__(self, config: CubeConfig) -> None:
        super().__init__(config)
        Cube.made += 1
        self.text = "" if config.file is None else usage.require("test-cube", config.file).path.read_text()
        self.landmark_weights = torch.ones(68, 3) / 3

    def __call__(self, parameters: HeadParameters) -> torch.Tensor:
        return torch.zeros(8, 3)


@pytest.fixture
def plugins(monkeypatch):
    """The registry with the cube; as it was afterwards."""
    plugins = registry()
    monkeypatch.setattr(plugins, "entries", list(plugins.entries))
    asset = Asset(
        name="test-cube",
        summary="a cube",
        files=(AssetFile("cube.txt"),),
        license="MIT",
        license_url="https://x",
        commercial=True,
        registration=False,
        homepage="https://x",
    )
    monkeypatch.setattr(plugins, "assets", {**plugins.assets, asset.name: asset})
    register(Cube, name="cube", config=CubeConfig, needs=["cube-needs"], provides=["cubes"])
    _sharing._kept.clear()
    yield plugins
    _sharing._kept.clear()


@pytest.fixture
def cube(plugins):
    """The registry, with a cube that needs nothing."""
    return register(Cube, name="die", config=CubeConfig)


def read(*overrides: str) -> RunConfig:
    return load_config(overrides=overrides, source="photo")


def head_of(config: RunConfig):
    return config.choices[Kind.VIEW_GENERATOR].config.head


# --- options of named plugins -----------------------------------------------------------------------------------------


def test_a_name_alone_stays_a_name(cube):
    for written in ("die", "{plugin: die}"):
        assert head_of(read(f"view_generator.head={written}")) == "die"


@pytest.mark.parametrize(
    "overrides",
    [
        ("view_generator.head={plugin: die, side: 2}",),
        ("view_generator.head.side=2", "view_generator.head=die"),
        ("view_generator.head=die", "view_generator.head.side=3", "view_generator.head.side=2"),
        ("view_generator={head: {side: 2, plugin: die}}",),
        ("view_generator.head={plugin: mannequin}", "view_generator.head={plugin: die, side: 2}"),
        ("view_generator.head={plugin: die, side: 2}", "view_generator.head=(registered)/die"),
    ],
)
def test_options_of_a_named_plugin_in_all_spellings(cube, overrides):
    config = read(*overrides)
    ((key, entry, options),) = named_plugins("view_generator", config.choices[Kind.VIEW_GENERATOR].config)
    assert (key, entry.spec.name, options) == ("view_generator.head", "die", CubeConfig(side=2))
    assert build(HeadModel, head_of(config)).config.side == 2


def test_they_read_back_from_the_written_config(cube, tmp_path: Path):
    config = read("view_generator.head={plugin: die, side: 2}")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    again = load_config(path=tmp_path / "config.yaml", source="photo")
    assert again.to_dict() == config.to_dict()
    assert head_of(again) == {"plugin": "die", "side": 2}
    other = load_config(path=tmp_path / "config.yaml", overrides=["view_generator.head=mannequin"], source="photo")
    assert head_of(other) == "mannequin"
    assert any("replaces die, whose options were dropped: side" in note for note in other.notes)


def test_all_problems_come_at_once_with_their_keys(cube):
    with pytest.raises(ConfigError) as raised:
        read(
            "view_generator.head={plugin: die, sied: 2, width: 3, corners: many}",
            "view_generator.views=0",
            "mesh_prior={plugin: landmarks, head: {side: 1}}",
        )
    lines = str(raised.value).splitlines()
    assert any("view_generator.head.sied: no such option; did you mean 'side'?" in line for line in lines)
    assert any("view_generator.head.width: this option is now called 'side'" in line for line in lines)
    assert any(line.startswith("view_generator.head.corners: ") for line in lines)
    assert all("(from command line)" in line for line in lines)
    assert any(line.startswith("view_generator.views: ") for line in lines)
    assert any("mesh_prior.head" in line and "must name a plugin" in line for line in lines)


def test_unknown_names_and_missing_capabilities_are_told_with_their_keys(plugins):
    with pytest.raises(ConfigError, match=r"unknown head_model 'cub' \(at view_generator.head\); did you mean 'cube'"):
        read("view_generator.head={plugin: cub, side: 2}")
    with pytest.raises(ConfigError, match=r"head_model 'cube' \(view_generator.head\) needs cube-needs"):
        read("view_generator.head={plugin: cube, side: 2}")


def test_options_without_effect_are_told(cube):
    assert any(
        note.startswith("view_generator.head.corners (from command line) has no effect: a cube has eight")
        for note in read("view_generator.head={plugin: die, corners: 9}").notes
    )


def test_assets_of_named_plugins_are_checked_and_recorded(cube, tmp_path: Path):
    with pytest.raises(AssetError, match=r"view_generator.head.file: .*nothing.txt does not exist"):
        usage.check_assets(read("view_generator.head={plugin: die, file: /nothing.txt}"))
    (tmp_path / "mine.txt").write_text("a cube")
    config = read(f"view_generator.head={{plugin: die, file: {tmp_path / 'mine.txt'}}}")
    usage.check_assets(config)
    record = next(r for r in usage.asset_records(config) if r["used_by"] == "view_generator.head.file")
    assert (record["name"], record["license"]) == ("test-cube", "MIT")
    assert plugin_records(config)["view_generator.head"]["name"] == "die"


def test_the_fingerprint_follows_name_options_and_files(cube, tmp_path: Path):

    def key(*overrides: str) -> str:
        return hash_choice(read(*overrides).choices[Kind.VIEW_GENERATOR])

    (tmp_path / "mine.txt").write_text("a cube")
    own = f"view_generator.head={{plugin: die, file: {tmp_path / 'mine.txt'}}}"
    keys = [key(), key("view_generator.head=die"), key("view_generator.head={plugin: die, side: 2}"), key(own)]
    (tmp_path / "mine.txt").write_text("another cube")
    assert len({*keys, key(own)}) == 5
    assert key("view_generator.head=die") == keys[1]


def test_plugins_named_by_named_plugins_are_checked_too(cube):
    class NestConfig(PluginConfig):
        inner: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL)] = "die"

    register(type("Nest", (Cube,), {}), name="nest", config=NestConfig)
    config = read("view_generator.head={plugin: nest, inner: {plugin: die, side: 3}}")
    found = list(named_plugins("view_generator", config.choices[Kind.VIEW_GENERATOR].config))
    assert [key for key, _, _ in found] == ["view_generator.head", "view_generator.head.inner"]
    assert found[1][2] == CubeConfig(side=3)
    with pytest.raises(ConfigError, match=r"view_generator.head.inner.side: .*greater than 0.*\(from command line\)"):
        read("view_generator.head={plugin: nest, inner: {plugin: die, side: -1}}")


# --- build ------------------------------------------------------------------------------------------------------------


def test_build_takes_a_name_or_a_mapping(cube):
    assert build(HeadModel, "die", side=2).config == CubeConfig(side=2)
    assert build(HeadModel, {"plugin": "die", "side": 2}) is build(HeadModel, "die", side=2)
    assert build(MeshPrior, "landmarks", head={"plugin": "die", "side": 2}).head_model().config.side == 2
    for call, message in (
        (lambda: build(HeadModel, "die", sied=2), "head_model 'die': sied: no such option; did you mean 'side'"),
        (lambda: build(HeadModel, {"side": 2}), "names no plugin"),
        (lambda: build(MeshPrior, "landmarks", head={"plugin": "die", "side": 0}), r"'landmarks'.head.side: .*than 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


def test_a_reference_gives_mark_name_and_options(cube):
    config = registry().get(Kind.MESH_PRIOR, "landmarks").config_class()(head={"plugin": "die", "side": 2})
    reference = references(config)["head"]
    assert (reference.mark.kind, reference.name, reference.options) == (Kind.HEAD_MODEL, "die", {"side": 2})


# --- one instance per process -----------------------------------------------------------------------------------------


def test_head_models_are_made_once_for_the_same_options(cube):
    before = Cube.made
    first = build(HeadModel, "die")
    assert build(HeadModel, "die") is first
    assert build(MeshPrior, "die").head_model() is first
    assert build(HeadModel, "die", side=2) is not first
    assert Cube.made == before + 2


def test_files_that_change_make_another(cube, tmp_path: Path):
    file = tmp_path / "mine.txt"
    file.write_text("a cube")
    first = build(HeadModel, "die", file=str(file))
    assert build(HeadModel, "die", file=str(file)) is first
    file.write_text("another cube")
    second = build(HeadModel, "die", file=str(file))
    assert (first.text, second.text) == ("a cube", "another cube")


def test_so_does_another_folder_of_assets(cube, tmp_path: Path, monkeypatch):
    for name in ("one", "other"):
        (tmp_path / name / "test-cube").mkdir(parents=True)
        (tmp_path / name / "test-cube" / "cube.txt").write_text(name)
        monkeypatch.setenv("INSTAX3D_ASSETS", str(tmp_path / name))
        assert build(HeadModel, "die", file="test-cube").text == name


def test_what_is_made_of_a_shared_instance_follows_its_files(tmp_path: Path):
    file = tmp_path / "file"

    def inner() -> str:
        _sharing.is_read([file])
        return file.read_text()

    def outer() -> str:
        return "outer " + _sharing.shared("inner", inner)

    for text in ("one", "the other"):
        file.write_text(text)
        assert _sharing.shared("inner", inner) == text
        assert _sharing.shared("outer", outer) == f"outer {text}"


def test_only_few_are_kept():
    for number in range(20):
        _sharing.shared(("number", number), lambda: object())
    assert len(_sharing._kept) == _sharing.MOST


def test_other_kinds_are_made_anew():
    assert build(MeshPrior, "mannequin") is not build(MeshPrior, "mannequin")
    assert {kind for kind, plugin in KINDS.items() if plugin.shared} == {Kind.HEAD_MODEL}


# --- bound names ------------------------------------------------------------------------------------------------------


def test_a_head_model_is_a_mesh_prior_by_its_name(cube):
    config = read("mesh_prior=die", "mesh_prior.side=2", "mesh_prior.shape_components=2")
    choice = config.choices[Kind.MESH_PRIOR]
    prior = choice.build()
    assert prior.config.shape_components == 2
    assert prior.head_model().config == CubeConfig(side=2)
    spec = choice.entry.spec
    assert spec.provides >= {"head_model", "rig"}
    assert "landmarks68" in spec.needs
    assert choice.entry.provider == registry().get(Kind.HEAD_MODEL, "die").provider
    assert build(MeshPrior, "(registered)/die", side=3).head_model().config.side == 3
    records = plugin_records(config)
    assert (records["mesh_prior"]["name"], records["mesh_prior"]["distribution"]) == ("die", "(registered)")
    assert records["mesh_prior.landmarks"]["distribution"] == "instax3d"


def test_needs_and_provides_are_those_of_both(plugins):
    spec = plugins.get(Kind.MESH_PRIOR, "cube").spec
    assert {"landmarks68", "cube-needs"} <= spec.needs
    assert {"cubes", "rig"} <= spec.provides
    with pytest.raises(ConfigError, match="mesh_prior 'cube' needs cube-needs"):
        read("mesh_prior=cube")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["mesh_prior.sied=2"], "mesh_prior.sied: no such option; did you mean 'side'"),
        (["mesh_prior.width=2"], "mesh_prior.width: this option is now called 'side'"),
        (["mesh_prior.side=0"], r"mesh_prior.side: .*greater than 0.*\(from command line\)"),
        (["mesh_prior.shape_components=0"], "mesh_prior.shape_components: .*greater than 0"),
        (["mesh_prior.head=mannequin"], "mesh_prior.head: no such option"),
    ],
)
def test_options_of_a_bound_name_are_checked(cube, overrides, message):
    with pytest.raises(ConfigError, match=message):
        read("mesh_prior=die", *overrides)


def test_a_bound_name_reads_back_and_tells_options_without_effect(cube, tmp_path: Path):
    config = read("mesh_prior=die", "mesh_prior.side=2", "mesh_prior.corners=9")
    assert config.to_dict()["mesh_prior"] == {
        "plugin": "die",
        "file": None,
        "side": 2.0,
        "corners": 9,
        "shape_components": None,
    }
    assert any(note.startswith("mesh_prior.corners") for note in config.notes)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert load_config(path=tmp_path / "config.yaml", source="photo").to_dict() == config.to_dict()


def test_its_assets_are_checked_and_its_fingerprint_follows_both_plugins(cube, tmp_path: Path):
    with pytest.raises(AssetError, match=r"mesh_prior.file: .*nothing.txt does not exist"):
        usage.check_assets(read("mesh_prior=die", "mesh_prior.file=/nothing.txt"))
    (tmp_path / "mine.txt").write_text("a cube")
    config = read("mesh_prior=die", f"mesh_prior.file={tmp_path / 'mine.txt'}")
    assert any(r["used_by"] == "mesh_prior.file" for r in usage.asset_records(config))
    before = hash_choice(config.choices[Kind.MESH_PRIOR])
    (tmp_path / "mine.txt").write_text("another cube")
    assert hash_choice(config.choices[Kind.MESH_PRIOR]) != before
    entry = registry().get(Kind.MESH_PRIOR, "die")
    for part in ("base", "named"):
        other = replace(getattr(entry, part), provider=replace(getattr(entry, part).provider, version="2"))
        other = replace(other, registered=None, spec=replace(other.spec, target="instax3d_plugins.cpu.renderer:X"))
        assert hash_plugin(replace(entry, **{part: other})) != hash_plugin(entry)


def test_a_plugin_of_that_name_is_not_replaced(cube):
    class Own(MeshPrior[PluginConfig]):
        def fit(self, views): ...

    with pytest.raises(Exception, match="already offered"):
        register(Own, name="die")
    register(type("Deca", (Cube,), {}), name="deca", config=CubeConfig)
    assert not isinstance(registry().get(Kind.MESH_PRIOR, "deca"), BoundEntry)


def test_options_of_the_same_name_are_refused_with_the_other_way_to_write_it(plugins, tmp_path: Path, capsys):
    class ClashConfig(PluginConfig):
        shape_components: int = 3

    register(type("Clash", (Cube,), {"__init__": lambda self, config: None}), name="clash", config=ClashConfig)
    with pytest.raises(
        ConfigError, match=r"both have the option shape_components; write mesh_prior=\{plugin: landmarks"
    ):
        read("mesh_prior=clash")
    assert read("mesh_prior={plugin: landmarks, head: {plugin: clash, shape_components: 4}}")
    with pytest.raises(BrokenPluginError):
        build(MeshPrior, "clash")
    json_schema.cache_clear()
    json_schema()  # describes the others


def test_a_base_s_own_checks_hold_under_bound_names(cube):
    class StrictConfig(PluginConfig):
        head: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL)] = "die"
        share: float = 0.5

        def model_post_init(self, context):
            if self.share > 1:
                raise ValueError("share is a share")

        def ignored_options(self):
            return {"share": "nothing is shared"}

    plugins = registry()
    base = plugins.get(Kind.MESH_PRIOR, "landmarks")
    strict = replace(base, registered=(base.plugin_class(), StrictConfig))
    bound = BoundEntry.of(strict, plugins.get(Kind.HEAD_MODEL, "die"))
    config = bound.config_class()(share=0.25, side=2)
    assert set(config.ignored_options()) == {"corners", "share"}
    assert bound.build(config).config.head == {"plugin": "(registered)/die", "side": 2.0, "corners": 8, "file": None}
    with pytest.raises(ValueError, match="share is a share"):
        bound.config_class()(share=2)


def test_a_wrong_binding_is_reported():
    base = registry().get(Kind.MESH_PRIOR, "landmarks")
    with pytest.raises(BrokenPluginError, match="'hed'"):
        replace(base, spec=replace(base.spec, binds="hed")).config_class()


def test_the_command_line_knows_bound_names():
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "instax3d", *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout

    listed = json.loads(run("plugins", "list", "--json"))["plugins"]
    names = {(item["kind"], item["name"]) for item in listed}
    for name in ("mannequin", "ict", "flame", "flame-2020"):
        assert {("head_model", name), ("mesh_prior", name)} <= names
    shown = json.loads(run("plugins", "show", "flame", "--json"))
    prior = next(item for item in shown if item["kind"] == "mesh_prior")
    assert {"model", "landmarks", "masks", "version", "expression_components", "shape_components"} == {
        option["name"] for option in prior["options"]
    }
    schema = json.loads(run("config", "schema"))["properties"]["mesh_prior"]["anyOf"]
    assert {"mannequin", "ict", "flame", "landmarks"} <= set(schema[0]["enum"])
