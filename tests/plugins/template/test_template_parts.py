"""The parts of the template generator that can be checked on simple shapes and textures."""

import numpy as np
import pytest
from instax3d_plugins.template.interpolation import LaplacianInterpolator
from instax3d_plugins.template.materials import border, strand_shortness
from instax3d_plugins.template.noise import SIZE, Noise, make_noise
from instax3d_plugins.template.texture import edge_fade, person_colors
from instax3d_plugins.template.volume import VoxelGrid, relax, without_specks
from scipy import ndimage
from toy_person import rough_head, toy_person

from instax3d.geometry.mesh import vertex_normals
from instax3d.geometry.sample_image import sample
from instax3d.matting.cutout import cut_out
from instax3d.matting.head_crop import cut_head_crop, photo_arrays


def test_no_background_in_the_colors_of_the_person():
    """Continued colors do not hold the background's green, but for the two narrow corners under the chin."""
    photo, _ = toy_person((0.1, 0.9, 0.1))
    head_crop = cut_head_crop(photo_arrays(photo))
    colors, core = person_colors(head_crop, cut_out(head_crop, rough_head(head_crop)))
    assert core.any()
    assert (colors[..., 1] > 0.75).mean() < 1e-4


def test_edges_fade_at_the_photo_and_not_at_the_crop():
    valid = np.zeros((50, 50), bool)
    valid[10:] = True
    fade = edge_fade(valid, 8)
    assert (fade[:11] == 0).all()
    assert (fade[22:] == 1).all()
    assert (edge_fade(np.ones((50, 50), bool), 8) == 1).all()


# --- shapes


def ball(radius: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    grid = VoxelGrid.over(np.full(3, -0.08), np.full(3, 0.08), 0.005)
    return grid.surface((radius - np.linalg.norm(grid.points, axis=1)).reshape(grid.shape), 0.6)


def test_an_implicit_ball_becomes_a_ball():
    vertices, faces = ball()
    assert np.abs(np.linalg.norm(vertices, axis=1) - 0.05).max() < 0.002
    smooth, normals = relax(vertices, faces, 4)
    assert np.abs(np.linalg.norm(smooth, axis=1) - 0.05).max() < 0.002
    assert ((normals * smooth).sum(1) > 0).all()
    assert (vertex_normals(vertices, faces) * vertices).sum(1).min() > 0


def test_a_surface_is_closed_where_the_box_cuts_it():
    grid = VoxelGrid.over(np.full(3, 0.0), np.full(3, 0.08), 0.005)
    _, faces = grid.surface((0.05 - np.linalg.norm(grid.points, axis=1)).reshape(grid.shape), 0.6)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_an_empty_field_has_no_surface():
    grid = VoxelGrid.over(np.zeros(3), np.full(3, 0.02), 0.005)
    vertices, faces = grid.surface(np.full(grid.shape, -1.0), 0.6)
    assert len(vertices) == len(faces) == 0


def test_specks_are_dropped():
    vertices, faces = ball()
    speck = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [2, 1, 1]])
    speck_faces = np.array([[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]])
    kept, kept_faces = without_specks(
        np.concatenate([speck, vertices]), np.concatenate([speck_faces, faces + len(speck)])
    )
    assert np.allclose(kept, vertices)
    assert (kept_faces == faces).all()


def test_fields_are_resampled_linearly():
    coarse = VoxelGrid.over(np.zeros(3), np.full(3, 0.08), 0.02)
    fine = VoxelGrid(coarse.low, 0.01, (7, 8, 9))
    ramp = coarse.points @ [1.0, 2.0, -3.0]
    expected = (fine.points @ [1.0, 2.0, -3.0]).reshape(fine.shape)
    assert np.abs(coarse.resample(ramp.reshape(coarse.shape), fine) - expected).max() < 1e-6


# --- colors


def strip(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A ribbon of triangles along x."""
    x = np.arange(count) * 0.004
    vertices = np.concatenate([np.stack([x, np.full(count, y), np.zeros(count)], 1) for y in (0.0, 0.004)])
    i = np.arange(count - 1)
    faces = np.concatenate([np.stack([i, i + 1, i + count], 1), np.stack([i + 1, i + count + 1, i + count], 1)])
    return vertices, faces


def test_colors_spread_smoothly_between_known_ends():
    vertices, faces = strip()
    values, weights = np.zeros((len(vertices), 2)), np.zeros(len(vertices))
    ends = np.isclose(vertices[:, 0], vertices[:, 0].max())
    values[ends] = [1.0, 0.5]
    weights[ends | (vertices[:, 0] == 0)] = 100
    spread = LaplacianInterpolator(vertices, faces, np.zeros(len(vertices), np.int64)).interpolate(values, weights, 1.0)
    along = vertices[:, 0] / vertices[:, 0].max()
    assert np.abs(spread - along[:, None] * [1.0, 0.5]).max() < 0.02


def test_colors_do_not_jump_to_another_part():
    vertices, faces = strip()
    both = np.concatenate([vertices, vertices + np.array([0, 0, 1e-4])])
    group = np.repeat([0, 1], len(vertices))
    values = np.where(group == 0, 0.2, 0.9)[:, None]
    weights = np.where(both[:, 0] == 0, 1.0, 0.0)
    spread = LaplacianInterpolator(both, np.concatenate([faces, faces + len(vertices)]), group).interpolate(
        values, weights, 0.05
    )
    assert np.abs(spread - values).max() < 0.01


@pytest.fixture(scope="module")
def noise() -> Noise:
    return make_noise(0)


def test_noise_is_tileable_repeatable_and_of_unit_variance(noise):
    again, other = make_noise(0), make_noise(1)
    bands = [("strands", np.s_[..., band]) for band in range(3)]
    for name, part in (*bands, ("grain", np.s_[:])):
        field = getattr(noise, name)[part]
        assert field.std() == pytest.approx(1, abs=1e-3)
        assert (field == getattr(again, name)[part]).all()
        assert not np.allclose(field, getattr(other, name)[part])
        # across the seam it is as smooth as elsewhere
        steps = np.abs(np.diff(np.concatenate([field, field[:1]]), axis=0)).mean(1)
        assert steps[-1] < 2 * steps.mean()


def test_cloth_is_made_up_like_the_patch_that_is_seen(noise):
    rows = np.arange(64)[:, None]
    stripes = np.stack([0.5 + 0.1 * np.sin(2 * np.pi * rows / 8) * np.ones((64, 64)), *np.full((2, 64, 64), 0.3)], 2)
    tile = noise.like(stripes)
    assert tile.std((0, 1)) == pytest.approx([0.1 / np.sqrt(2), 0, 0], abs=0.015)
    spectrum = np.abs(np.fft.rfft2(tile[..., 0])) ** 2
    strongest = np.unravel_index(spectrum.argmax(), spectrum.shape)
    assert min(strongest[0], SIZE - strongest[0]) == pytest.approx(SIZE / 8, rel=0.1)
    assert strongest[1] < SIZE / 64


def test_strands_swing_without_a_seam(noise):
    steps = np.abs(noise.strands - np.roll(noise.strands, 1, axis=1)).max((0, 2))
    assert steps[0] < 2 * np.median(steps), "the first column follows the last"


@pytest.mark.parametrize(("waves", "shorter"), [(0.0, False), (1.0, True)])
def test_strands_are_shorter_where_hair_curls(waves, shorter):
    x = np.mgrid[:160, :160][1].astype(np.float32)
    straight = np.sin(x / 2)
    curly = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((160, 160)), 3) * 10
    photo = np.repeat((0.4 + 0.1 * ((1 - waves) * straight + waves * curly))[..., None], 3, 2).astype(np.float32)
    found = strand_shortness(photo, np.ones((160, 160), bool))
    assert (found > 1.5) == shorter


def test_the_edge_of_a_material_is_a_distance():
    vertices, faces = strip()
    share = np.clip(0.5 + 3 * (vertices[:, 0] - vertices[:, 0].mean()), 0, 1)
    inside = np.abs(share - 0.5) < 0.3
    found = border(vertices, faces, share)[inside]
    assert np.allclose(found, (vertices[:, 0] - vertices[:, 0].mean())[inside], atol=1e-6)


def test_sampling_reads_between_pixel_centers():
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    at = np.array([[0.5, 0.5], [1.0, 0.5], [2.5, 1.5], [-5.0, 0.5]])
    assert np.allclose(sample(image, at), [0, 0.5, 6, 0])
    assert sample(image, np.zeros((0, 2))).shape == (0,)
