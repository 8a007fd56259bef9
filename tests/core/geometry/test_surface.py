"""Exact distances to surfaces, the surfaces that captures bring, and the metric that compares heads with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captures import write_capture
from instax3d_plugins.measures import surface as measures
from plyfile import PlyData, PlyElement

from instax3d.errors import CaptureError, MetricError
from instax3d.geometry.surface import Surface, read_surface
from instax3d.inputs.capture import read_capture
from instax3d.interfaces import MeshPrior, Metric
from instax3d.io.obj import write_obj
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.testing import MetricSuite, toy_context, toy_mesh
from instax3d.types import TrueSurface

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(autouse=True)
def _fewer_samples(monkeypatch):
    monkeypatch.setattr(measures, "SAMPLES", 2_000)


def fine_ball(radius=0.1):
    """Triangles of a few millimeters, all corners on the sphere."""
    mesh = toy_mesh(rings=60, spokes=90)
    return mesh.vertices * (radius / 0.1), mesh.faces


def balls(radius=0.1, test_images=0.1):
    """The context of a portrait that is one ball, its Gaussians on it, where the truth is another."""
    vertices, faces = fine_ball(radius)
    context = toy_context()
    mesh = replace(context.mesh, vertices=vertices, faces=faces, landmarks=torch.full((68, 3), -0.5))
    gaussians = replace(context.gaussians, means=radius / 0.1 * torch.nn.functional.normalize(context.gaussians.means))
    gaussians = replace(gaussians, means=0.1 * gaussians.means, opacities=torch.full((len(gaussians),), 0.9))
    return replace(context, mesh=mesh, gaussians=gaussians, surface=TrueSurface(*fine_ball(truth)))


class TestSurface(MetricSuite):
    figures = tuple(figure.name for figure in registry().get(Kind.METRIC, "surface").spec.metric_info)

    @pytest.fixture
    def plugin(self):
        return build(Metric, "surface")

    @pytest.fixture
    def context(self):
        return balls(test_images=0.104)


def test_distances_to_a_square_are_those_of_geometry():
    points = np.array([[0.3, 0.1, 2.0], [2.0, 0.5, 0.0], [2.0, 2.0, 1.0], [0.25, 0.75, -1.0], [0.5, 0.5, 0.0]])
    place, distance, face = Surface(*SQUARE).closest(points)
    np.testing.assert_allclose(place, [[0.3, 0.1, 0], [1, 0.5, 0], [1, 1, 0], [0.25, 0.75, 0], [0.5, 0.5, 0]])
    np.testing.assert_allclose(distance, [2, 1, np.sqrt(3), 1, 0])
    assert face[0] == 0
    assert face[3] == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_closest_place_is_found_among_triangles_of_all_sizes(seed):
    """Compared with every triangle of a soup whose sizes differ ten-thousandfold, by trimesh's formula."""
    closest_point = pytest.importorskip("trimesh.triangles").closest_point
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-4, 0, (300, 1, 1))
    corners = rng.normal(size=(300, 1, 3)) + sizes * rng.normal(size=(300, 3, 3))
    surface = Surface(corners.reshape(-1, 3), np.arange(900).reshape(-1, 3))
    points = 2 * rng.normal(size=(100, 3))
    _, distance, face = surface.closest(points)
    for point, found, index in zip(points, distance, face):
        every = np.linalg.norm(closest_point(corners, np.repeat(point[None], 300, 0)) - point, axis=1)
        assert found == pytest.approx(every.min(), abs=1e-12)
        assert every[index] == pytest.approx(every.min(), abs=1e-12)


def test_triangles_without_area_count_as_their_edges():
    line = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]]), np.array([[0, 1, 2], [3, 3, 3]]))
    np.testing.assert_allclose(line.closest(np.array([[1.5, 3.0, 0], [5, 5, 6]]))[1], [3, 1])


def test_samples_are_even_by_area_and_the_same_again():
    vertices, faces = (
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 0, 0], [12, 0, 0], [9, 1, 0]]),
        [[0, 1, 2], [3, 4, 5]],
    )
    surface = Surface(vertices, np.array(faces))
    samples = surface.samples(8000)
    assert (samples[:, 0] > 5).mean() == pytest.approx(0.75, abs=0.02)
    assert np.array_equal(samples, surface.samples(8000))
    assert surface.closest(samples)[1].max() < 1e-12


def test_a_cloud_is_measured_by_its_points():
    cloud = Surface(SQUARE[0])
    np.testing.assert_allclose(cloud.closest(np.array([[0.5, 0, 0], [3.0, 1, 0]]))[1], [0.5, 2])
    assert np.array_equal(cloud.samples(2), SQUARE[0])
    assert cloud.seen(SQUARE[0]).all()


def test_only_what_shows_from_outside_is_seen():
    outer, inner = (tuple(part.numpy() for part in fine_ball(radius)) for radius in (0.1, 0.08))
    both = Surface(np.vstack([outer[0], inner[0]]), np.vstack([outer[1], inner[1] + len(outer[0])]))
    shown = both.seen(np.vstack([outer[0], inner[0]]))
    assert not shown[len(outer[0]) :].any()
    # but for what faces downwards all of the outer one
    assert shown[: len(outer[0])][outer[0][:, 1] > -0.03].all()


def write_ply(path, vertices, polygons, text=False):
    points = np.array([tuple(v) for v in vertices], [(axis, "f4") for axis in "xyz"])
    elements = [PlyElement.describe(points, "vertex")]
    if polygons is not None:
        faces = np.empty(len(polygons), [("vertex_indices", object)])
        faces["vertex_indices"] = [np.array(polygon, np.int32) for polygon in polygons]
        elements.append(PlyElement.describe(faces, "face"))
    PlyData(elements, text=text).write(str(path))


def test_captures_bring_their_surface_as_mesh_or_cloud(tmp_path):
    write_capture(tmp_path)
    assert read_capture(tmp_path).surface is None
    vertices, faces = SQUARE
    write_ply(tmp_path / "mesh.ply", vertices, None)
    assert read_capture(tmp_path).surface.faces is None
    write_ply(tmp_path / "mesh.ply", vertices, [[0, 1, 2, 3]], text=True)
    found = [read_capture(tmp_path).surface]
    write_obj(tmp_path / "mesh.obj", torch.from_numpy(vertices).float(), torch.from_numpy(faces))
    found.append(read_capture(tmp_path).surface)
    np.savez(tmp_path / "mesh.npz", vertices=vertices, faces=faces)
    found.append(read_capture(tmp_path).surface)
    for surface in found:
        assert np.array_equal(surface.vertices.numpy(), vertices.astype(np.float32))
        assert np.array_equal(surface.faces.numpy(), faces)


class Hostile:
    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mesh.npz", {"vertices": np.array([Hostile()], object)}),
        ("mesh.npz", {"points": np.zeros((3, 3))}),
        ("mesh.npz", {"vertices": np.zeros((3, 2))}),
        ("mesh.npz", {"vertices": np.full((3, 3), np.nan)}),
        ("mesh.npz", {"vertices": np.zeros((3, 3)), "faces": np.array([[0, 1, 3]])}),
        ("mesh.npz", {"vertices": np.zeros((3, 3)), "faces": np.array([[0, 1, 2, 0]])}),
        ("mesh.npz", b"no archive"),
        ("mesh.obj", b"v 0 0 zero"),
        ("mesh.ply", b"ply\nformat ascii 1.0\nelement vertex 99999999999\nend_header\n"),
        ("mesh.ply", b"something else"),
    ],
)
def test_what_is_no_surface_is_refused_in_a_sentence(tmp_path, monkeypatch, name, values):
    monkeypatch.chdir(tmp_path)
    if isinstance(values, bytes):
        (tmp_path / name).write_bytes(values)
    else:
        np.savez(tmp_path / name, **values)
    with pytest.raises(CaptureError, match=rf"{name} is not the surface of a head .*remove it") as caught:
        read_surface(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


# the metric


def test_a_ball_in_a_ball_is_as_far_as_their_radii_differ():
    figures = build(Metric, "surface").measure(balls(0.1, 0.104))
    for name in ("surface", "surface_to_truth", "surface_from_truth", "surface_gaussians_to_truth"):
        assert figures[name] == pytest.approx(4.0, abs=0.06), name
    # the chin is put half a meter below the middle
    assert figures["surface_percent"] == pytest.approx(100 * 0.004 / 0.604, rel=0.02)
    assert figures["surface_gaussians"] > 4.0, "forty Gaussians leave much of the ball uncovered"
    exact = build(Metric, "surface").measure(balls())
    assert exact["surface"] < 1e-4


def test_millimeters_are_the_fitted_head_s_or_as_told():
    context = balls(0.1, 0.104)
    small = replace(context, mesh=replace(context.mesh, units_per_meter=5.0))
    assert build(Metric, "surface").measure(small)["surface"] == pytest.approx(0.8, abs=0.02)
    told = build(Metric, "surface", units_per_meter=0.1).measure(small)
    assert told["surface"] == pytest.approx(40, abs=0.6)
    percent = [build(Metric, "surface").measure(each)["surface_percent"] for each in (context, small)]
    assert percent[0] == percent[1]


def test_what_is_below_the_chin_or_inside_does_not_count():
    context = balls()
    known = build(Metric, "surface")
    chin = torch.zeros(68, 3)
    vertices = context.surface.vertices
    shoulders = torch.where(vertices[:, 1:2] < -0.02, vertices * torch.tensor([3.0, 1.0, 3.0]), vertices)
    inside = torch.cat([shoulders, 0.5 * vertices])
    faces = torch.cat([context.surface.faces, context.surface.faces + len(vertices)])
    spoilt = replace(context, surface=TrueSurface(inside, faces))
    assert known.measure(spoilt)["surface_from_truth"] > 5
    above = replace(spoilt, mesh=replace(spoilt.mesh, landmarks=chin))
    assert known.measure(above)["surface"] < 1e-4


def test_a_cloud_serves_as_truth():
    context = balls(0.1, 0.104)
    cloud = replace(context, surface=TrueSurface(context.surface.vertices))
    # its points are a few millimeters apart
    assert build(Metric, "surface").measure(cloud)["surface"] == pytest.approx(4.2, abs=0.25)


def test_without_truth_or_chin_the_reason_is_told():
    known, context = build(Metric, "surface"), balls()
    with pytest.raises(MetricError, match="needs the true surface"):
        known.measure(replace(context, surface=None))
    with pytest.raises(MetricError, match="needs the chin"):
        known.measure(replace(context, mesh=replace(context.mesh, landmarks=None)))
    with pytest.raises(MetricError, match="same world"):
        known.measure(replace(context, surface=TrueSurface(context.surface.vertices - 10)))


def test_a_head_that_is_farther_off_measures_worse():
    """The mannequin against itself, moved, blown up and noisier step by step."""
    model = build(MeshPrior, "mannequin").head_model()
    true = model(model.neutral())
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    context = replace(toy_context(), surface=TrueSurface(true, model.faces))

    def measured(vertices):
        mesh = replace(context.mesh, vertices=vertices, faces=model.faces, landmarks=model.landmarks(vertices))
        gaussians = replace(
            context.gaussians,
            **{
                name: part.repeat(len(vertices) // 40 + 1, *[1] * (part.ndim - 1))[: len(vertices)]
                for name, part in vars(context.gaussians).items()
            },
        )
        gaussians = replace(gaussians, means=vertices, opacities=torch.ones(len(vertices)))
        return build(Metric, "surface").measure(replace(context, mesh=mesh, gaussians=gaussians))

    exact = measured(true)
    assert exact["surface"] < 1e-3
    assert exact["surface_gaussians_to_truth"] < 1e-3
    assert 0.5 < exact["surface_gaussians"] < 3, "as far as vertices are apart"
    for spoil in (
        lambda much: true + torch.tensor([0.0, 0.0, 0.004 * much]),
        lambda much: true * (1 + 0.03 * much),
        lambda much: true + 0.002 * much * noise,
    ):
        steps = [exact, *(measured(spoil(much)) for much in (1.0, 2.0))]
        for name in exact:
            values = [step[name] for step in steps]
            assert values == sorted(values), name
            assert values[-1] > values[0] + 0.2, name
