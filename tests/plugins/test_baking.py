"""Baked heads move as the built-in head models that they were baked from."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from instax3d_plugins.flame.config import FlameConfig
from instax3d_plugins.flame.data import read_landmarks, read_masks, read_model
from instax3d_plugins.flame.model import FlameModel
from toy_portrait import toy_portrait

from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.portrait.portrait import Portrait
from instax3d.registry import build
from instax3d.types import HeadMesh, Rig


def flame(fixtures_dir: Path) -> FlameModel:
    folder = fixtures_dir / "flame"
    data = read_model(folder / "flame_plain.pkl", "2020")
    data = replace(data, landmarks=read_landmarks(folder / "landmark_embedding.npy"))
    return FlameModel(FlameConfig(), replace(data, masks=read_masks(folder / "FLAME_masks.pkl")))


@pytest.fixture(
    scope="module",
    params=[
        "mannequin",
        pytest.param("ict", marks=pytest.mark.data),
        pytest.param("flame", marks=pytest.mark.fixtures),
    ],
)
def model(request: pytest.FixtureRequest) -> Iterator[HeadModel]:
    if request.param == "mannequin":
        yield build(HeadModel, "mannequin")
    elif request.param == "ict":
        yield build(HeadModel, "ict", model=str(request.getfixturevalue("data_dir") / "ict_facekit"))
    else:
        yield flame(request.getfixturevalue("fixtures_dir"))


def drawn(model: HeadModel, seed: int) -> HeadParameters:
    generator = torch.Generator().manual_seed(seed)
    low, high = model.expression_bounds
    return HeadParameters(
        torch.randn(model.shape_components, generator=generator),
        low + (high - low) * torch.rand(len(model.expression_names), generator=generator),
        0.4 * torch.randn(len(model.joint_names), 3, generator=generator),
    )


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_a_baked_head_moves_as_its_model(model, seed):
    parameters = drawn(model, seed)
    head = model.bake(parameters)
    without = replace(parameters, shape=torch.zeros(0))
    torch.testing.assert_close(head(without), model(parameters), atol=1e-6, rtol=0)
    torch.testing.assert_close(head.posed_joints(without), model.posed_joints(parameters), atol=1e-6, rtol=0)
    chosen = torch.tensor([0, 3, len(head.vertices) - 1])
    torch.testing.assert_close(head.at(without, chosen), head(without)[chosen], atol=1e-7, rtol=0)
    assert head.bake(without) is head


def test_a_model_that_bakes_nothing_itself_is_probed(model):
    """Expressions add up, the pose stays: all that a model without joints needs."""
    parameters = drawn(model, 1)
    still = replace(parameters, expression=torch.zeros_like(parameters.expression))
    head = HeadModel.bake(model, still)
    assert head.joint_names == ()
    for number in (0, len(model.expression_names) - 1):
        alone = torch.zeros_like(parameters.expression)
        alone[number] = 1.0
        given_to_baked = HeadParameters(torch.zeros(0), alone, torch.zeros(0, 3))
        torch.testing.assert_close(head(given_to_baked), model(replace(still, expression=alone)), atol=1e-6, rtol=0)
    assert head.posed_joints(given_to_baked).shape == (0, 3)


def test_it_is_saved_with_a_portrait_and_posed_without_the_model(model, tmp_path):
    parameters = drawn(model, 2)
    turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    rig = Rig(model, parameters, turn, torch.tensor([0.1, 0.2, 0.3]), 2.5)
    mesh = HeadMesh(rig.vertices(parameters), model.faces, rig=rig, regions=model.regions)
    loaded = Portrait.load(toy_portrait(mesh).save(tmp_path / "posed"))
    name = model.expression_names[0]
    posed = loaded.pose({name: 0.5}, neck=(0, 20, 0), jaw=(10, 0, 0), eyes=(0, 5, 0))
    expression, pose = parameters.expression.clone(), parameters.pose.clone()
    expression[0] = 0.5
    turns = {"neck": (0, 20, 0), "jaw": (10, 0, 0), "eye_left": (0, 5, 0), "eye_right": (0, 5, 0)}
    for joint, degrees in turns.items():
        pose[model.joint_names.index(joint)] = torch.tensor(degrees).deg2rad()
    wanted = rig.vertices(replace(parameters, expression=expression, pose=pose))
    torch.testing.assert_close(posed.mesh.vertices, wanted, atol=3e-6, rtol=0)
    assert loaded.rig.head.regions.keys() == model.regions.keys()
