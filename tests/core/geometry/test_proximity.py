"""Closest points, visibility and samples of meshes and point clouds."""

import numpy as np
import pytest

from instax3d.geometry.proximity import ProximityQuery
from instax3d.testing import toy_mesh

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])


def fine_ball(radius=0.1):
    """Triangles of a few millimeters, all corners on the sphere."""
    mesh = toy_mesh(rings=60, spokes=90)
    return mesh.vertices * (radius / 0.1), mesh.faces


def test_distances_to_a_square_are_those_of_geometry():
    points = np.array([[0.3, 0.1, 2.0], [2.0, 0.5, 0.0], [2.0, 2.0, 1.0], [0.25, 0.75, -1.0], [0.5, 0.5, 0.0]])
    closest, distance, face = ProximityQuery(*SQUARE).closest(points)
    np.testing.assert_allclose(closest, [[0.3, 0.1, 0], [1, 0.5, 0], [1, 1, 0], [0.25, 0.75, 0], [0.5, 0.5, 0]])
    np.testing.assert_allclose(distance, [2, 1, np.sqrt(3), 1, 0])
    assert face[0] == 0
    assert face[3] == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_closest_point_is_found_among_triangles_of_all_sizes(seed):
    """Compared with every triangle of a soup whose sizes differ ten-thousandfold, by trimesh's formula."""
    closest_point = pytest.importorskip("trimesh.triangles").closest_point
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-4, 0, (300, 1, 1))
    corners = rng.normal(size=(300, 1, 3)) + sizes * rng.normal(size=(300, 3, 3))
    surface = ProximityQuery(corners.reshape(-1, 3), np.arange(900).reshape(-1, 3))
    points = 2 * rng.normal(size=(100, 3))
    _, distance, face = surface.closest(points)
    for point, nearest, index in zip(points, distance, face):
        every = np.linalg.norm(closest_point(corners, np.repeat(point[None], 300, 0)) - point, axis=1)
        assert nearest == pytest.approx(every.min(), abs=1e-12)
        assert every[index] == pytest.approx(every.min(), abs=1e-12)


def test_triangles_without_area_count_as_their_edges():
    line = ProximityQuery(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]]), np.array([[0, 1, 2], [3, 3, 3]]))
    np.testing.assert_allclose(line.closest(np.array([[1.5, 3.0, 0], [5, 5, 6]]))[1], [3, 1])


def test_samples_are_even_by_area_and_the_same_again():
    vertices, faces = (
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 0, 0], [12, 0, 0], [9, 1, 0]]),
        [[0, 1, 2], [3, 4, 5]],
    )
    surface = ProximityQuery(vertices, np.array(faces))
    samples = surface.sample(8000)
    assert (samples[:, 0] > 5).mean() == pytest.approx(0.75, abs=0.02)
    assert np.array_equal(samples, surface.sample(8000))
    assert surface.closest(samples)[1].max() < 1e-12


def test_a_point_cloud_is_measured_by_its_points():
    cloud = ProximityQuery(SQUARE[0])
    np.testing.assert_allclose(cloud.closest(np.array([[0.5, 0, 0], [3.0, 1, 0]]))[1], [0.5, 2])
    assert np.array_equal(cloud.sample(2), SQUARE[0])
    assert cloud.visible(SQUARE[0]).all()


def test_only_what_shows_from_outside_is_visible():
    outer, inner = (tuple(part.numpy() for part in fine_ball(radius)) for radius in (0.1, 0.08))
    both = ProximityQuery(np.vstack([outer[0], inner[0]]), np.vstack([outer[1], inner[1] + len(outer[0])]))
    visible = both.visible(np.vstack([outer[0], inner[0]]))
    assert not visible[len(outer[0]) :].any()
    # but for what faces downwards all of the outer one
    assert visible[: len(outer[0])][outer[0][:, 1] > -0.03].all()
