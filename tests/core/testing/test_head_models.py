"""The suite of head models: sound models pass it, and each of its tests fails for a model that breaks its promise."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from labface.config import LabFaceConfig
from labface.head import LabFace
from labface.plugin import instax3d_assets
from labface_data import write_labface

from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.registry import build, registry
from instax3d.testing import HeadModelSuite, plausible_parameters


@pytest.fixture(scope="module")
def labface(tmp_path_factory: pytest.TempPathFactory):
    """The stranger's model, with whose copies the tests play."""
    path: Path = write_labface(tmp_path_factory.mktemp("labface") / "labface.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry(), "assets", {**registry().assets, **{each.name: each for each in instax3d_assets()}})
        yield LabFace(LabFaceConfig(file=str(path)))


class TestLabFace(HeadModelSuite):
    @pytest.fixture
    def plugin(self, labface):
        return labface


class TestMannequin(HeadModelSuite):
    @pytest.fixture
    def plugin(self):
        return build(HeadModel, "mannequin")


def with_attributes(**values) -> Callable[[HeadModel], HeadModel]:
    """A copy with other attributes; functions get the model and return the value."""

    def change(model: HeadModel) -> HeadModel:
        changed = copy.copy(model)
        for name, value in values.items():
            setattr(changed, name, value(model) if callable(value) else value)
        return changed

    return change


def posed_by(pose: Callable[[HeadModel, HeadParameters], torch.Tensor]) -> Callable[[HeadModel], HeadModel]:
    """A copy of another class, which poses so."""

    def change(model: HeadModel) -> HeadModel:
        changed = copy.copy(model)
        changed.__class__ = type("Wrong", (LabFace,), {"__call__": lambda self, parameters: pose(model, parameters)})
        return changed

    return change


def region(name: str, mask: Callable[[HeadModel], torch.Tensor]) -> Callable[[HeadModel], HeadModel]:
    return with_attributes(regions=lambda model: {**model.regions, name: mask(model)})


def with_methods(**methods) -> Callable[[HeadModel], HeadModel]:
    def change(model: HeadModel) -> HeadModel:
        changed = copy.copy(model)
        changed.__class__ = type("Wrong", (LabFace,), methods)
        return changed

    return change


def swapped(points: torch.Tensor, *pairs: tuple[slice, slice]) -> torch.Tensor:
    changed = points.clone()
    for one, other in pairs:
        changed[one], changed[other] = points[other], points[one]
    return changed


def far_corner(model: HeadModel) -> torch.Tensor:
    """A landmark between two vertices that share no triangle."""
    corners = model.landmark_faces.clone()
    corners[5] = torch.tensor([0, len(model._mean) // 2, 1])
    return corners


def spread(model: HeadModel) -> torch.Tensor:
    weights = model.landmark_weights.clone()
    weights[5] = torch.tensor([0.4, 0.4, 0.2])
    return weights


def asleep(model: HeadModel, parameters: HeadParameters) -> torch.Tensor:
    time.sleep(0.3)
    return model(parameters)


def noisy(model: HeadModel, parameters: HeadParameters) -> torch.Tensor:
    vertices = model(parameters)
    return vertices + 1e-5 * torch.randn_like(vertices)


def without_pose(model: HeadModel, parameters: HeadParameters) -> torch.Tensor:
    return model(replace(parameters, pose=torch.zeros_like(parameters.pose)))


def norm_of_pose(model: HeadModel, parameters: HeadParameters) -> torch.Tensor:
    """Whose derivative at zero is not a number."""
    return model(parameters) + 1e-4 * (parameters.pose**2).sum().sqrt()


def detached(model: HeadModel, parameters: HeadParameters) -> torch.Tensor:
    return model(replace(parameters, shape=parameters.shape.detach())) + 0 * parameters.shape.sum()


def grows(model: HeadModel, parameters: HeadParameters) -> torch.Tensor:
    model._mean *= 1.0001
    return model(parameters)


def about(place: tuple[float, float, float]) -> Callable[[HeadModel], HeadModel]:
    """The jaw turns elsewhere than it says."""
    other = torch.tensor([[0.0, -0.09, -0.02], place])

    def pose(model: HeadModel, parameters: HeadParameters) -> torch.Tensor:
        moved = copy.copy(model)
        moved._joints = other
        return moved(parameters)

    return posed_by(pose)


WRONG = {
    "no name": (with_attributes(name=""), "it_says_what_it_has"),
    "fits more than it has": (with_attributes(fitted_components=99), "it_says_what_it_has"),
    "bounds without zero": (with_attributes(expression_bounds=(0.5, 1.0)), "it_says_what_it_has"),
    "the same name twice": (with_attributes(joint_names=("jaw", "jaw")), "it_says_what_it_has"),
    "index too large": (
        with_attributes(faces=lambda m: m.faces + len(m._mean)),
        "the_mesh_is_a_surface_that_looks_outwards",
    ),
    "inside out": (with_attributes(faces=lambda m: m.faces.flip(1)), "the_mesh_is_a_surface_that_looks_outwards"),
    "one triangle turned": (
        with_attributes(faces=lambda m: torch.cat([m.faces[:1].flip(1), m.faces[1:]])),
        "the_mesh_is_a_surface_that_looks_outwards",
    ),
    "a triangle without area": (
        with_attributes(faces=lambda m: torch.cat([m.faces, m.faces[:1, [0, 0, 1]]])),
        "the_mesh_is_a_surface_that_looks_outwards",
    ),
    "millimeters": (posed_by(lambda m, p: m(p) * 1000), "the_neutral_head_is_at_zero_and_of_a_head_s_size"),
    "a doll": (posed_by(lambda m, p: m(p) * 0.5), "the_neutral_head_is_at_zero_and_of_a_head_s_size"),
    "not a number": (posed_by(lambda m, p: m(p) * torch.nan), "the_neutral_head_is_at_zero_and_of_a_head_s_size"),
    "not at zero": (
        with_methods(neutral=lambda self: plausible_parameters(self)),
        "the_neutral_head_is_at_zero_and_of_a_head_s_size",
    ),
    "on a shelf": (posed_by(lambda m, p: m(p) + torch.tensor([0.0, 1.6, 0.0])), "the_origin_is_inside_the_head"),
    "landmark in the air": (
        with_attributes(landmark_faces=far_corner, landmark_weights=spread),
        "each_landmark_lies_on_a_face",
    ),
    "weights of two": (
        with_attributes(landmark_weights=lambda m: m.landmark_weights * 2),
        "each_landmark_lies_on_a_face",
    ),
    "67 landmarks": (with_attributes(landmark_faces=lambda m: m.landmark_faces[:67]), "each_landmark_lies_on_a_face"),
    "z up": (posed_by(lambda m, p: m(p)[:, [0, 2, 1]] * torch.tensor([1.0, -1, 1])), "landmarks_are_in_order"),
    "face backwards": (posed_by(lambda m, p: m(p) * torch.tensor([-1.0, 1, -1])), "landmarks_are_in_order"),
    "eyes exchanged": (
        with_attributes(landmark_faces=lambda m: swapped(m.landmark_faces, (slice(36, 42), slice(42, 48)))),
        "landmarks_are_in_order",
    ),
    "lips upside down": (
        with_attributes(landmark_faces=lambda m: swapped(m.landmark_faces, (slice(62, 63), slice(66, 67)))),
        "landmarks_are_in_order",
    ),
    "mirrored points": (
        with_attributes(landmark_faces=lambda m: swapped(m.landmark_faces, (slice(0, 1), slice(16, 17)))),
        "landmarks_are_in_order",
    ),
    "no ears": (with_attributes(regions=lambda m: {n: r for n, r in m.regions.items() if n != "ears"}), "regions"),
    "empty lips": (region("lips", lambda m: torch.zeros_like(m.regions["lips"])), "regions"),
    "indices for masks": (region("lips", lambda m: m.regions["lips"].nonzero()[:, 0]), "regions"),
    "scalp with eyeballs": (region("scalp", lambda m: m.regions["scalp"] | m.regions["eyeballs"]), "regions"),
    "one eyeball": (region("eyeballs", lambda m: m.regions["eyeballs"] & (m._mean[:, 0] > 0)), "regions"),
    "neck for scalp": (region("scalp", lambda m: m.regions["neck"]), "regions"),
    "lips elsewhere": (region("lips", lambda m: m.regions["face"] & (m._mean[:, 1] > 0.05)), "regions"),
    "mirror that is none": (
        with_attributes(mirror=lambda m: torch.arange(len(m._mean)).roll(1)),
        "it_is_symmetric_where_it_says_so",
    ),
    "mirror of another head": (
        with_attributes(mirror=lambda m: torch.arange(len(m._mean))),
        "it_is_symmetric_where_it_says_so",
    ),
    "a joint too many": (
        with_methods(posed_joints=lambda self, p: LabFace.posed_joints(self, p)[[0, 1, 1]]),
        "every_joint_turns_what_follows_it_about_its_place",
    ),
    "a stiff joint": (posed_by(without_pose), "every_joint_turns_what_follows_it_about_its_place"),
    "a joint elsewhere": (about((0.0, 0.1, 0.12)), "every_joint_turns_what_follows_it_about_its_place"),
    "turns the other way": (
        posed_by(lambda m, p: m(replace(p, pose=-p.pose))),
        "every_joint_turns_what_follows_it_about_its_place",
    ),
    "joints that follow themselves": (
        with_methods(posed_joints=lambda self, p: LabFace.posed_joints(self, p) + 0.01 * p.pose),
        "every_joint_turns_what_follows_it_about_its_place",
    ),
    "no derivative of the pose": (posed_by(without_pose), "all_parameters_have_derivatives"),
    "no number at zero": (posed_by(norm_of_pose), "all_parameters_have_derivatives"),
    "shape without derivative": (posed_by(detached), "all_parameters_have_derivatives"),
    "a component without effect": (
        posed_by(lambda m, p: m(replace(p, shape=p.shape * torch.arange(len(p.shape)).clamp(max=1)))),
        "all_parameters_have_derivatives",
    ),
    "half a derivative": (
        posed_by(lambda m, p: m(replace(p, shape=(p.shape + p.shape.detach()) / 2))),
        "derivatives_are_those_of_small_steps",
    ),
    "other vertices": (
        with_methods(at=lambda self, parameters, chosen: self(parameters)[chosen.sort().values]),
        "some_vertices_are_those_of_all",
    ),
    "noise": (posed_by(noisy), "posing_is_repeatable_and_changes_nothing"),
    "growth": (posed_by(grows), "posing_is_repeatable_and_changes_nothing"),
    "double precision": (posed_by(lambda m, p: m(p).double()), "posing_is_repeatable_and_changes_nothing"),
    "trainable": (
        posed_by(lambda m, p: m(p) * torch.ones(1, requires_grad=True)),
        "posing_is_repeatable_and_changes_nothing",
    ),
    "slow": (posed_by(asleep), "posing_is_quick"),
    "other units in part": (
        with_methods(at=lambda self, parameters, chosen: self(parameters)[chosen] * 2),
        "it_is_fitted_to_views_of_itself",
    ),
}


class Hasty(HeadModelSuite):
    slowest_pose = 0.2


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_model_is_found(labface, name):
    change, promise = WRONG[name]
    (test,) = [getattr(Hasty(), test) for test in dir(Hasty) if test.startswith("test_") and promise in test]
    wrong = copy.copy(labface)
    wrong._mean = labface._mean.clone()
    wrong = change(wrong)
    with pytest.raises(AssertionError):
        test(wrong)


def test_every_promise_is_broken_by_some_model():
    promises = {promise for _, promise in WRONG.values()}
    tests = {name for name in dir(HeadModelSuite) if name.startswith("test_")}
    assert {test for test in tests if any(promise in test for promise in promises)} == tests
