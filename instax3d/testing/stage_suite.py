"""The conformance suite of stages."""

from typing import Any, ClassVar

import pytest
import torch

from instax3d.interfaces import Stage
from instax3d.plugin import Datum
from instax3d.types import Gaussians, HeadMesh, StageData, Views

from .snapshots import same, snapshot
from .suites import MeshPriorSuite, Suite, ViewGeneratorSuite, assert_valid_gaussians
from .toys import toy_gaussians, toy_mesh, toy_photo, toy_views


class StageSuite(Suite):
    """Runs on toy data; say what the spec says::

        class TestSharpen(StageSuite):
            reads, makes = ("views",), "views"

            @pytest.fixture
            def plugin(self):
                return Sharpen(SharpenConfig())

    Override ``data`` for a stage that needs more, such as a rig or landmarks.
    """

    reads: ClassVar[tuple[Datum, ...]] = ()
    """As in the spec."""
    makes: ClassVar[Datum]
    """As in the spec."""

    @pytest.fixture
    def data(self) -> StageData:
        """What the stage may read."""
        parts: dict[str, Any] = {"views": toy_views(), "mesh": toy_mesh(), "gaussians": toy_gaussians()}
        return StageData(toy_photo(), 7, **{name: parts[name] for name in self.reads})

    @pytest.fixture
    def result(self, plugin: Stage[Any], data: StageData) -> Any:
        """What the stage makes."""
        return run_seeded(plugin, data)

    def test_it_makes_what_its_spec_says(self, result: Any) -> None:
        assert isinstance(result, {"views": Views, "mesh": HeadMesh, "gaussians": Gaussians}[self.makes])

    def test_views_keep_the_rules_of_view_generators(self, result: Any) -> None:
        if not isinstance(result, Views):
            pytest.skip("this stage makes no views")
        rules = ViewGeneratorSuite()
        rules.test_each_image_has_a_camera_an_alpha_and_a_confidence(result)
        rules.test_values_are_in_the_unit_range(result)
        rules.test_provenance_is_given_for_every_pixel_or_for_none(result)
        rules.test_images_are_white_where_alpha_is_zero(result)
        rules.test_cameras_are_rigid(result)
        rules.test_the_photo_is_one_of_the_views_or_none(result)
        assert len(result.faces) in (0, len(result))

    def test_a_mesh_keeps_the_rules_of_priors(self, result: Any) -> None:
        if not isinstance(result, HeadMesh):
            pytest.skip("this stage makes no mesh")
        rules = MeshPriorSuite()
        rules.test_the_mesh_is_valid(result)
        rules.test_faces_look_outwards(result)
        if result.rig is not None:
            rules.test_the_rig_gives_back_the_mesh(result)

    def test_gaussians_are_valid(self, result: Any) -> None:
        if not isinstance(result, Gaussians):
            pytest.skip("this stage makes no Gaussians")
        assert_valid_gaussians(result)

    def test_the_same_seed_gives_the_same_result(self, plugin: Stage[Any], data: StageData, result: Any) -> None:
        assert same(snapshot(run_seeded(plugin, data)), snapshot(result))

    def test_what_it_reads_stays_as_it_was(self, plugin: Stage[Any], data: StageData) -> None:
        before = snapshot(data)
        run_seeded(plugin, data)
        assert same(snapshot(data), before)


def run_seeded(plugin: Stage[Any], data: StageData) -> Any:
    """What the stage makes where torch's generator begins with the seed, as it does in a run."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(data.seed)
        return plugin.run(data)
