"""Layers, overrides, and all problems at once."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from instax3d import _yaml
from instax3d.config import Layers, load_config, parse_overrides, preset_names, read_yaml
from instax3d.errors import ConfigError, IncompatiblePipelineError
from instax3d.interfaces import MeshPrior
from instax3d.plugin import Kind, PluginRef
from instax3d.registry import PluginEntry, Provider, build, registry

_TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
_ODD_TEXTS = st.sampled_from(
    ["yes", "off", "010", "1:30", "8e-4", "0o7", "null", "~", "<<", "=", "2026-01-31", "1_0", ".inf", "- a"]
)


def options(config, kind: Kind) -> dict:
    return config.choices[kind].config.model_dump()


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("source", ["photo", "capture"])
def test_every_preset_is_in_order(preset, source):
    load_config(preset=preset, source=source)


def test_the_source_chooses_the_view_generator():
    def chosen(source):
        return load_config(source=source).choices[Kind.VIEW_GENERATOR].entry.spec.name

    assert chosen("photo") != chosen("capture")


@pytest.mark.parametrize("swap", ["densifier=mcmc", "densifier.plugin=mcmc", "densifier={plugin: mcmc, growth: 0.1}"])
@pytest.mark.parametrize("turn", [1, -1], ids=["after", "before"])
def test_overrides_reach_a_plugin_in_any_order(swap, turn):
    config = load_config(overrides=["densifier.max_gaussians=5000", swap][::turn], source="photo")
    assert options(config, Kind.DENSIFIER)["max_gaussians"] == 5000
    assert config.origins["densifier.max_gaussians"] == "command line"


def test_a_whole_section_and_an_option_of_it_are_given_in_any_order():
    overrides = ["training.iterations=7", "training={iterations: 5, photo_share: 0.5}"]
    for items in (overrides, overrides[::-1]):
        training = load_config(overrides=items, source="photo").training
        assert (training.iterations, training.photo_share) == (7, 0.5)


def test_of_overrides_that_contradict_each_other_the_last_wins():
    for one, other in (("absgs", "mcmc"), ("mcmc", "absgs")):
        config = load_config(overrides=[f"densifier.plugin={one}", f"densifier={other}"], source="photo")
        assert config.choices[Kind.DENSIFIER].entry.spec.name == other


def test_a_value_that_gives_way_to_options_is_reported():
    layers = Layers()
    layers.add({"training": 5}, "mine")
    layers.add({"training": {"iterations": 3}}, "command line")
    assert layers.values == {"training": {"iterations": 3}}
    assert "replace 5 (mine)" in layers.notes[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("off", "off"),
        ("2026-01-31", "2026-01-31"),
        ("0x10", 16),
        ("true", True),
        ("~", None),
        (".inf", float("inf")),
        ("5.", 5.0),
    ],
)
def test_yaml_is_read_as_people_write_it(tmp_path: Path, text: str, value):
    assert parse_overrides([f"a={text}"]) == [{"a": value}]
    path = tmp_path / "config.yaml"
    path.write_text(f"a: {text}\n")
    assert read_yaml(path) == {"a": value}


def test_a_seed_with_a_leading_zero_is_decimal():
    assert load_config(overrides=["seed=010"], source="photo").seed == 10


def test_a_device_that_is_off_is_refused_by_that_name():
    with pytest.raises(ConfigError, match="got 'off'"):
        load_config(overrides=["device=off"], source="photo")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS | _ODD_TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_is_written_as_yaml_reads_back_the_same(value):
    assert _yaml.load(_yaml.dump(value)) == value
    assert _yaml.load(_yaml.dump(value, one_line=True)) == value


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2\n", "densifier: {growth: 1, growth: 2}\n"])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="stands twice"):
        load_config(path=path, source="photo")


def test_keys_that_are_no_text_are_refused_in_words(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("1: 2\nnosuch: 3\n")
    with pytest.raises(ConfigError, match="1: no such key"):
        load_config(path=path, source="photo")


@pytest.mark.parametrize("densifier", ["absgs", "adc", "gof"])
def test_a_threshold_that_a_budget_ignores_is_reported(densifier):
    swap = [f"densifier={{plugin: {densifier}, grow_by: budget}}", "densifier.grow_grad2d=1e-3"]
    (note,) = (note for note in load_config(overrides=swap, source="photo").notes if "has no effect" in note)
    assert "densifier.grow_grad2d (from command line) has no effect: grow_by=budget" in note
    swap[0] = swap[0].replace("budget", "threshold")
    assert not any("has no effect" in note for note in load_config(overrides=swap, source="photo").notes)


def test_thresholds_that_weigh_two_gradients_have_an_effect_under_a_budget():
    overrides = ["densifier.grow_grad2d=1e-3", "densifier.clone_grad2d=1e-3"]
    assert not load_config(preset="draft", overrides=overrides, source="photo").notes


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("source", ["photo", "capture"])
def test_presets_and_what_they_write_down_set_nothing_without_effect(preset, source, tmp_path: Path):
    config = load_config(preset=preset, source=source)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    for each in (config, load_config(path=tmp_path / "config.yaml", source=source)):
        assert not any("has no effect" in note for note in each.notes)


def test_a_share_for_the_photo_is_reported_where_there_is_none():
    overrides = ["training.photo_share=0.5"]
    assert "no photo" in load_config(overrides=overrides, source="capture").notes[-1]
    assert not load_config(overrides=overrides, source="photo").notes


def test_a_plugin_under_its_full_name_is_the_same_plugin():
    config = load_config(preset="draft", overrides=["densifier=instax3d/absgs"], source="photo")
    assert options(config, Kind.DENSIFIER) == options(load_config(preset="draft", source="photo"), Kind.DENSIFIER)
    assert not config.notes


def test_a_full_name_that_was_given_is_written_down():
    overrides = ["densifier=instax3d/absgs", "metrics=[instax3d/cost]"]
    config = load_config(overrides=overrides, source="photo")
    assert config.to_dict()["densifier"]["plugin"] == "instax3d/absgs"
    assert config.to_dict()["metrics"] == [{"plugin": "instax3d/cost"}]
    assert config.to_dict()["renderer"]["plugin"] == "cpu"


def test_a_config_with_an_ambiguous_plugin_reads_back(tmp_path: Path, monkeypatch):
    plugins = registry()
    entry = plugins.get(Kind.DENSIFIER, "absgs")
    renderer = plugins.get(Kind.RENDERER, "cpu")
    twins = [replace(each, provider=Provider("x", "other", "1")) for each in (entry, renderer)]
    monkeypatch.setattr(plugins, "entries", [*plugins.entries, *twins])
    config = load_config(overrides=["densifier=other/absgs"], source="photo")
    assert config.choices[Kind.DENSIFIER].config == entry.config_class()(
        grow_by="budget", refine_every=60, max_gaussians=60000
    )
    assert config.to_dict()["renderer"]["plugin"] == "instax3d/cpu"  # chosen by the device, and ambiguous
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    again = load_config(path=tmp_path / "config.yaml", source="photo")
    assert again.choices[Kind.DENSIFIER].entry == twins[0]
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize("where", ["view_generator.head", "mesh_prior"])
def test_a_head_that_cannot_be_used_is_refused_before_any_work(where, monkeypatch):
    plugins = registry()
    needy = replace(plugins.get(Kind.HEAD_MODEL, "mannequin").spec, name="needy", needs=frozenset({"nosuch"}))
    monkeypatch.setattr(plugins, "entries", [*plugins.entries, PluginEntry(needy, Provider("x", "other", "1"))])
    with pytest.raises(ConfigError, match=r"'needy'.*needs nosuch"):
        load_config(overrides=[f"{where}=needy"], source="photo")
    with pytest.raises(ConfigError, match=r"unknown (head_model|mesh_prior) 'sv3d' \(at " + where):
        load_config(overrides=[f"{where}=sv3d"], source="photo")


def test_a_plugin_that_options_name_must_have_what_they_need():
    with pytest.raises(ConfigError, match="does not provide flame-2020; these do: flame-2020"):
        build(MeshPrior, "deca", head="mannequin")


def test_one_of_several_capabilities_is_enough():
    ref = PluginRef(Kind.LANDMARK_DETECTOR, any_of=frozenset({"points5", "landmarks68"}))
    assert ref.accepts(frozenset({"points5"}))
    assert not ref.accepts(frozenset({"identity"}))
    assert str(ref) == "landmarks68 or points5"


@pytest.mark.parametrize("where", ["metric", "option"])
def test_the_needs_of_metrics_and_of_plugins_in_options_are_compared(where, monkeypatch):
    plugins = registry()
    name, kind = ("cost", Kind.METRIC) if where == "metric" else ("dlib", Kind.LANDMARK_DETECTOR)
    needy = replace(plugins.get(kind, name), provider=Provider("x", "other", "1"))
    needy = replace(needy, spec=replace(needy.spec, name="needy", needs=frozenset({"nosuch"})))
    monkeypatch.setattr(plugins, "entries", [*plugins.entries, needy])
    metric = "needy" if where == "metric" else "{plugin: landmarks, detector: needy}"
    with pytest.raises(IncompatiblePipelineError, match=r"'needy'.* needs nosuch"):
        load_config(overrides=[f"metrics=[{metric}]"], source="photo")


@pytest.mark.parametrize("text", ["8e-4", "8.0e-4", "0.0008", "8E-4"])
def test_numbers_are_read_as_people_write_them(text):
    assert parse_overrides([f"a={text}"]) == [{"a": 8e-4}]


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError) as raised:
        load_config(
            overrides=["densifer=x", "densifier.grow=1", "training.iterations=-5", "renderer=nosuch", "seed=-1"],
            source="photo",
        )
    message = str(raised.value)
    for part in ("did you mean 'densifier'", "grow_grad2d", "training.iterations", "'nosuch'", "seed"):
        assert part in message, part


def test_swapping_a_plugin_drops_its_options_and_says_so():
    layers = Layers()
    layers.add({"densifier": {"plugin": "a", "x": 1}}, "base")
    layers.add({"densifier": "b"}, "mine")
    assert layers.values["densifier"] == {"plugin": "b"}
    assert "x" in layers.notes[0]
    assert "densifier.x" not in layers.origins


def test_a_resolved_config_reads_back_the_same(tmp_path: Path):
    first = load_config(preset="draft", overrides=["seed=5", "training.iterations=7"], source="capture")
    path = tmp_path / "config.yaml"
    path.write_text(first.to_yaml())
    again = load_config(path=path, source="capture")
    assert again.to_dict() == first.to_dict()


def test_a_file_extends_a_neighbor_or_a_preset(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("extends: draft\nseed: 3\n")
    (tmp_path / "deeper.yaml").write_text("extends: mine\ntraining: {iterations: 11}\n")
    config = load_config(path=tmp_path / "deeper.yaml", source="photo")
    assert (config.seed, config.training.iterations) == (3, 11)
    draft = load_config(preset="draft", source="photo")
    assert config.training.half_resolution == draft.training.half_resolution


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "must hold keys"),
        ("extends: nosuch", "unknown preset 'nosuch'"),
        ("extends: self", "extends itself"),
        ("training: 5", "training: must hold options"),
        ("when: {video: {}}", "photo and capture"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str):
    path = tmp_path / "self.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path=path, source="photo")


def test_a_missing_file_is_explained(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read the config file"):
        load_config(path=tmp_path / "none.yaml")


def test_an_override_without_a_value_is_explained():
    with pytest.raises(ConfigError, match="key=value"):
        load_config(overrides=["densifier"])


def test_a_photo_generator_is_refused_for_a_capture():
    with pytest.raises(IncompatiblePipelineError, match="needs photo"):
        load_config(overrides=["view_generator=template"], source="capture")


def test_an_automatic_renderer_suits_the_device():
    config = load_config(source="photo")
    assert config.automatic_renderer
    assert config.resolved_for("cpu").choices[Kind.RENDERER].entry.spec.name == "cpu"
    assert config.resolved_for("cuda").choices[Kind.RENDERER].entry.spec.name == "gsplat"
    named = load_config(overrides=["renderer=cpu"], source="photo")
    assert named.resolved_for("cuda") is named


def test_options_of_an_automatic_renderer_are_refused():
    with pytest.raises(ConfigError, match="renderer=cpu"):
        load_config(overrides=["renderer.antialiased=true"], source="photo")


def test_cuda_is_refused_on_the_cpu():
    with pytest.raises(IncompatiblePipelineError, match="needs cuda"):
        load_config(overrides=["renderer=gsplat", "device=cpu"], source="photo")


@given(st.text(max_size=30))
def test_any_override_is_understood_or_refused_in_words(text: str):
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_overrides([text])[0], dict)


@given(
    st.dictionaries(
        st.sampled_from(["seed", "training", "densifier", "other"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5), lambda x: st.dictionaries(st.text(max_size=4), x)
        ),
    )
)
def test_any_document_is_accepted_or_refused_in_words(doc: dict):
    text = yaml.safe_dump(doc)
    layers = Layers()
    layers.add(yaml.safe_load(text) or {}, "test")
    assert set(layers.values) <= set(doc)
