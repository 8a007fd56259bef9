"""Layers, overrides, and all problems at once."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from instax3d.config import Layers, load_config, parse_overrides, preset_names
from instax3d.errors import ConfigError, IncompatiblePipelineError
from instax3d.plugin import Kind


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


def test_overrides_reach_a_plugin_in_any_order():
    config = load_config(overrides=["densifier.grow_grad2d=4.0e-4", "densifier=absgs"], source="photo")
    assert options(config, Kind.DENSIFIER)["grow_grad2d"] == pytest.approx(4e-4)
    assert config.origins["densifier.grow_grad2d"] == "command line"


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
        ("a: [", "no valid YAML"),
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
