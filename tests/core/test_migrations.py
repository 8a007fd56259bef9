"""Config files of older formats mean what they meant."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from instax3d._migrations import CONFIG_FORMAT, migrated
from instax3d.config import load_config
from instax3d.errors import ConfigError
from instax3d.plugin import Kind


def losses_of(config) -> list[dict]:
    return [choice.to_dict() for choice in config.listed[Kind.LOSS]]


def written(path: Path, doc: dict) -> Path:
    path.write_text(yaml.safe_dump(doc))
    return path


def old_file(tmp_path: Path, **weights: float) -> Path:
    """A ``config.yaml`` as `create` wrote them before files had a number."""
    doc = load_config(preset="draft", source="photo").to_dict()
    for key in ("format", "losses", "stages", "callbacks"):
        del doc[key]
    doc["training"] |= {"ssim_weight": 0.2, "alpha_weight": 0.1, **weights}
    return written(tmp_path / "config.yaml", doc)


def test_what_is_written_has_a_number_and_reads_back_without_a_note(tmp_path):
    config = load_config(preset="paper", source="photo")
    assert config.to_dict()["format"] == CONFIG_FORMAT
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    again = load_config(path=path, source="photo")
    assert again.to_dict() == config.to_dict()
    assert again.notes == config.notes


@pytest.mark.parametrize("source", ["photo", "capture"])
def test_an_old_file_is_the_same_run(tmp_path, source):
    path = old_file(tmp_path)
    if source == "capture":
        doc = yaml.safe_load(path.read_text())
        written(path, {**doc, "view_generator": {"plugin": "frames"}})
    config = load_config(path=path, source=source)
    assert losses_of(config) == losses_of(load_config(preset="draft", source=source))
    (note,) = config.notes
    assert "training.ssim_weight became losses.photometric.ssim_weight" in note
    assert "training.alpha_weight became losses.alpha.weight" in note


def test_other_weights_are_kept_and_a_weight_of_zero_leaves_the_loss_out(tmp_path):
    config = load_config(path=old_file(tmp_path, ssim_weight=0.5, alpha_weight=0.0), source="photo")
    assert losses_of(config) == [{"plugin": "photometric", "weight": 1.0, "ssim_weight": 0.5}]
    assert "losses.alpha: null" in config.notes[0]
    config = load_config(path=old_file(tmp_path, alpha_weight=0.3), source="photo")
    assert losses_of(config)[1] == {"plugin": "alpha", "weight": 0.3}


@pytest.mark.parametrize("extends", ["standard", "paper"])
def test_a_part_of_the_old_options_changes_that_part(tmp_path, extends):
    path = written(tmp_path / "mine.yaml", {"extends": extends, "training": {"alpha_weight": 0.7, "iterations": 9}})
    config = load_config(path=path, source="photo")
    assert [each["plugin"] for each in losses_of(config)] == ["photometric", "alpha"]
    assert losses_of(config)[1]["weight"] == 0.7
    assert config.training.iterations == 9


def test_what_depends_on_the_source_is_read_too(tmp_path):
    path = written(tmp_path / "mine.yaml", {"when": {"photo": {"training": {"ssim_weight": 0.4}}}})
    assert losses_of(load_config(path=path, source="photo"))[0]["ssim_weight"] == 0.4
    assert losses_of(load_config(path=path, source="capture"))[0]["ssim_weight"] == 0.2


def test_a_file_of_this_format_may_not_use_the_old_names(tmp_path):
    path = written(tmp_path / "mine.yaml", {"format": CONFIG_FORMAT, "training": {"ssim_weight": 0.4}})
    with pytest.raises(ConfigError, match=r"training\.ssim_weight.*now called 'losses\.photometric\.ssim_weight'"):
        load_config(path=path, source="photo")


@pytest.mark.parametrize(
    ("old", "new"),
    [("ssim_weight", r"losses\.photometric\.ssim_weight"), ("alpha_weight", r"losses\.alpha\.weight")],
)
def test_on_the_command_line_the_old_names_are_refused_with_the_new(old, new):
    with pytest.raises(ConfigError, match=f"now called '{new}'"):
        load_config(overrides=[f"training.{old}=0.3"], source="photo")


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ({"format": CONFIG_FORMAT + 1}, "update instax3d"),
        ({"format": "one"}, "must be a number"),
        ({"format": True}, "must be a number"),
        ({"format": -1}, "must be a number"),
        ({"losses": ["photometric"], "training": {"alpha_weight": 0.2}}, r"give losses\.alpha\.weight instead"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, doc, message):
    with pytest.raises(ConfigError, match=message):
        load_config(path=written(tmp_path / "mine.yaml", doc), source="photo")


_VALUES = st.recursive(st.none() | st.floats(0, 1) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2))


@given(
    st.dictionaries(st.sampled_from(["ssim_weight", "alpha_weight", "iterations"]), _VALUES) | _VALUES,
    st.dictionaries(st.sampled_from(["photo", "capture"]), st.just({"training": {"ssim_weight": 0.1}})) | _VALUES,
)
def test_any_old_document_is_read_and_nothing_of_it_is_lost(training, alternatives):
    doc = {"training": training, "when": alternatives, "seed": 3}
    current, notes = migrated(doc, "mine")
    assert current["seed"] == 3
    if isinstance(training, dict):
        kept, moved = current["training"], current.get("losses", {})
        assert ("iterations" in training) == ("iterations" in kept)
        assert ("ssim_weight" in training) == ("photometric" in moved)
        assert ("alpha_weight" in training) == ("alpha" in moved)
        assert len(notes) >= bool(moved)
    else:
        assert current["training"] == training
    assert doc == {"training": training, "when": alternatives, "seed": 3}, "the document itself is left alone"
