"""The prior that fits any head model, by its own name and by theirs."""

from typing import Annotated

import pytest
import torch
from instax3d_plugins.landmarks.prior import LandmarksPrior

from instax3d.config import load_config
from instax3d.errors import ConfigError
from instax3d.headmodel import HeadModel
from instax3d.interfaces import MeshPrior, ViewGenerator
from instax3d.plugin import Kind, PluginConfig, PluginRef
from instax3d.registry import build, register, registry
from instax3d.testing import views_of_model


@pytest.fixture(scope="module")
def views():
    return views_of_model(build(HeadModel, "mannequin"), 2, 96)


def fitted_components(mesh) -> int:
    return int((mesh.rig.parameters.shape != 0).sum())


def test_without_a_number_the_model_says_how_many_components_are_fitted(views):
    assert build(HeadModel, "mannequin").fitted_components == 30
    by_name, by_itself = build(MeshPrior, "mannequin").fit(views), build(MeshPrior, "landmarks").fit(views)
    assert fitted_components(by_name) == fitted_components(by_itself) == 30
    assert torch.equal(by_name.vertices, by_itself.vertices)


def test_a_number_of_one_s_own_counts(views):
    assert fitted_components(build(MeshPrior, "mannequin", shape_components=3).fit(views)) == 3


def test_more_components_than_the_model_has_are_refused(views):
    with pytest.raises(ConfigError, match=r"mesh_prior.shape_components is 61, but .*'mannequin' has 60"):
        build(MeshPrior, "mannequin", shape_components=61).fit(views)


@pytest.mark.parametrize("name", ["mannequin", "ict", "flame", "flame-2020"])
def test_the_names_of_old_priors_mean_what_they_meant(name):
    entry = registry().get(Kind.MESH_PRIOR, name)
    assert entry.plugin_class() is LandmarksPrior
    assert entry.spec.needs == {"landmarks68"}
    assert entry.spec.provides == {"head_model", "rig"} | ({"flame-2020"} if name == "flame-2020" else set())


def test_options_of_old_configs_are_read(tmp_path):
    old = {
        "mannequin": "shape_components: 30",
        "ict": "model: ict-facekit, shape_components: 50",
        "flame": "model: flame-2023, landmarks: flame-landmarks, masks: null, version: 2023, shape_components: 100, "
        "expression_components: 50",
    }
    for name, options in old.items():
        (tmp_path / "old.yaml").write_text(f"mesh_prior: {{plugin: {name}, {options}}}\n")
        config = load_config(path=tmp_path / "old.yaml", source="photo")
        assert config.choices[Kind.MESH_PRIOR].entry.spec.name == name
        assert config.choices[Kind.MESH_PRIOR].config.shape_components


def test_plugins_that_name_a_prior_for_its_head_still_work(monkeypatch):
    """As plugins did that were written for the first contract."""

    class OldConfig(PluginConfig):
        head: Annotated[str, PluginRef(Kind.MESH_PRIOR, needs=frozenset({"head_model"}))] = "mannequin"

    class Old(ViewGenerator[OldConfig]):
        def generate(self, source, *, seed): ...

    monkeypatch.setattr(registry(), "entries", list(registry().entries))
    register(Old, name="old", config=OldConfig, needs=["photo"])
    config = load_config(overrides=["view_generator=old"], source="photo")
    named = config.choices[Kind.VIEW_GENERATOR].config.head
    assert build(MeshPrior, named).head_model() is build(HeadModel, "mannequin")
