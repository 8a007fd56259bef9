"""The mesh rasterizer against cases that can be worked out by hand."""

import numpy as np
import pytest

from instax3d.geometry.mesh_raster import project, rasterize

K = np.array([[50.0, 0.0, 16.0], [0.0, 50.0, 12.0], [0.0, 0.0, 1.0]])
IDENTITY = np.eye(4)
WIDTH, HEIGHT = 32, 24
QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def quad(depth: float, half: float = 0.1) -> np.ndarray:
    return np.array([[-half, -half, depth], [half, -half, depth], [half, half, depth], [-half, half, depth]])


def test_a_square_covers_exactly_its_pixels():
    # at depth 1 the square spans pixels 11 to 21 across and 7 to 17 down
    raster = rasterize(quad(1.0), QUAD, IDENTITY, K, WIDTH, HEIGHT)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[7:17, 11:21] = True
    assert (raster.mask == expected).all()
    assert np.allclose(raster.depth[expected], 1.0)
    assert np.isinf(raster.depth[~expected]).all()


def test_the_nearer_surface_wins_whatever_the_order():
    vertices = np.concatenate([quad(1.0), quad(0.8, 0.04)])
    for faces in (np.concatenate([QUAD, QUAD + 4]), np.concatenate([QUAD + 4, QUAD])):
        raster = rasterize(vertices, faces, IDENTITY, K, WIDTH, HEIGHT)
        assert raster.depth[12, 16] == pytest.approx(0.8)
        assert raster.depth[8, 12] == pytest.approx(1.0)


def test_attributes_are_perspective_correct():
    slanted = np.array([[-0.2, -0.2, 1.0], [0.3, -0.2, 1.6], [0.0, 0.3, 1.2]])
    faces = np.array([[0, 1, 2]])
    raster = rasterize(slanted, faces, IDENTITY, K, WIDTH, HEIGHT)
    points = raster.interpolate(slanted, faces)
    y, x = np.nonzero(raster.mask)
    assert len(x) > 50
    # a seen point must project to the center of its own pixel
    assert np.abs(project(points.astype(float), IDENTITY, K)[:, :2] - np.stack([x, y], 1) - 0.5).max() < 1e-3
    assert np.allclose(points[:, 2], raster.depth[raster.mask], rtol=1e-5)
    assert np.allclose(raster.weights[raster.mask].sum(1), 1, atol=1e-5)


def test_supersampling_draws_the_same_picture_larger():
    coarse = rasterize(quad(1.0), QUAD, IDENTITY, K, WIDTH, HEIGHT)
    fine = rasterize(quad(1.0), QUAD, IDENTITY, K, WIDTH, HEIGHT, supersample=3)
    assert fine.face.shape == (3 * HEIGHT, 3 * WIDTH)
    assert (fine.mask.reshape(HEIGHT, 3, WIDTH, 3).all((1, 3)) == coarse.mask).all()


def test_neighbors_leave_no_holes():
    random = np.random.default_rng(0)
    n = 12
    grid = np.stack(np.meshgrid(np.linspace(-0.4, 0.4, n), np.linspace(-0.3, 0.3, n)), -1)
    grid[1:-1, 1:-1] += random.normal(0, 0.01, (n - 2, n - 2, 2))
    vertices = np.concatenate([grid.reshape(-1, 2), 1 + random.normal(0, 0.01, (n * n, 1))], 1)
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + n], 1), np.stack([i + 1, i + n + 1, i + n], 1)])
    assert rasterize(vertices, faces, IDENTITY, K, WIDTH, HEIGHT).mask.all()


def test_what_is_behind_the_camera_is_not_drawn():
    assert not rasterize(quad(-1.0), QUAD, IDENTITY, K, WIDTH, HEIGHT).mask.any()
    straddling = quad(1.0)
    straddling[:2, 2] = -1.0
    assert not rasterize(straddling, QUAD, IDENTITY, K, WIDTH, HEIGHT).mask.any()


def test_the_camera_may_stand_anywhere():
    turn = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    viewmat = np.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = turn, [0.3, -0.2, 0.5]
    moved = (quad(1.0) - viewmat[:3, 3]) @ turn
    here = rasterize(quad(1.0), QUAD, IDENTITY, K, WIDTH, HEIGHT)
    there = rasterize(moved, QUAD, viewmat, K, WIDTH, HEIGHT)
    assert (here.face == there.face).all()
    assert np.allclose(here.weights, there.weights, atol=1e-5)
