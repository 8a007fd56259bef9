"""Clothes of the template generator on a made-up bust, seen from the front; light; strands at the outline."""

from dataclasses import replace

import numpy as np
import pytest
from instax3d_plugins.template.bust import COLLAR_SLOPE
from instax3d_plugins.template.clothes import _clusters, _without_islands, color_clothes, without_arms
from instax3d_plugins.template.labels import HAIR, SKIN, Labels
from instax3d_plugins.template.light import EstimatedLight
from instax3d_plugins.template.observations import VertexObservations
from instax3d_plugins.template.scene import BUST, HeadScene
from instax3d_plugins.template.texture import _END, _fringe, _lengthened, _near

from instax3d.geometry.mesh import vertex_normals
from instax3d.geometry.smoothstep import smoothstep

COMPLEXION, BLUE, ORANGE = np.array([0.85, 0.65, 0.55]), np.array([0.2, 0.3, 0.6]), np.array([0.85, 0.4, 0.2])
ROWS, COLUMNS = 44, 120
COLLAR_END = -0.075
"""Height along the tilted neck, below the chin, meters."""


@pytest.fixture(scope="module")
def scene() -> HeadScene:
    """Nothing but a bust: a closed surface around a neck that widens to shoulders, 26 cm high."""
    drop = np.linspace(0, 0.26, ROWS)
    half = np.interp(drop, [0, 0.04, 0.1, 0.26], [0.055, 0.06, 0.18, 0.2])
    turn = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    depth = np.interp(half, [0.055, 0.2], [0.05, 0.1])
    x, z = half[:, None] * np.sin(turn), depth[:, None] * np.cos(turn)
    vertices = np.stack([x, np.broadcast_to(-drop[:, None], x.shape), z], 2).reshape(-1, 3)
    row, column = (index.ravel() for index in np.mgrid[: ROWS - 1, :COLUMNS])
    a, b = row * COLUMNS + column, row * COLUMNS + (column + 1) % COLUMNS
    faces = np.concatenate([np.stack([a, a + COLUMNS, b], 1), np.stack([b, a + COLUMNS, b + COLUMNS], 1)])
    count = len(vertices)
    nothing = np.zeros(count, bool)
    return HeadScene(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces),
        part=np.full(count, BUST, np.uint8),
        mirror=np.arange(count),
        has_mirror=nothing,
        skull=nothing,
        ears=nothing,
        plain_skin=nothing,
        chin=np.array([0.0, 0.0, 0.08]),
        neck=np.zeros(3),
        body=np.eye(3),
        top=0.2,
    )


def observations(scene: HeadScene, cloth: np.ndarray, albedo: np.ndarray) -> VertexObservations:
    """What a photo from the front shows."""
    facing = scene.normals[:, 2]
    weight = smoothstep(facing, 0.3, 0.7)
    return VertexObservations(
        np.where(cloth[:, None] > 0.5, albedo, COMPLEXION), weight, np.zeros(len(weight)), facing, cloth
    )


def behind(scene: HeadScene) -> np.ndarray:
    return (scene.normals[:, 2] < -0.2) & (scene.vertices[:, 1] < -0.03)


def test_the_normals_of_the_made_up_bust_point_outwards(scene):
    assert ((scene.normals * scene.vertices)[:, [0, 2]].sum(1) > 0).all()


def test_a_collar_runs_around_behind_with_a_clean_edge(scene):
    height = scene.vertices[:, 1] + COLLAR_SLOPE * scene.vertices[:, 2]
    collar = height > COLLAR_END
    albedo = np.where(collar[:, None], BLUE, ORANGE)
    clothes = color_clothes(scene, observations(scene, np.ones(len(height)), albedo), COMPLEXION, ORANGE)
    back = behind(scene)
    to_blue, to_orange = (np.abs(clothes.albedo - color).sum(1) for color in (BLUE, ORANGE))
    clear = np.abs(height - COLLAR_END) > 0.012
    assert (to_blue[back & clear & collar] < 0.15).mean() > 0.95
    assert (to_orange[back & clear & ~collar] < 0.15).mean() > 0.95
    mixed = back & (np.minimum(to_blue, to_orange) > 0.3)
    assert mixed.sum() < 0.08 * back.sum()
    assert (clothes.border[back & clear] > 0).all()


def test_folds_make_no_pattern_and_two_colors_are_two():
    random = np.random.default_rng(0)
    folds = BLUE * random.uniform(0.7, 1.15, (400, 1))
    assert _clusters(folds).max() == 0
    both = np.concatenate([folds, ORANGE * random.uniform(0.8, 1.1, (300, 1))])
    found = _clusters(both)
    assert found.max() == 1
    assert (found[:400] == found[0]).all()
    assert (found[400:] != found[0]).all()
    rare = np.concatenate([folds, np.tile(ORANGE, (20, 1))])
    assert _clusters(rare).max() == 0


@pytest.mark.parametrize("seen", ["both", "left"])
def test_bare_arms_are_bare_behind_and_end_in_a_straight_line(scene, seen):
    x = scene.vertices[:, 0]
    observed = observations(scene, (np.abs(x) < 0.13).astype(float), BLUE)
    if seen == "left":
        observed = replace(observed, weight=observed.weight * (x > -0.08))
    clothes = color_clothes(scene, observed, COMPLEXION, BLUE)
    low = behind(scene) & (scene.vertices[:, 1] < -0.12)
    assert (clothes.border[low & (np.abs(x) > 0.15)] < 0).all()
    assert (clothes.border[low & (np.abs(x) < 0.11)] > 0).all()
    rows = np.unique(scene.vertices[low, 1])
    for side in (-1, 1):
        ends = []
        for y in rows:
            here = np.flatnonzero(low & (scene.vertices[:, 1] == y) & (side * x > 0.05))
            here = here[np.argsort(np.abs(x[here]))]
            ends.append(np.interp(0.0, -clothes.border[here], np.abs(x[here])))
        assert np.std(np.diff(ends)) < 0.003


def test_sleeves_that_are_not_seen_are_no_bare_arms(scene):
    observed = observations(scene, (np.abs(scene.vertices[:, 0]) > 0.03).astype(float), BLUE)
    observed = replace(observed, weight=observed.weight * (np.abs(scene.vertices[:, 0]) < 0.09))
    clothes = color_clothes(scene, observed, COMPLEXION, BLUE)
    assert (clothes.border[np.abs(scene.vertices[:, 0]) > 0.14] > 0).all()


def test_specks_of_skin_in_cloth_and_of_cloth_in_skin_are_mistakes(scene):
    left = scene.vertices[:, 0] > 0
    share = left.astype(float)
    speck = np.hypot(scene.vertices[:, 0] - 0.15, scene.vertices[:, 1] + 0.2) < 0.008
    other = np.hypot(scene.vertices[:, 0] + 0.15, scene.vertices[:, 1] + 0.2) < 0.008
    assert speck.any()
    assert other.any()
    share[speck], share[other] = 0, 1
    assert np.array_equal(_without_islands(share, scene.faces), left)


def test_arms_taken_for_cloth_are_skin_again_and_gray_is_not(scene):
    x = scene.vertices[:, 0]
    cloth = np.ones(len(x))
    observed = observations(scene, cloth, np.where((x > 0.13)[:, None], 0.9 * COMPLEXION, BLUE))
    observed = replace(observed, albedo=np.where((x < -0.13)[:, None], [0.6, 0.62, 0.64], observed.albedo))
    share = without_arms(scene, observed, COMPLEXION, BLUE)
    assert (share[x > 0.13] == 0).all()
    assert (share[x < 0.13] == 1).all()


# --- light


def test_what_light_does_can_be_undone():
    random = np.random.default_rng(0)
    light = EstimatedLight(random.uniform(0.6, 1, 50), random.uniform(0.7, 1.2, 50))
    colors = random.uniform(0.05, 0.8, (50, 3))
    np.testing.assert_allclose(light.relight(light.delight(colors)), colors, atol=0.01)


def test_shadows_on_bright_skin_are_lighter_and_warmer_than_on_black_cloth():
    light = EstimatedLight(np.array([0.65]), np.ones(1))
    skin, black = COMPLEXION[None], np.full((1, 3), 0.05)
    remaining = (light.relight(skin) / skin)[0]
    assert remaining[0] > remaining[1] > remaining[2] > 0.65
    np.testing.assert_allclose(light.relight(black) / black, 0.65, atol=0.03)


# --- the rim of the photo's person


def strand_beside(outline: int) -> tuple[Labels, np.ndarray]:
    """A person right of a column, and a strand that hangs 6 pixels inside."""
    person = np.zeros((120, 120), bool)
    person[:, outline:] = True
    strands = np.zeros_like(person)
    strands[40:70, outline + 6 : outline + 8] = True
    part = np.where(person, SKIN, 0).astype(np.uint8)
    nothing = np.zeros_like(person)
    return Labels(part, False, nothing, strands, nothing), person


def test_what_shines_through_strands_at_the_outline_is_not_seen():
    labels, person = strand_beside(30)
    nothing = np.zeros_like(person)
    fringe = _fringe(labels, person, nothing, 0.001)
    assert fringe[50, 30:37].all()
    assert not fringe[50, 45:].any()
    assert not fringe[90:].any()
    assert not _fringe(labels, person, person, 0.001).any(), "ears are seen"
    inner = replace(labels, strands=np.roll(labels.strands, 40, axis=1))
    assert not _fringe(inner, person, nothing, 0.001).any()


def test_colors_continued_far_beyond_the_person_are_not_seen():
    _, person = strand_beside(30)
    near = _near(person, 0.001)
    assert (near[:, 30:] == 1).all()
    assert (near[:, 28] == 1).all()
    assert (near[:, :20] == 0).all()


def test_strands_are_continued_but_not_over_eyes_and_not_into_hair():
    labels, _ = strand_beside(30)
    landmarks = np.full((68, 2), 500.0)
    longer = _lengthened(labels, landmarks)
    assert longer[40 - _END : 70 + _END, 36:38].all()
    assert longer.sum() == 2 * (30 + 2 * _END)
    part = labels.part.copy()
    part[75:] = HAIR
    assert not _lengthened(replace(labels, part=part), landmarks)[75:].any()
    landmarks[36:42] = [[33, 80], [36, 78], [39, 78], [42, 80], [39, 82], [36, 82]]
    assert not _lengthened(labels, landmarks)[78:83, 36:38].any()
