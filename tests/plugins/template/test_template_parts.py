"""The parts of the template generator that can be checked on made-up pictures and shapes."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from instax3d_plugins.template.interpolation import LaplacianInterpolator
from instax3d_plugins.template.labels import CLOTH, HAIR, SKIN, Labels, label_parts, unlike_skin
from instax3d_plugins.template.materials import border, strand_shortness
from instax3d_plugins.template.noise import SIZE, make_noise
from instax3d_plugins.template.texture import edge_fade, person_colors
from instax3d_plugins.template.volume import VoxelGrid, relax, without_specks
from scipy import ndimage

from instax3d.geometry.mesh import vertex_normals
from instax3d.geometry.sample_image import sample
from instax3d.matting.cutout import background_tint, cut_out, guided_filter, remove_tinted_pieces
from instax3d.matting.head_crop import HeadCrop, PhotoArrays, PhotoCrop, cut_head_crop, cut_valid, photo_arrays
from instax3d.matting.trimap import HAIR_ELLIPSES, ColorCues, color_cues, shape_trimap, with_color_cues
from instax3d.matting.truncation import remove_truncation_edges
from instax3d.types import Face, Photo

PHOTO_SIZE = 300
PLACES = {"ground": [265.0, 270.0], "shirt": [230.0, 270.0]}
"""Of the toy person's photo, right of her where shoulders may be."""


def landmarks(x: float = 150.0, y: float = 120.0, width: float = 100.0) -> torch.Tensor:
    """Points about where the 68 landmarks of a frontal face are: jaw, brows, nose, eyes and mouth."""
    jaw = np.stack([-np.cos(np.linspace(0, np.pi, 17)), 0.1 + 1.05 * np.sin(np.linspace(0, np.pi, 17))], 1)
    brows = np.stack([np.r_[np.linspace(-0.8, -0.2, 5), np.linspace(0.2, 0.8, 5)], np.full(10, -0.2)], 1)
    nose = np.concatenate([np.stack([np.zeros(4), np.linspace(0, 0.4, 4)], 1), [[0.1 * k, 0.5] for k in range(-2, 3)]])
    ring = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    eyes = [np.stack([side * 0.45 + 0.15 * np.cos(ring), 0.06 * np.sin(ring)], 1) for side in (-1, 1)]
    ring = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    mouth = np.stack([0.3 * np.cos(ring), 0.75 + 0.1 * np.sin(ring)], 1)
    points = np.concatenate([jaw, brows, nose, *eyes, mouth]) * width / 2 + [x, y]
    return torch.tensor(points, dtype=torch.float32)


def toy_person(background: tuple[float, float, float], *, own_alpha: bool = False) -> tuple[Photo, np.ndarray]:
    """An ellipse of skin with hair and shoulders before a plain background, and the true outline of it all."""
    mask = np.zeros((PHOTO_SIZE, PHOTO_SIZE), np.uint8)
    image = np.full((PHOTO_SIZE, PHOTO_SIZE, 3), background, np.float32)
    for shape in (mask, image):
        colors = [(1,) * 3] * 3 if shape is mask else [(0.2, 0.3, 0.6), (0.3, 0.2, 0.1), (0.85, 0.65, 0.55)]
        cv2.rectangle(shape, (60, 190), (240, PHOTO_SIZE), colors[0], -1)
        cv2.ellipse(shape, (150, 110), (62, 85), 0, 0, 360, colors[1], -1)
        cv2.ellipse(shape, (150, 130), (52, 66), 0, 0, 360, colors[2], -1)
    image += np.random.default_rng(0).normal(0, 0.004, image.shape).astype(np.float32)
    pixels = torch.from_numpy(image.clip(0, 1)).permute(2, 0, 1).contiguous()
    alpha = torch.from_numpy(mask.astype(np.float32))[None] if own_alpha else None
    return Photo(pixels, alpha, Face((100.0, 70.0, 200.0, 190.0), 1.0, landmarks())), mask > 0


def rough_head(head_crop) -> np.ndarray:
    head = np.zeros((head_crop.crop.size,) * 2, np.uint8)
    chin, brow = head_crop.landmarks[8], head_crop.landmarks[19:25].mean(0)
    height = float(chin[1] - brow[1])
    center = (int(chin[0]), int(brow[1] + 0.15 * height))
    cv2.ellipse(head, center, (int(0.62 * height), int(0.85 * height)), 0, 0, 360, 1, -1)
    return head > 0


def skull(head_crop: HeadCrop) -> np.ndarray:
    """The head under the toy person's hair, nearly as large."""
    head = np.zeros((head_crop.crop.size,) * 2, np.uint8)
    landmarks = head_crop.landmarks
    half, middle = np.ptp(landmarks[:, 0]) / 2, landmarks[[0, 16]].mean(0)
    cv2.ellipse(
        head, (middle - [0, 0.2 * half]).astype(int), (1.15 * half * np.array([1, 1.35])).astype(int), 0, 0, 360, 1, -1
    )
    return head > 0


# --- framing


def test_a_crop_and_its_camera_agree():
    K = np.array([[800.0, 0, 150], [0, 800, 150], [0, 0, 1]])
    crop = PhotoCrop(1.7, (-20.0, 33.0), 256)
    point = np.array([0.05, -0.03, 0.9])
    pixel = (K @ point / point[2])[:2]
    in_crop = crop.intrinsics(K) @ point / point[2]
    assert np.allclose(crop.points(pixel[None])[0], in_crop[:2])


def test_cutting_at_the_same_scale_changes_no_pixel():
    image = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)
    assert np.abs(PhotoCrop(1.0, (-5.0, -3.0), 20).cut(image) - image[3:23, 5:25]).max() < 1e-5


@pytest.mark.parametrize("scale", [0.4, 2.5])
def test_cutting_keeps_places(scale):
    """A smooth bump stays where the crop's formula says."""
    y, x = np.mgrid[:200, :200] + 0.5
    image = np.exp(-((x - 120) ** 2 + (y - 80) ** 2) / 32).astype(np.float32)
    crop = PhotoCrop(scale, (30 - 100 * scale, 40 - 70 * scale), 128)
    cut = crop.cut(image)
    y, x = np.mgrid[:128, :128] + 0.5
    center = np.array([(cut * x).sum(), (cut * y).sum()]) / cut.sum()
    assert np.abs(center - crop.points(np.array([[120.0, 80.0]]))[0]).max() < 0.1


def test_where_the_photo_ends():
    source = PhotoArrays(np.zeros((40, 60, 3), np.float32), None, np.zeros((68, 2)))
    valid = cut_valid(source, PhotoCrop(0.5, (10.0, 20.0), 64))
    assert valid.sum() == 20 * 30
    assert valid[20:40, 10:40].all()


def test_the_working_square_holds_the_face_at_one_size():
    for width in (60.0, 120.0):
        photo, _ = toy_person((0.4, 0.5, 0.4))
        face = Face(photo.face.box, 1.0, landmarks(width=width))
        head_crop = cut_head_crop(photo_arrays(Photo(photo.image, None, face)))
        assert np.ptp(head_crop.landmarks[:, 0]) == pytest.approx(190, rel=0.05)
        assert abs(head_crop.landmarks[17:, 0].mean() - head_crop.crop.size / 2) < 1


# --- cutting out


@pytest.mark.parametrize("background", [(1.0, 1.0, 1.0), (0.45, 0.6, 0.4)])
def test_the_person_is_cut_out(background):
    photo, truth = toy_person(background)
    head_crop = cut_head_crop(photo_arrays(photo))
    alpha = cut_out(head_crop, rough_head(head_crop))
    expected = head_crop.crop.cut(truth.astype(np.float32)) > 0.5
    expected &= head_crop.valid
    found = alpha > 0.5
    assert (found & expected).sum() / (found | expected).sum() > 0.97
    assert (alpha[~head_crop.valid] == 0).all()


@pytest.mark.parametrize(("beside", "is_ground"), [((0.07, 0.1, 0.06), True), ((0.12, 0.08, 0.05), False)])
def test_a_dark_ground_beside_the_cheek_is_told_from_dark_hair_by_its_tint(beside, is_ground):
    photo, truth = toy_person((0.4, 0.6, 0.4))
    image = photo.image.permute(1, 2, 0).numpy().copy()
    dark = (image[..., 0] < 0.4) & (image[..., 2] < 0.3) | (np.arange(PHOTO_SIZE)[:, None] < 95)
    image[truth & dark] = (0.1, 0.07, 0.05)
    added = np.zeros(truth.shape, np.uint8)
    cv2.rectangle(added, (50, 120), (95, 185), 1, -1)
    image[(added > 0) & ~truth] = beside
    pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    head_crop = cut_head_crop(photo_arrays(Photo(pixels, None, photo.face)))
    head = rough_head(head_crop)
    person, with_it = (head_crop.crop.cut(mask.astype(np.float32)) > 0.5 for mask in (truth, truth | (added > 0)))
    foreign = background_tint(head_crop, head)
    kept = remove_tinted_pieces(head_crop, foreign, person, with_it)[with_it & ~person & head_crop.valid].mean()
    assert kept < 0.05 if is_ground else kept == 1
    assert remove_tinted_pieces(head_crop, foreign, np.zeros_like(person), person)[person].all()


def colors_of(head_crop: HeadCrop, head: np.ndarray) -> ColorCues:
    return color_cues(head_crop, head, shape_trimap(head_crop, head, max(HAIR_ELLIPSES)))


def test_ground_beside_the_shoulders_is_no_likely_body():
    """Where shoulders usually are, what has the color of the ground above is probably ground, all else the person."""
    photo, _ = toy_person((0.75, 0.72, 0.7))
    head_crop = cut_head_crop(photo_arrays(photo))
    head = rough_head(head_crop)
    found = with_color_cues(shape_trimap(head_crop, head, 1.2), colors_of(head_crop, head))
    shown = {
        name: found[tuple(head_crop.crop.points(np.array([at]))[0].astype(int)[::-1])] for name, at in PLACES.items()
    }
    assert shown == {"ground": cv2.GC_PR_BGD, "shirt": cv2.GC_PR_FGD}


def recolored(
    background: tuple[float, float, float],
    hair: tuple[float, float, float],
    sides: tuple[int, int] = (0, PHOTO_SIZE),
    draw: Callable[[np.ndarray], object] | None = None,
) -> tuple[HeadCrop, np.ndarray]:
    """The working square of the toy person with other hair, in a photo cropped at its sides, and the true outline."""
    photo, truth = toy_person(background)
    image = np.ascontiguousarray(photo.image.permute(1, 2, 0).numpy())
    brown = np.abs(image - (0.3, 0.2, 0.1)).max(2) < 0.05
    image[brown] += np.array(hair, np.float32) - np.array((0.3, 0.2, 0.1), np.float32)
    if draw:
        draw(image)
    left, right = sides
    pixels = torch.from_numpy(image[:, left:right].clip(0, 1)).permute(2, 0, 1).contiguous()
    face = Face((100.0, 70.0, 200.0, 190.0), 1.0, photo.face.require_landmarks68() - torch.tensor([left, 0.0]))
    head_crop = cut_head_crop(photo_arrays(Photo(pixels, None, face)))
    return head_crop, (head_crop.crop.cut(truth[:, left:right].astype(np.float32)) > 0.5) & head_crop.valid


def test_hair_of_the_color_of_a_plain_ground_is_told_by_its_grain():
    """A ground that has the hair's mean color, but not its strands."""
    grain = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 0.2, (PHOTO_SIZE, PHOTO_SIZE, 1)), (0, 0), 1)
    hair, face = np.zeros((2, PHOTO_SIZE, PHOTO_SIZE), np.uint8)
    cv2.ellipse(hair, (150, 110), (62, 85), 0, 0, 360, 1, -1)
    cv2.ellipse(face, (150, 130), (52, 66), 0, 0, 360, 1, -1)
    strands = (hair > face) & (np.arange(PHOTO_SIZE)[:, None] < 190)

    def draw(image: np.ndarray) -> None:
        image[strands] += grain[strands][:, None]

    head_crop, truth = recolored((0.3, 0.3, 0.3), (0.32, 0.3, 0.28), draw=draw)
    found = cut_out(head_crop, skull(head_crop)) > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.97


LEDGE = slice(60, 118)
"""Rows of the toy person's photo where ground beside its hair is taken for hair."""


@pytest.mark.parametrize(
    ("ground", "rows", "kept"), [(0.09, LEDGE, False), (0.6, LEDGE, True), (0.09, slice(60, 300), True)]
)
def test_hair_that_cannot_be_told_from_the_ground_ends_in_no_ledge(ground, rows, kept):
    """A ledge that ends with contrast is an object, and hair that goes on down to the shoulders may be long."""

    def draw(image: np.ndarray) -> None:
        below = image[118:190, :100]
        below[np.abs(below - 0.09).max(2) < 0.03] = ground

    head_crop, truth = recolored((0.09, 0.09, 0.09), (0.07, 0.065, 0.06), (76, 260), draw)
    box = np.zeros((PHOTO_SIZE, 260 - 76), np.float32)
    box[rows, : 100 - 76] = 1
    ledge = (head_crop.crop.cut(box) > 0.5) & head_crop.valid
    head = skull(head_crop)
    person = remove_truncation_edges(head_crop, head, truth | ledge)
    away = ledge & ~truth & (np.arange(len(head)) < head_crop.crop.points(np.array([[84.0, 0]]))[0, 0])
    assert away.sum() > 500
    assert person[away].mean() > 0.99 if kept else person[away].mean() < 0.1
    assert person[truth].mean() > 0.95


def test_raised_shoulders_are_told_from_the_ground_by_colors_that_are_not_above():
    def draw(image: np.ndarray) -> None:
        cv2.rectangle(image, (60, 165), (95, PHOTO_SIZE), (0.9, 0.75, 0.2), -1)
        cv2.rectangle(image, (215, 165), (230, 180), (0.9, 0.75, 0.2), -1)

    head_crop, _ = recolored((0.2, 0.25, 0.2), (0.1, 0.07, 0.05), draw=draw)
    told = colors_of(head_crop, rough_head(head_crop))
    # what does not go on to the photo's lower edge is an object behind the person
    assert shown(told.body, head_crop.crop, [(85, 175), (85, 185), (222, 172), (85, 150)]) == [True, True, False, False]


def test_at_the_side_of_a_tight_photo_ground_is_told_from_hair():
    def draw(image: np.ndarray) -> None:
        cv2.rectangle(image, (180, 60), (PHOTO_SIZE, PHOTO_SIZE), (0.3, 0.2, 0.1), -1)
        cv2.ellipse(image, (150, 130), (52, 66), 0, 0, 360, (0.85, 0.65, 0.55), -1)

    head_crop, _ = recolored((0.4, 0.6, 0.4), (0.3, 0.2, 0.1), (82, 218), draw)
    head = skull(head_crop)
    seeds = with_color_cues(shape_trimap(head_crop, head, 1.7), colors_of(head_crop, head))
    at_sides = shown(seeds == cv2.GC_BGD, head_crop.crop, [(0, 125), (135, 125)])
    assert at_sides == [True, False]


def test_transparency_of_the_file_is_taken_as_it_is():
    photo, truth = toy_person((0.2, 0.2, 0.2), own_alpha=True)
    head_crop = cut_head_crop(photo_arrays(photo))
    alpha = cut_out(head_crop, rough_head(head_crop))
    assert np.allclose(alpha[head_crop.valid], head_crop.crop.cut(truth.astype(np.float32))[head_crop.valid])


def test_the_guided_filter_follows_edges_of_the_guide():
    guide = np.zeros((40, 40, 3), np.float32)
    guide[:, 20:] = [0.8, 0.3, 0.1]
    rough = np.zeros((40, 40), np.float32)
    rough[:, 23:] = 1  # three pixels off
    refined = guided_filter(guide, rough, 5, 1e-4)
    step = np.abs(np.diff(refined[20]))
    assert step.argmax() == 19


def test_no_background_in_the_colors_of_the_person():
    """Continued colors do not hold the background's green, but for the two narrow corners under the chin."""
    photo, _ = toy_person((0.1, 0.9, 0.1))
    head_crop = cut_head_crop(photo_arrays(photo))
    colors, core = person_colors(head_crop, cut_out(head_crop, rough_head(head_crop)))
    assert core.any()
    assert (colors[..., 1] > 0.75).mean() < 1e-4


# --- labels


def labeled_crop(
    collar: tuple[float, float, float],
    *,
    fringe: bool = False,
    draw: Callable[[np.ndarray], object] | None = None,
    ending: int = 215,
    sides: bool = False,
) -> tuple[Labels, PhotoCrop]:
    """The toy person with brows, in a photo that ends a little below the chin, where a narrow collar shows.

    With ``sides``, what is beside its neck is part of it.
    """
    photo, mask = toy_person((0.4, 0.6, 0.4))
    image = np.ascontiguousarray(photo.image.permute(1, 2, 0).numpy())
    cv2.rectangle(image, (60, 190), (240, PHOTO_SIZE), (0.7, 0.5, 0.42), -1)
    cv2.fillConvexPoly(image, np.array([[60, 190], [125, 190], [145, 220], [60, 220]]), collar)
    for left, right in ((108, 140), (160, 192)):
        cv2.rectangle(image, (left, 108), (right, 113), (0.3, 0.2, 0.1), -1)
    if fringe:
        cv2.rectangle(image, (100, 60), (200, 113), (0.3, 0.2, 0.1), -1)
    if draw:
        draw(image)
    if sides:
        mask[160:, 60:240] = True
    pixels = torch.from_numpy(image[:ending]).permute(2, 0, 1).contiguous()
    head_crop = cut_head_crop(photo_arrays(Photo(pixels, None, photo.face)))
    head = rough_head(head_crop)
    y = np.arange(len(head))[:, None]
    scalp = head & (y < head_crop.landmarks[19, 1])
    alpha = head_crop.crop.cut(mask[:ending].astype(np.float32)) * head_crop.valid
    return label_parts(head_crop, alpha, head, scalp, np.zeros_like(head), 8e-4), head_crop.crop


def label_at(labels: Labels, crop: PhotoCrop, x: float, y: float) -> int:
    column, row = crop.points(np.array([[x, y]], float))[0].astype(int)
    return int(labels.part[row, column])


@pytest.mark.parametrize("collar", [(0.9, 0.92, 0.95), (0.12, 0.12, 0.14), (0.3, 0.35, 0.6)])
def test_a_collar_that_barely_shows_is_cloth_and_the_neck_is_skin(collar):
    labels, crop = labeled_crop(collar)
    assert label_at(labels, crop, 105, 205) == CLOTH
    assert label_at(labels, crop, 165, 205) == SKIN


@pytest.mark.parametrize("skin", [(0.85, 0.65, 0.55), (0.35, 0.22, 0.16)])
def test_skin_in_other_light_is_told_from_cloth(skin):
    linear = np.array(skin) ** 2.2
    in_light = [(k * linear) ** (1 / 2.2) for k in (0.25, 0.5, 1.0, 1.3)]
    flushed = np.array(skin) * [1.05, 0.9, 0.95]
    cloth = [[0.9, 0.9, 0.92], [0.5, 0.5, 0.5], [0.02, 0.02, 0.02], [0.25, 0.27, 0.2], [0.2, 0.3, 0.6]]
    colors = np.array([[*in_light, flushed, *cloth]], np.float32)
    lab = cv2.cvtColor(colors, cv2.COLOR_RGB2LAB)
    assert unlike_skin(lab, lab[0, 2:3])[0].tolist() == [False] * 5 + [True] * 5


@pytest.mark.parametrize(("edge", "label"), [(False, SKIN), (True, CLOTH)])
def test_skin_in_strong_light_hangs_together_with_skin_and_cloth_of_its_color_does_not(edge, label):
    def draw(image: np.ndarray) -> None:
        cv2.rectangle(image, (60, 190), (240, PHOTO_SIZE), (0.2, 0.3, 0.6), -1)
        share = np.clip((np.arange(190, PHOTO_SIZE) - 225) / 40, 0, 1)[:, None, None]
        if edge:
            share = np.round(share)
        light = np.array((1.0, 0.9, 0.8)) if edge else np.array((0.99, 0.85, 0.74))
        image[190:, 110:190] = (1 - share) * (0.85, 0.65, 0.55) + share * light

    labels, crop = labeled_crop((0.85, 0.65, 0.55), draw=draw, ending=PHOTO_SIZE)
    assert label_at(labels, crop, 150, 280) == label
    assert label_at(labels, crop, 150, 205) == SKIN
    assert label_at(labels, crop, 80, 280) == CLOTH


def test_a_shadow_beside_the_neck_is_no_cloth():
    """What is unlike skin and hair above the chin hangs together with clothes below, or it is none."""

    def draw(image: np.ndarray, end: int) -> None:
        cv2.rectangle(image, (60, 165), (101, end), (0.3, 0.32, 0.3), -1)

    free, crop = labeled_crop((0.7, 0.5, 0.42), draw=lambda image: draw(image, 180), sides=True)
    worn, _ = labeled_crop((0.7, 0.5, 0.42), draw=lambda image: draw(image, 215), sides=True)
    assert label_at(free, crop, 96, 172) != CLOTH
    assert label_at(worn, crop, 96, 172) == CLOTH


def test_brows_are_hair_under_a_fringe_alone():
    labels, crop = labeled_crop((0.9, 0.92, 0.95))
    assert label_at(labels, crop, 112, 111) == SKIN
    labels, crop = labeled_crop((0.9, 0.92, 0.95), fringe=True)
    assert label_at(labels, crop, 112, 111) == HAIR


def shown(mask: np.ndarray, crop: PhotoCrop, points: list[tuple[int, int]]) -> list[bool]:
    columns, rows = crop.points(np.array(points, float) + 0.5).astype(int).T
    return [bool(value) for value in mask[rows, columns]]


def test_a_strand_across_the_cheek_is_told_from_skin_and_a_wrinkle_is_not():
    def draw(image: np.ndarray) -> None:
        cv2.line(image, (178, 130), (174, 168), (0.6, 0.43, 0.33), 1)
        cv2.line(image, (130, 95), (170, 95), (0.6, 0.43, 0.33), 1)

    labels, crop = labeled_crop((0.9, 0.92, 0.95), draw=draw)
    strand, wrinkle, skin = [(177, 140), (176, 150), (175, 160)], [(140, 95), (150, 95), (160, 95)], [(125, 150)]
    assert shown(labels.strands, crop, strand) == [True] * 3
    assert not any(shown(labels.strands, crop, wrinkle + skin))
    assert shown(labels.of(SKIN), crop, strand) == [True] * 3


@pytest.mark.parametrize("tinted", [True, False])
def test_glasses_are_worn_before_skin_and_no_hair(tinted):
    def draw(image: np.ndarray) -> None:
        for x in (127, 173):
            cv2.circle(image, (x, 122), 16, (0.06, 0.05, 0.05), -1 if tinted else 3)
        for start, end in ((99, 111), (143, 157), (189, 201)):
            cv2.line(image, (start, 121), (end, 121), (0.06, 0.05, 0.05), 3)

    labels, crop = labeled_crop((0.9, 0.92, 0.95), draw=draw)
    frame = [(127, 138), (173, 138), (150, 121), (190, 121)]
    assert shown(labels.glasses, crop, frame) == [True] * 4
    assert shown(labels.glasses, crop, [(122, 128), (178, 128)]) == [tinted] * 2
    assert shown(labels.of(SKIN), crop, [*frame, (122, 128), (178, 128)]) == [True] * 6
    assert not labeled_crop((0.9, 0.92, 0.95))[0].glasses.any()


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


def test_noise_is_tileable_repeatable_and_of_unit_variance():
    noise, again, other = make_noise(3), make_noise(3), make_noise(4)
    bands = [("strands", np.s_[..., band]) for band in range(3)]
    for name, part in (*bands, ("grain", np.s_[:])):
        field = getattr(noise, name)[part]
        assert field.std() == pytest.approx(1, abs=1e-3)
        assert (field == getattr(again, name)[part]).all()
        assert not np.allclose(field, getattr(other, name)[part])
        # across the seam it is as smooth as elsewhere
        steps = np.abs(np.diff(np.concatenate([field, field[:1]]), axis=0)).mean(1)
        assert steps[-1] < 2 * steps.mean()


def test_cloth_is_made_up_like_the_patch_that_is_seen():
    rows = np.arange(64)[:, None]
    stripes = np.stack([0.5 + 0.1 * np.sin(2 * np.pi * rows / 8) * np.ones((64, 64)), *np.full((2, 64, 64), 0.3)], 2)
    tile = make_noise(0).like(stripes)
    assert tile.std((0, 1)) == pytest.approx([0.1 / np.sqrt(2), 0, 0], abs=0.015)
    spectrum = np.abs(np.fft.rfft2(tile[..., 0])) ** 2
    strongest = np.unravel_index(spectrum.argmax(), spectrum.shape)
    assert min(strongest[0], SIZE - strongest[0]) == pytest.approx(SIZE / 8, rel=0.1)
    assert strongest[1] < SIZE / 64


def test_strands_swing_without_a_seam():
    noise = make_noise(0)
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
