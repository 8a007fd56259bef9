"""The conformance suite of head models. Each test is named after a promise that fitting, views and posing rely on.

The suite needs one fixture, ``plugin``, which returns the head model under test (see `instax3d.testing`).
"""

import time
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.fitting import fit_head
from instax3d.geometry.landmarks68 import (
    BROWS,
    CHIN,
    INNER_EYE_CORNERS,
    JAW_ENDS,
    LEFT_BROW,
    LEFT_EYE,
    LIPS,
    LOWER_LIP_EDGE,
    MOUTH_CORNERS,
    NOSE_BASE,
    NOSE_BRIDGE,
    NOSE_TIP,
    NOSE_WINGS,
    OUTER_EYE_CORNERS,
    RIGHT_BROW,
    RIGHT_EYE,
    UPPER_LIP_EDGE,
)
from instax3d.headmodel import HeadModel, HeadParameters

from .suites import Suite, views_of_model

REGIONS = ("face", "scalp", "ears", "neck", "eyeballs", "lips")
"""That every head model has."""
APART = (("eyeballs", "scalp ears neck lips"), ("lips", "scalp ears neck"))
"""Regions that share no vertex with any of the others named."""
EYE_DISTANCE = (0.06, 0.14)
"""Meters between the outer corners of the eyes, generously."""
EXTENT = (0.15, 1.0)
"""Meters along the longest side of the head with whatever the model has of neck and bust."""
TURN = 0.05
"""Radians; so small that a joint's turn moves each vertex at right angles to what joins them."""


def plausible_parameters(model: HeadModel[Any], seed: int = 0) -> HeadParameters:
    """Random parameters within sensible limits: no vertex is near a place where blend shapes meet their bounds."""
    generator = torch.Generator().manual_seed(seed)
    low, high = model.expression_bounds
    expressions, joints = len(model.expression_names), len(model.joint_names)
    share = 0.1 + 0.2 * torch.rand(expressions, generator=generator)
    return HeadParameters(
        torch.randn(model.shape_components, generator=generator) * 0.5,
        high * share if low >= 0 else (high * share) * torch.randn(expressions, generator=generator).sign(),
        torch.randn(joints, 3, generator=generator) * 0.1,
    )


class HeadModelSuite(Suite):
    """Every test poses the model; one fits it to views of itself."""

    slowest_pose: ClassVar[float] = 1.0
    """Seconds that posing all vertices may take; a fit does so a few hundred times."""

    def test_it_says_what_it_has(self, plugin: HeadModel[Any]) -> None:
        low, high = plugin.expression_bounds
        assert plugin.name
        assert plugin.shape_components > 0
        assert plugin.fitted_components is None or 0 < plugin.fitted_components <= plugin.shape_components
        assert low <= 0 < high
        for names in (plugin.expression_names, plugin.joint_names):
            assert len(set(names)) == len(names)

    def test_the_mesh_is_a_surface_that_looks_outwards(self, plugin: HeadModel[Any]) -> None:
        vertices, faces = plugin(plugin.neutral()), plugin.faces
        assert 0 <= int(faces.min()) <= int(faces.max()) < len(vertices)
        assert bool((faces != faces.roll(1, 1)).all()), "a triangle has three corners"
        sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        assert len(sides.unique(dim=0)) == len(sides), "neighbors go along their common side in opposite directions"
        a, b, c = vertices[faces].unbind(1)
        middle = vertices[plugin.regions["face"] | plugin.regions["scalp"]].mean(0)
        outwards = (torch.linalg.cross(b - a, c - a) * ((a + b + c) / 3 - middle)).sum(1)
        assert float(outwards.sum()) > 0

    def test_the_neutral_head_is_at_zero_and_of_a_head_s_size(self, plugin: HeadModel[Any]) -> None:
        rest = plugin.neutral()
        assert rest.shape.shape == (plugin.shape_components,)
        assert rest.expression.shape == (len(plugin.expression_names),)
        assert rest.pose.shape == (len(plugin.joint_names), 3)
        assert not any(bool(values.any()) for values in vars(rest).values())
        vertices = plugin(rest)
        assert vertices.isfinite().all()
        assert EXTENT[0] < float((vertices.amax(0) - vertices.amin(0)).max()) < EXTENT[1], "meters"
        right, left = plugin.landmarks(vertices)[list(OUTER_EYE_CORNERS)]
        assert EYE_DISTANCE[0] < float((left - right).norm()) < EYE_DISTANCE[1], "meters"

    def test_the_origin_is_inside_the_head(self, plugin: HeadModel[Any]) -> None:
        vertices = plugin(plugin.neutral())
        skull = vertices[plugin.regions["face"] | plugin.regions["scalp"] | plugin.regions["neck"]]
        assert bool((skull.amin(0) < 0).all())
        assert bool((skull.amax(0) > 0).all())

    def test_each_landmark_lies_on_a_face(self, plugin: HeadModel[Any]) -> None:
        corners, weights = plugin.landmark_faces, plugin.landmark_weights
        assert corners.shape == weights.shape == (68, 3)
        assert 0 <= int(corners.min()) <= int(corners.max()) <= int(plugin.faces.max())
        torch.testing.assert_close(weights.sum(1), torch.ones(68), atol=1e-4, rtol=0)
        assert float(weights.min()) > -1e-4
        for number in range(68):
            used = corners[number][weights[number] > 1e-4].unique()
            assert bool(torch.isin(plugin.faces, used).sum(1).max() >= len(used)), number

    def test_landmarks_are_in_order(self, plugin: HeadModel[Any]) -> None:
        x, y, z = plugin.landmarks(plugin(plugin.neutral())).unbind(1)
        order: list[int | slice] = [BROWS, NOSE_BRIDGE, NOSE_TIP, NOSE_BASE, UPPER_LIP_EDGE, CHIN]
        heights = [float(y[part].mean()) for part in order]
        assert heights == sorted(heights, reverse=True), "y up: brows, nose, lips, chin"
        assert y[LOWER_LIP_EDGE] <= y[UPPER_LIP_EDGE]
        pairs = (JAW_ENDS, NOSE_WINGS, OUTER_EYE_CORNERS, INNER_EYE_CORNERS, MOUTH_CORNERS)
        assert all(x[right] < x[left] for right, left in pairs), "x to the subject's left"
        for right_part, left_part in ((RIGHT_BROW, LEFT_BROW), (RIGHT_EYE, LEFT_EYE)):
            assert x[right_part].mean() < x[left_part].mean(), "x to the subject's left"
        assert float(z[NOSE_TIP]) > float(z[[*OUTER_EYE_CORNERS]].max()) > float(z[[*JAW_ENDS]].max()), "z forward"

    def test_regions_are_where_they_belong(self, plugin: HeadModel[Any]) -> None:
        vertices = plugin(plugin.neutral())
        points = plugin.landmarks(vertices)
        assert set(REGIONS) <= set(plugin.regions)
        for name, mask in plugin.regions.items():
            assert mask.dtype == torch.bool, name
            assert mask.shape == (len(vertices),), name
        assert all(plugin.regions[name].any() for name in REGIONS)
        for name, others in APART:
            for other in others.split():
                assert not (plugin.regions[name] & plugin.regions[other]).any(), f"{name} and {other}"
        middle = {name: vertices[plugin.regions[name]].mean(0) for name in REGIONS}
        heights = [float(middle[name][1]) for name in ("scalp", "eyeballs", "lips", "neck")]
        assert heights == sorted(heights, reverse=True)
        assert float((middle["lips"] - points[LIPS].mean(0)).norm()) < 0.03
        for name, inner in (("eyeballs", 0.01), ("ears", float(points[LEFT_EYE, 0].max()))):
            sides = vertices[plugin.regions[name], 0]
            assert float(sides.min()) < -inner, f"{name} on the right"
            assert float(sides.max()) > inner, f"{name} on the left"

    def test_it_is_symmetric_where_it_says_so(self, plugin: HeadModel[Any]) -> None:
        if plugin.mirror is None:
            pytest.skip("this model has no mirror")
        mirror, vertices = plugin.mirror, plugin(plugin.neutral())
        assert mirror.shape == (len(vertices),)
        assert torch.equal(mirror[mirror], torch.arange(len(mirror)))
        mirrored = vertices[mirror] * vertices.new_tensor([-1.0, 1.0, 1.0])
        torch.testing.assert_close(mirrored, vertices, atol=1e-3, rtol=0)

    def test_every_joint_turns_what_follows_it_about_its_place(self, plugin: HeadModel[Any]) -> None:
        rest = plugin.neutral()
        try:
            joints = plugin.posed_joints(rest)
        except NotImplementedError:
            pytest.skip("this model does not tell where its joints are")
        assert joints.shape == (len(plugin.joint_names), 3)
        vertices = plugin(rest)
        for number, name in enumerate(plugin.joint_names):
            for axis in torch.eye(3):
                pose = rest.pose.clone()
                pose[number] = TURN * axis
                turned = replace(rest, pose=pose)
                moved = plugin(turned) - vertices
                expected = torch.linalg.cross(axis.expand_as(vertices), vertices - joints[number])
                assert float(moved.norm(dim=1).max()) > 1e-4, f"{name} moves nothing"
                agreement = (moved * expected).sum() / (moved.norm(dim=1) * expected.norm(dim=1)).sum()
                assert float(agreement) > 0.8, f"{name} turns about another place, or the other way"
                torch.testing.assert_close(plugin.posed_joints(turned)[number], joints[number], atol=1e-5, rtol=0)

    def test_all_parameters_have_derivatives(self, plugin: HeadModel[Any]) -> None:
        for name, gradient in _gradients(plugin, plugin.neutral()).items():
            assert gradient.isfinite().all(), f"{name} at zero"
            # some expressions act only together with others
            assert name == "expression" or bool((gradient != 0).all()), f"{name} at zero"
        found = [_gradients(plugin, plausible_parameters(plugin, seed)) for seed in range(4)]
        for name in found[0]:
            gradients = torch.stack([each[name] for each in found])
            assert gradients.isfinite().all(), name
            assert bool((gradients != 0).any(0).all()), f"{name}: nothing depends on one of them"

    def test_derivatives_are_those_of_small_steps(self, plugin: HeadModel[Any]) -> None:
        parameters, step = plausible_parameters(plugin), 1e-2
        vertices = plugin(parameters)
        chosen = torch.arange(0, len(vertices), max(len(vertices) // 50, 1))
        sizes = [values.numel() for values in vars(parameters).values()]

        def posed(vector: Tensor) -> Tensor:
            shape, expression, pose = vector.split(sizes)
            return plugin.at(HeadParameters(shape, expression, pose.reshape(-1, 3)), chosen)

        center = torch.cat([values.reshape(-1) for values in vars(parameters).values()])
        slopes = torch.func.jacfwd(posed)(center)  # as fits do
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(slopes.shape[:2], generator=generator)
        leaf = center.clone().requires_grad_()
        (backwards,) = torch.autograd.grad((weights * posed(leaf)).sum(), leaf)
        forwards = torch.einsum("nc,ncv->v", weights, slopes)
        start = 0
        for name, size in zip(vars(parameters), sizes, strict=True):
            part = slice(start, start := start + size)
            if not size:
                continue
            direction = torch.zeros_like(center)
            direction[part] = torch.randn(size, generator=generator) / size**0.5
            expected = (posed(center + step * direction) - posed(center - step * direction)) / (2 * step)
            assert float((slopes @ direction - expected).norm() / expected.norm()) < 0.02, name
            assert float((backwards - forwards)[part].norm() / forwards[part].norm()) < 0.01, name

    def test_some_vertices_are_those_of_all(self, plugin: HeadModel[Any]) -> None:
        parameters = plausible_parameters(plugin)
        vertices = plugin(parameters)
        chosen = torch.tensor([len(vertices) - 1, 0, len(vertices) // 2, 0])
        torch.testing.assert_close(plugin.at(parameters, chosen), vertices[chosen], atol=1e-6, rtol=1e-5)

    def test_posing_is_repeatable_and_changes_nothing(self, plugin: HeadModel[Any]) -> None:
        parameters = plausible_parameters(plugin)
        given = {name: values.clone() for name, values in vars(parameters).items()}
        kept = {name: value.clone() for name, value in vars(plugin).items() if isinstance(value, Tensor)}
        random = torch.get_rng_state()
        first, second = plugin(parameters), plugin(parameters)
        assert torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), random)
        assert first.dtype == torch.float32
        assert first.device.type == "cpu"
        assert not first.requires_grad
        for name, values in given.items():
            assert torch.equal(getattr(parameters, name), values), name
        for name, values in kept.items():
            assert torch.equal(getattr(plugin, name), values), name

    def test_posing_is_quick(self, plugin: HeadModel[Any]) -> None:
        parameters = plausible_parameters(plugin)
        plugin(parameters)
        seconds = []
        for _ in range(3):
            since = time.perf_counter()
            plugin(parameters)
            seconds.append(time.perf_counter() - since)
        assert min(seconds) < self.slowest_pose

    def test_it_is_fitted_to_views_of_itself(self, plugin: HeadModel[Any]) -> None:
        mesh = fit_head(plugin, views_of_model(plugin, 3, 128), shape_components=min(10, plugin.shape_components))
        assert mesh.metrics["landmark_error"] < 0.02
        assert mesh.units_per_meter == pytest.approx(1, rel=0.2)


def _gradients(model: HeadModel[Any], parameters: HeadParameters) -> dict[str, Float[Tensor, "..."]]:
    """Of a random combination of all coordinates, by the parameters' names."""
    leaves = {name: values.clone().requires_grad_() for name, values in vars(parameters).items()}
    vertices = model(HeadParameters(**leaves))
    (vertices * torch.randn(vertices.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    gradients = {}
    for name, leaf in leaves.items():
        if leaf.numel():
            assert leaf.grad is not None, name
            gradients[name] = leaf.grad
    return gradients
