"""Head, bust and hair of the template generator, on the mannequin seen from the front with painted labels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instax3d_plugins.template.bust import fit_bust, mesh_bust
from instax3d_plugins.template.hair import mesh_hair
from instax3d_plugins.template.hanging_hair import remove_unsupported, rounded
from instax3d_plugins.template.head import Head, PhotoCamera, make_head, snap
from instax3d_plugins.template.labels import CLOTH, HAIR, SKIN, Labels, label_parts
from instax3d_plugins.template.outline import Outline, make_outline
from instax3d_plugins.template.thickness import hair_thickness, hidden_ears
from instax3d_plugins.template.volume import VoxelGrid, kept_vertices
from scipy.spatial import cKDTree

from instax3d import registry
from instax3d.geometry.cameras import orbit
from instax3d.headmodel import HeadModel
from instax3d.matting.head_crop import HeadCrop, PhotoCrop
from instax3d.matting.masks import dilate, signed_distance

SIZE = 352
SHORT = 0.015
"""Thickness of short hair, meters."""
SKIN_COLOR, HAIR_COLOR, CLOTH_COLOR, BACKGROUND = (
    (0.85, 0.65, 0.55),
    (0.2, 0.12, 0.08),
    (0.2, 0.3, 0.6),
    (0.4, 0.6, 0.4),
)


@pytest.fixture(scope="module")
def head() -> Head:
    model = registry.build(HeadModel, "mannequin")
    camera = orbit([0.0], [0.0], radius=1.0, size=SIZE, focal=600.0)
    viewmat, K = (matrix[0].double().numpy() for matrix in (camera.viewmats, camera.Ks))
    return make_head(model, model.neutral(), PhotoCamera(viewmat, K, SIZE))


def row_of(head: Head, height: float) -> float:
    """Where the photo shows the middle of the face at a height."""
    return float(head.camera.project(np.array([[0.0, height, 0.05]]))[0, 1])


def labeled(head: Head, *, hair: float = 0.0, down_to: float | None = None) -> tuple[np.ndarray, Labels]:
    """Coverage and labels: the head, a shirt, and hair of a thickness (meters) around all above the brows or, beside
    the face, above a height."""
    y, x = np.mgrid[:SIZE, :SIZE]
    mask, per_meter = head.raster.mask, 1 / head.meters_per_pixel
    chin = row_of(head, head.landmarks[8, 1])
    shirt = (y > chin + 0.05 * per_meter) & (np.abs(x - SIZE / 2) < 0.18 * per_meter)
    skin = mask & (y < chin + 0.06 * per_meter)
    part = np.where(shirt, CLOTH, np.where(skin, SKIN, 0))
    if hair:
        around = dilate(skin, round(hair * per_meter))
        above = y < row_of(head, head.landmarks[19, 1] + 0.03)
        part[around & above] = HAIR
        if down_to is not None:
            beside = around & ~skin | dilate(head.seen("ears"), 2)
            part[beside & (y < row_of(head, down_to))] = HAIR
    return (part > 0).astype(np.float32), Labels(part.astype(np.uint8), not hair, *np.zeros((3, *mask.shape), bool))


def outline_of(head: Head, **options) -> Outline:
    alpha, labels = labeled(head, **options)
    return make_outline(head, alpha, labels, np.ones((SIZE, SIZE), bool))


def hair_of(head: Head, outline: Outline) -> np.ndarray:
    covered = hidden_ears(head, outline)
    head = head.flattened(covered)
    body = head.camera.rasterize(head.vertices, head.faces).depth
    return mesh_hair(head, covered, fit_bust(head, outline), outline, body)[0]


# --- head


def test_a_flattened_ear_lies_flat_and_moves_nothing_else(head):
    ear = head.regions["ears"] & (head.vertices[:, 0] > 0)
    flat = head.flattened(ear)
    assert (flat.vertices[~ear] == head.vertices[~ear]).all()
    used = np.isin(np.arange(len(ear)), head.skin_faces) & ear
    assert flat.vertices[used, 0].max() < head.vertices[used, 0].max() - 0.005
    assert head.flattened(np.zeros_like(ear)) is head


@pytest.mark.parametrize(("label", "outwards"), [(SKIN, True), (HAIR, False)])
def test_bare_heads_grow_to_the_outline_and_haired_ones_do_not(head, label, outwards):
    mask = dilate(head.raster.mask, 5)
    part = np.where(mask, label, 0).astype(np.uint8)
    labels = Labels(part, False, *np.zeros((3, *mask.shape), bool))
    landmarks = head.camera.project(head.landmarks)[:, :2]
    snapped = snap(head, landmarks, mask.astype(np.float32), np.ones_like(mask), labels)
    above = slice(0, round(row_of(head, head.landmarks[33, 1])))
    gained = (snapped.raster.mask[above].sum() - head.raster.mask[above].sum()) / (
        mask[above].sum() - head.raster.mask[above].sum()
    )
    assert (gained > 0.5) == outwards
    assert outwards or abs(gained) < 0.2


def test_ears_meet_their_outline_also_where_hair_hides_a_part(head):
    """The photo's ears stand out farther than the model's; the upper half counts as hair."""
    ears = head.regions["ears"]
    wide = head.vertices.copy()
    wide[ears, 0] *= 1 + 0.08 * np.clip((np.abs(wide[ears, 0]) - 0.07) / 0.015, 0, 1)
    mask = head.camera.rasterize(wide, head.faces).mask
    rows = head.camera.project(head.vertices[ears])[:, 1]
    top, middle, bottom = np.quantile(rows, [0.2, 0.5, 0.8]).round().astype(int)
    part = np.where(mask, SKIN, 0).astype(np.uint8)
    part[:middle][mask[:middle]] = HAIR
    labels = Labels(part, False, *np.zeros((3, *mask.shape), bool))
    landmarks = head.camera.project(head.landmarks)[:, :2]
    snapped = snap(head, landmarks, mask.astype(np.float32), np.ones_like(mask), labels)

    def gap(rows: slice, which: Head) -> float:
        """Mean pixels on both sides together that the head lacks."""
        return float((mask[rows].sum(1) - which.raster.mask[rows].sum(1)).mean())

    assert gap(slice(middle, bottom), head) > 5
    assert abs(gap(slice(middle + 2, bottom), snapped)) < 2
    assert gap(slice(top, middle), snapped) < 0.8 * gap(slice(top, middle), head)
    assert gap(slice(0, top - 15), snapped) == pytest.approx(0, abs=1), "no hair is taken for the head"


# --- bust


def test_a_bust_is_closed_never_gets_thinner_and_is_as_wide_as_the_shirt(head):
    outline = outline_of(head)
    bust = fit_bust(head, outline)
    for reach in (bust.left, bust.right, bust.front, bust.back):
        assert (np.diff(reach[len(reach) // 4 :]) > -1e-3).all()
    wide = bust.left[np.searchsorted(bust.drop, 0.15)]
    farther = head.camera.project(bust.origin[None])[0, 2] / head.camera.project(head.landmarks[27:28])[0, 2]
    assert wide == pytest.approx(0.18 * farther, rel=0.06)
    vertices, faces, _ = mesh_bust(head, bust, outline)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert vertices[:, 1].min() < head.landmarks[8, 1] - 0.2


def test_a_neck_is_as_narrow_as_the_photo_shows_it(head):
    y, x = np.mgrid[:SIZE, :SIZE]
    alpha, labels = labeled(head)
    chin, per_meter = row_of(head, head.landmarks[8, 1]), 1 / head.meters_per_pixel
    slim = (y > chin + 0.012 * per_meter) & (y < chin + 0.07 * per_meter) & (np.abs(x - SIZE / 2) > 0.04 * per_meter)
    shown = (alpha > 0) & ~slim
    part = np.where(shown & (labels.part == CLOTH) & (y < chin + 0.07 * per_meter), SKIN, labels.part * shown)
    narrow = make_outline(
        head, shown.astype(np.float32), replace(labels, part=part.astype(np.uint8)), np.ones((SIZE, SIZE), bool)
    )
    usual, found = fit_bust(head, outline_of(head)), fit_bust(head, narrow)
    row = int(np.searchsorted(found.drop, 0.045))
    assert abs(found.left[row] - 0.04) < 0.006
    assert abs(found.right[row] - 0.04) < 0.006
    assert usual.left[int(np.searchsorted(usual.drop, 0.045))] > 0.05
    # so is what is meshed of it
    ring = mesh_bust(head, found, narrow)[0]
    ring = ring[np.abs(ring[:, 1] - (head.landmarks[8, 1] - 0.045)) < 0.006]
    assert np.abs(ring[:, 0]).max() < 0.055


def test_an_open_mouth_does_not_lower_the_shoulders(head):
    outline = outline_of(head)
    unknown = replace(outline, valid=np.zeros_like(outline.valid))
    landmarks = head.landmarks.copy()
    landmarks[62, 1], landmarks[66, 1] = 0.0, -0.03
    closed, opened = fit_bust(head, unknown), fit_bust(replace(head, landmarks=landmarks), unknown)
    row = np.searchsorted(closed.drop, 0.07)
    assert opened.left[row] > closed.left[row] + 0.01


def bust_in_photo(head: Head, outline: Outline) -> np.ndarray:
    vertices, faces, _ = mesh_bust(head, fit_bust(head, outline), outline)
    return head.camera.rasterize(vertices, faces).mask


@pytest.fixture(scope="module")
def dressed(head):
    """A shirt with a collar that stands off the neck on one side, above the chin, and that side's shoulder raised."""
    alpha, labels = labeled(head)
    y, x = np.mgrid[:SIZE, :SIZE]
    chin, pixel = row_of(head, head.landmarks[8, 1]), head.meters_per_pixel
    aside, below = (x - SIZE / 2) * pixel, (y - chin) * pixel
    collar = ~head.raster.mask & (aside > 0) & (aside < 0.1) & (below > -0.012)
    shoulder = (aside > 0) & (aside < 0.17) & (below > 0.012 + 0.2 * aside)
    clothes = collar | shoulder & (labels.part != SKIN)
    part = np.where(clothes, CLOTH, labels.part).astype(np.uint8)
    return np.maximum(alpha, clothes), replace(labels, part=part), clothes & (below < 0.08)


def test_collars_and_raised_shoulders_are_part_of_the_bust(head, dressed):
    alpha, labels, clothes = dressed
    outline = make_outline(head, alpha, labels, np.ones((SIZE, SIZE), bool))
    shown = bust_in_photo(head, outline) | head.raster.mask
    assert shown[clothes].mean() > 0.93
    other = np.arange(SIZE)[None, :] < SIZE / 2
    above = np.arange(SIZE)[:, None] < row_of(head, head.landmarks[8, 1])
    assert not (bust_in_photo(head, outline) & other & above & ~dilate(head.raster.mask, 1)).any()
    beyond = shown & (outline.person < -0.004) & (np.arange(SIZE) > SIZE / 2 + 0.09 / head.meters_per_pixel)
    assert not beyond.any(), "it does not stand out of the outline"


def test_shoulders_are_no_deeper_for_being_raised(head, dressed):
    alpha, labels, _ = dressed
    usual = fit_bust(head, outline_of(head))
    raised = fit_bust(head, make_outline(head, alpha, labels, np.ones((SIZE, SIZE), bool)))
    at = [np.interp(0.05, bust.drop, bust.left) for bust in (usual, raised)]
    assert at[1] > at[0] + 0.03
    for side in ("front", "back"):
        deep = [np.interp(0.06, bust.drop, getattr(bust, side)) for bust in (usual, raised)]
        assert deep[1] < deep[0] + 0.02


def test_an_arm_that_leaves_the_photo_is_no_shoulder(head):
    alpha, labels = labeled(head)
    y, x = np.mgrid[:SIZE, :SIZE]
    chin, pixel = row_of(head, head.landmarks[8, 1]), head.meters_per_pixel
    narrow = (np.abs(x - SIZE / 2) < 0.13 / pixel) | head.raster.mask
    arm = (x < SIZE / 2 - 0.1 / pixel) & (y > chin + 0.055 / pixel)
    valid = x > SIZE / 2 - 0.24 / pixel
    part = np.where(arm & ~narrow, SKIN, labels.part * narrow).astype(np.uint8)
    outline = make_outline(head, np.maximum(alpha * narrow, arm), replace(labels, part=part), valid)
    bust = fit_bust(head, outline)
    assert (bust.right < 1.25 * np.maximum(bust.left, 0.06)).all()


def test_shoulders_continue_round_and_whole_beyond_the_photo(head):
    alpha, labels = labeled(head)
    y, x = np.mgrid[:SIZE, :SIZE]
    chin, pixel = row_of(head, head.landmarks[8, 1]), head.meters_per_pixel
    valid = (np.abs(x - SIZE / 2) < 0.1 / pixel) & (y < chin + 0.06 / pixel)
    outline = make_outline(head, alpha * valid, labels, valid)
    bust = fit_bust(head, outline)
    for reach in (bust.left, bust.right):
        growth = np.diff(reach[bust.drop > 0.06])
        assert growth.max() < 0.02
        assert reach[-1] > 0.18
    vertices, _, _ = mesh_bust(head, bust, outline)
    low = vertices[np.abs(vertices[:, 1] - head.landmarks[8, 1] + 0.15) < 0.02]
    assert np.ptp(low[:, 0]) > 0.34, "what lies beyond the photo's sides cuts nothing off"


# --- hair


def test_hair_beyond_a_hidden_cheek_begins_where_the_outline_needs_it():
    model = registry.build(HeadModel, "mannequin")
    camera = orbit([-26.0], [0.0], radius=1.0, size=SIZE, focal=600.0)
    viewmat, K = (matrix[0].double().numpy() for matrix in (camera.viewmats, camera.Ks))
    turned = make_head(model, model.neutral(), PhotoCamera(viewmat, K, SIZE))
    outline = outline_of(turned, hair=0.02, down_to=turned.landmarks[8, 1])
    high, low = (row_of(turned, turned.landmarks[mark, 1]) for mark in (19, 33))
    y, x = np.mgrid[:SIZE, :SIZE]
    beside_cheek = (outline.part == HAIR) & ~turned.raster.mask & (x > SIZE / 2) & (y > high) & (y < low)
    covered = hidden_ears(turned, outline)
    body = turned.camera.rasterize(turned.vertices, turned.faces).depth
    vertices, faces, _ = mesh_hair(turned, covered, fit_bust(turned, outline), outline, body)
    shown = turned.camera.rasterize(vertices, faces).mask
    assert shown[beside_cheek].mean() > 0.6


@pytest.fixture(scope="module")
def short_hair(head) -> np.ndarray:
    """Vertices of hair that the photo shows standing off the head by SHORT."""
    return hair_of(head, outline_of(head, hair=SHORT))


def test_short_hair_leaves_face_and_ears_free(head, short_hair):
    assert not hidden_ears(head, outline_of(head, hair=SHORT)).any()
    hair = short_hair
    brow, chin = head.landmarks[19, 1], head.landmarks[8, 1]
    ear = head.vertices[head.regions["ears"]]
    low = hair[hair[:, 1] < brow]
    assert low[:, 2].max() < np.median(ear[:, 2]) + 0.05
    assert hair[:, 1].min() > chin - 0.04
    assert hair[:, 1].max() == pytest.approx(head.vertices[:, 1].max() + SHORT, abs=0.006)
    assert np.abs(hair[:, 0].max() + hair[:, 0].min()) < 0.01, "left and right are alike"


def test_hair_is_round_in_profile_where_the_skull_is_flat(head):
    outline = outline_of(head, hair=0.02)
    skull = head.vertices.copy()
    top = skull[:, 1].max()
    skull[:, 1] = np.minimum(skull[:, 1], top - 0.01)  # planed off
    flat = replace(head, vertices=skull)
    thickness, _ = hair_thickness(flat, np.zeros(len(skull), bool), outline)
    planed = head.regions["scalp"] & (np.abs(skull[:, 1] - top + 0.01) < 1e-6)
    middle = planed & (np.hypot(*(skull - skull[planed].mean(0))[:, [0, 2]].T) < 0.015)
    rim = planed & (np.hypot(*(skull - skull[planed].mean(0))[:, [0, 2]].T) > 0.04)
    assert middle.any()
    assert rim.any()
    assert thickness[middle].mean() > thickness[rim].mean() + 0.001


def test_short_hair_ends_in_the_nape_and_leaves_the_neck_free(head, short_hair):
    hair = short_hair
    skin, normals = head.vertices[head.skin], head.normals[head.skin]
    nearest = cKDTree(skin).query(hair)[1]
    outside = ((hair - skin[nearest]) * normals[nearest]).sum(1) > 0.001
    nape = head.vertices[head.regions["scalp"], 1].min()
    behind = hair[outside & (hair[:, 2] < np.median(head.vertices[head.regions["ears"], 2]) - 0.02)]
    assert behind[:, 1].min() == pytest.approx(nape, abs=0.02)


def test_long_hair_gets_narrower_behind_and_ends_in_a_curve(head):
    chin = head.landmarks[8, 1]
    hair = hair_of(head, outline_of(head, hair=0.03, down_to=chin - 0.14))
    back = hair[hair[:, 2] < -0.08]
    low = back[:, 1].min()

    def width(height: float) -> float:
        return float(np.ptp(back[np.abs(back[:, 1] - height) < 0.006, 0]))

    heights = np.arange(low + 0.01, chin - 0.06, 0.02)
    widths = np.array([width(height) for height in heights])
    assert (np.diff(widths) > -0.01).all(), "no steps, tufts or anchors"
    assert widths[-1] > widths[0] + 0.02


def test_long_hair_falls_behind_and_beside_the_neck(head):
    chin = head.landmarks[8, 1]
    outline = outline_of(head, hair=0.03, down_to=chin - 0.05)
    assert hidden_ears(head, outline).any()
    hair = hair_of(head, outline)
    assert hair[:, 1].min() == pytest.approx(chin - 0.05, abs=0.03)
    at_chin = hair[np.abs(hair[:, 1] - chin) < 0.006]
    nape = head.vertices[head.regions["neck"], 2].min()
    assert at_chin[:, 2].min() < nape, "it hides the neck from behind"
    assert at_chin[:, 2].max() < head.landmarks[30, 2] - 0.05, "and not the face"


@given(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
def test_rounded_ends_lie_within_hair_and_end(field, height):
    end = float(rounded(np.array([field]), 0.0, np.array([height]))[0])
    sharp = min(field, 0.6 * height)
    assert sharp - 0.006 < end <= sharp + 1e-9


def test_nothing_hangs_from_nothing():
    field = np.full((3, 20, 3), -0.05)
    field[0], field[1, :5] = 0.01, 0.01  # a curtain, and something below a gap
    kept = remove_unsupported(field, row=15, step=0.004)
    assert (kept[0] > 0).all()
    assert (kept[1:] < 0).all()
    assert (kept[:, 16:] == field[:, 16:]).all()


def test_kept_vertices_keep_their_triangles():
    grid = VoxelGrid.over(np.full(3, -0.04), np.full(3, 0.04), 0.01)
    vertices, faces = grid.surface((0.03 - np.linalg.norm(grid.points, axis=1)).reshape(grid.shape), 0.0)
    upper = vertices[:, 1] > 0
    kept, kept_faces = kept_vertices(vertices, faces, upper)
    assert (kept == vertices[upper]).all()
    assert len(kept_faces) == upper[faces].all(1).sum()
    assert np.allclose(kept[kept_faces], vertices[faces[upper[faces].all(1)]])


# --- hands


def hand_and_occluded(head: Head, *, hand: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where a picture of the head has a hand beside the jaw, if it is to have one, and what is found to be hidden."""
    alpha, labels = labeled(head, hair=SHORT)
    colors = np.array([BACKGROUND, SKIN_COLOR, HAIR_COLOR, CLOTH_COLOR], np.float32)
    rgb = colors[labels.part] + np.random.default_rng(0).normal(0, 0.01, (SIZE, SIZE, 3)).astype(np.float32)
    drawn = np.zeros((SIZE, SIZE), np.uint8)
    if hand:
        x, y = head.camera.project(head.landmarks[4:5])[0, :2]
        cv2.ellipse(drawn, (int(x) - 22, int(y) + 8), (26, 16), 0, 0, 360, 1, -1)
        rgb[drawn > 0] = (0.95, 0.78, 0.68)
        alpha[drawn > 0] = 1
    landmarks = head.camera.project(head.landmarks)[:, :2]
    rgb = cv2.GaussianBlur(rgb, (0, 0), 0.8).clip(0, 1)
    head_crop = HeadCrop(rgb, np.ones((SIZE, SIZE), bool), None, landmarks, PhotoCrop(1.0, (0.0, 0.0), SIZE))
    part = label_parts(head_crop, alpha, head.raster.mask, head.seen("scalp"), head.seen("neck"), head.meters_per_pixel)
    return drawn > 0, part.occluded


def test_a_hand_at_the_jaw_counts_as_unseen(head):
    hand, occluded = hand_and_occluded(head, hand=True)
    assert occluded[hand].mean() > 0.95
    face = signed_distance(head.raster.mask) > 12
    face &= np.arange(SIZE)[:, None] < row_of(head, head.landmarks[33, 1])
    assert occluded[face].mean() < 0.02


def test_nobody_without_a_hand_is_hidden(head):
    assert not hand_and_occluded(head, hand=False)[1].any()
