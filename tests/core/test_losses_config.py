"""The list of losses in a configuration."""

import pytest

import instax3d
from instax3d.config import load_config
from instax3d.errors import BrokenPluginError, ConfigError
from instax3d.interfaces import Loss
from instax3d.plugin import Kind, LossConfig, PluginConfig
from instax3d.registry import build, registry


def test_presets_list_the_losses_that_they_minimize():
    assert [key for key, _ in load_config(source="photo").plugins if key.startswith("losses.")] == [
        "losses.photometric",
        "losses.alpha",
    ]
    paper = load_config(preset="paper", source="photo")
    assert [choice.name for choice in paper.listed[Kind.LOSS]] == ["photometric"]


@pytest.mark.parametrize("overrides", [["losses=[]"], ["losses={photometric: null, alpha: null}"], [
    "losses.photometric.weight=0", "losses.alpha.weight=0"]])  # fmt: skip
def test_nothing_to_minimize_is_refused(overrides):
    with pytest.raises(ConfigError, match="nothing to minimize"):
        load_config(overrides=overrides, source="photo")


def test_one_that_is_listed_twice_has_two_keys():
    config = load_config(
        overrides=["losses=[photometric, {plugin: photometric, ssim_weight: 1, weight: 0.5}]"], source="photo"
    )
    keys = [key for key, _ in config.plugins if key.startswith("losses.")]
    assert keys == ["losses.photometric", "losses.photometric#2"]
    assert [loss.config.weight for loss in config.build_listed(Loss)] == [1.0, 0.5]


def test_a_loss_without_options_of_its_own_has_a_weight():
    class Bare(Loss):
        def __call__(self, step):
            return {}

    instax3d.register(Bare, name="bare-loss")
    assert registry().get(Kind.LOSS, "bare-loss").config_class() is LossConfig
    config = load_config(overrides=["losses.bare-loss.weight=0.25"], source="photo")
    assert config.build_listed(Loss)[-1].config.weight == 0.25


def test_options_of_a_loss_must_have_its_weight():
    class Options(PluginConfig):
        strength: float = 1.0

    class Weightless(Loss):
        def __call__(self, step):
            return {}

    with pytest.raises(BrokenPluginError, match=r"Options is not a subclass of instax3d\.LossConfig"):
        instax3d.register(Weightless, name="weightless", config=Options)
    assert not registry().find(Kind.LOSS, "weightless")


def test_losses_may_be_made_by_name():
    assert build(Loss, "alpha", weight=0.5).config.weight == 0.5
