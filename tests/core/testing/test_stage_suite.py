"""The suite of stages passes those that keep their promises, and each of its tests can fail."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from toy_pipeline import Dim, Shrink

from instax3d.interfaces import Stage
from instax3d.plugin import PluginConfig
from instax3d.testing import StageSuite, toy_gaussians, toy_mesh, toy_photo, toy_views
from instax3d.testing.stage_suite import run_seeded
from instax3d.types import StageData, Views


class Darken(Stage[PluginConfig]):
    """Makes the person in the views darker."""

    def run(self, data: StageData) -> Views:
        views = data.views
        assert views is not None
        return replace(views, images=views.images * (1 - 0.1 * views.alpha))


class TestDarken(StageSuite):
    reads, makes = ("views",), "views"

    @pytest.fixture
    def plugin(self):
        return Darken(PluginConfig())


class TestShrink(StageSuite):
    """Draws random numbers."""

    reads, makes = ("mesh",), "mesh"

    @pytest.fixture
    def plugin(self):
        return Shrink(PluginConfig())


class TestDim(StageSuite):
    reads, makes = ("gaussians",), "gaussians"

    @pytest.fixture
    def plugin(self):
        return Dim(PluginConfig())


class _Views(StageSuite):
    reads, makes = ("views",), "views"


class _Mesh(StageSuite):
    makes: ClassVar = "mesh"


class _Gaussians(StageSuite):
    makes: ClassVar = "gaussians"


MESH, GAUSSIANS = toy_mesh(), toy_gaussians()


@pytest.mark.parametrize(
    ("suite", "test", "result"),
    [
        (_Mesh, "test_it_makes_what_its_spec_says", GAUSSIANS),
        (_Views, "test_it_makes_what_its_spec_says", None),
        (_Views, "test_views_keep_the_rules_of_view_generators", replace(toy_views(), images=toy_views().images + 1)),
        (_Views, "test_views_keep_the_rules_of_view_generators", replace(toy_views(), faces=(None,))),
        (_Views, "test_views_keep_the_rules_of_view_generators", replace(toy_views(), alpha=0 * toy_views().alpha)),
        (_Mesh, "test_a_mesh_keeps_the_rules_of_priors", replace(MESH, faces=MESH.faces.flip(1))),
        (_Mesh, "test_a_mesh_keeps_the_rules_of_priors", replace(MESH, vertices=MESH.vertices[:-1])),
        (_Gaussians, "test_gaussians_are_valid", replace(GAUSSIANS, opacities=GAUSSIANS.opacities + 1)),
        (_Gaussians, "test_gaussians_are_valid", replace(GAUSSIANS, scales=-GAUSSIANS.scales)),
        (_Gaussians, "test_gaussians_are_valid", replace(GAUSSIANS, means=GAUSSIANS.means * torch.nan)),
    ],
)
def test_a_wrong_result_fails(suite, test, result):
    with pytest.raises(AssertionError):
        getattr(suite(), test)(result)


def test_one_that_depends_on_more_than_the_seed_or_changes_what_it_reads_fails():
    class Moody(Stage[PluginConfig]):
        """Darker each time, in place."""

        calls = 0

        def run(self, data: StageData) -> Views:
            self.calls += 1
            assert data.views is not None
            if self.calls > 1:
                data.views.images[0, 0, 0, 0] = 0.5 / self.calls
            return replace(data.views, images=data.views.images * (1 - 0.1 / self.calls))

    moody, data = Moody(PluginConfig()), StageData(toy_photo(), 7, views=toy_views())
    with pytest.raises(AssertionError):
        _Views().test_the_same_seed_gives_the_same_result(moody, data, run_seeded(moody, data))
    with pytest.raises(AssertionError):
        _Views().test_what_it_reads_stays_as_it_was(moody, data)
