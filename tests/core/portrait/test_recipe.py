"""A portrait's recipe is a record: what made it may be gone, and only what is needed is looked up."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from toy_portrait import toy_portrait

from instax3d.cli import main
from instax3d.config import OutputConfig
from instax3d.errors import ConfigError
from instax3d.interfaces import LandmarkDetector, Metric, Renderer
from instax3d.portrait.portrait import Portrait
from instax3d.registry import register, registry
from instax3d.types import EvaluationContext


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> dict[str, bytes]:
    folder = toy_portrait().save(tmp_path_factory.mktemp("recipe") / "toy")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def saved(original, tmp_path) -> Path:
    for name, data in original.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "toy"


def edit(folder: Path, old: str, new: str) -> None:
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new, 1))


GONE = [
    ("plugin: absgs", "plugin: gone"),
    ("plugin: mannequin", "plugin: gone"),
    ("iterations:", "retired_option:"),
    ("seed: 0", "seed: 0\nretired_key: 3"),
]


@pytest.mark.parametrize(("old", "new"), GONE)
def test_it_renders_and_saves_although_what_made_it_is_gone(saved, tmp_path, old, new):
    edit(saved, old, new)
    record = (saved / "config.yaml").read_bytes()
    portrait = Portrait.load(saved)
    assert float(portrait.render(portrait.orbit.cameras([0.0]))[1].max()) > 0
    copy = portrait.save(tmp_path / "copy")
    assert (copy / "config.yaml").read_bytes() == record
    with pytest.raises(ConfigError, match=r"gone|retired"):
        portrait.config  # noqa: B018 - it is parsed when it is asked for


def test_the_record_is_kept_as_it_was_written(saved, tmp_path):
    path = saved / "config.yaml"
    path.write_bytes(b"# mine\r\n" + path.read_bytes())
    portrait = Portrait.load(saved)
    assert portrait.recipe["densifier"]["plugin"] == "absgs"
    assert set(portrait.recipe) >= {"seed", "renderer", "metrics"}
    assert len(portrait.recipe) == len(set(portrait.recipe))
    assert (portrait.save(tmp_path / "copy") / "config.yaml").read_bytes() == path.read_bytes()
    assert portrait.config.seed == 0


@pytest.mark.parametrize("change", [("plugin: cpu", "plugin: gone"), ("plugin: cpu", "plugin: cpu\n  old_option: 1")])
def test_a_renderer_that_is_gone_is_replaced_by_an_override(saved, change):
    edit(saved, *change)
    portrait = Portrait.load(saved)
    with pytest.raises(ConfigError, match="renderer=NAME, or renderer=auto"):
        portrait.head  # noqa: B018 - it is built when it is asked for
    for override in ("renderer=cpu", "renderer=auto"):
        if override == "renderer=auto" and torch.cuda.is_available():
            continue
        head = Portrait.load(saved, [override] if "gone" in change[1] else ["renderer=auto"]).head
        assert isinstance(head.renderer, Renderer)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("densifier=adc", "has no effect on a finished portrait"),
        ("rendererr=cpu", "did you mean 'renderer'"),
        ("renderer=nosuch", "unknown renderer 'nosuch'"),
        ("renderer.nosuch=1", "no such option"),
        ("output.turntable_framez=3", "no such option"),
    ],
)
def test_overrides_that_cannot_count_are_refused(saved, tmp_path, override, said):
    with pytest.raises(ConfigError, match=said):
        Portrait.load(saved, [override]).save(tmp_path / "copy")


def test_overrides_of_output_and_renderer_draw_the_pictures_anew(saved, tmp_path):
    sheet = (saved / "turntable.png").read_bytes()
    for override, same in (("output.sheet_views=3", False), ("landmark_detector=dlib", True), ("renderer=cpu", True)):
        copy = Portrait.load(saved, [override]).save(tmp_path / "copy")
        assert ((copy / "turntable.png").read_bytes() == sheet) is same
    assert Portrait.load(saved, ["output.sheet_views=3"]).recipe.output.sheet_views == 3


def test_an_output_option_of_another_version_does_not_count(saved):
    edit(saved, "sheet_views: 2", "sheet_views: 2\n  retired: 1")
    assert Portrait.load(saved).recipe.output == OutputConfig(turntable_frames=4, sheet_views=2)


def test_metrics_that_are_gone_are_not_measured_and_the_others_are(saved, capsys):
    edit(saved, "metrics:", "metrics:\n- plugin: gone")
    recipe = Portrait.load(saved).recipe
    choices, missing = recipe.metrics()
    assert set(missing) == {"gone"}
    assert "unknown metric 'gone'" in missing["gone"]
    assert "fidelity" in {choice.name for choice in choices}
    assert isinstance(recipe.build(LandmarkDetector), LandmarkDetector)
    assert main(["evaluate", str(saved), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "gone" in result["not_measured"]
    assert result["metrics"]["psnr_views"] > 0


def test_metrics_that_the_user_asks_for_must_be_there(saved, capsys):
    assert main(["evaluate", str(saved), "--metrics", "fidelity,gone"]) == 2
    assert "unknown metric 'gone'" in capsys.readouterr().err


@pytest.fixture
def needy() -> Iterator[None]:
    """A metric that needs a detector which compares identities."""
    before = list(registry().entries)

    @register(name="needy", needs={"identity"})
    class Needy(Metric):
        def measure(self, context: EvaluationContext) -> Mapping[str, float]:
            return {}

    yield
    registry().entries = before


def test_a_metric_that_the_detector_does_not_suit_is_not_measured(saved, needy, capsys):
    edit(saved, "metrics:", "metrics:\n- plugin: needy")
    assert "needy" in {choice.name for choice in Portrait.load(saved).recipe.metrics()[0]}
    choices, missing = Portrait.load(saved, ["landmark_detector=mtcnn"]).recipe.metrics()
    assert "needy" not in {choice.name for choice in choices}
    assert "needs identity" in missing["needy"]
    assert main(["evaluate", str(saved), "--metrics", "needy", "landmark_detector=mtcnn"]) == 2
    assert "landmark_detector=mtcnn does not provide" in capsys.readouterr().err


def test_a_detector_that_is_gone_is_replaced_by_an_override(saved, capsys):
    edit(saved, "plugin: dlib", "plugin: gone")
    assert main(["evaluate", str(saved), "--json"]) == 2
    assert "landmark_detector=NAME" in capsys.readouterr().err
    assert main(["evaluate", str(saved), "--json", "--metrics", "fidelity", "landmark_detector=dlib"]) == 0
