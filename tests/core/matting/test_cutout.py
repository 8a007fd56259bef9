"""The cut-out of a toy person, before backgrounds that make it hard."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from toy_person import (
    FACE_BOX,
    FACE_ELLIPSE,
    GREEN,
    HAIR_COLOR,
    HAIR_ELLIPSE,
    PHOTO_SIZE,
    SKIN_COLOR,
    mask_at,
    rough_head,
    skull,
    toy_person,
)

from instax3d.matting.cutout import background_tint, cut_out, guided_filter, remove_tinted_pieces
from instax3d.matting.head_crop import HeadCrop, cut_head_crop, photo_arrays
from instax3d.matting.trimap import HAIR_ELLIPSES, ColorCues, color_cues, shape_trimap, with_color_cues
from instax3d.matting.truncation import remove_truncation_edges
from instax3d.types import Face, Photo


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


@pytest.mark.parametrize(("beside", "is_background"), [((0.07, 0.1, 0.06), True), ((0.12, 0.08, 0.05), False)])
def test_a_dark_background_beside_the_cheek_is_separated_from_dark_hair_by_its_tint(beside, is_background):
    photo, truth = toy_person(GREEN)
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
    tinted = background_tint(head_crop, head)
    kept = remove_tinted_pieces(head_crop, tinted, person, with_it)[with_it & ~person & head_crop.valid].mean()
    assert kept < 0.05 if is_background else kept == 1
    assert remove_tinted_pieces(head_crop, tinted, np.zeros_like(person), person)[person].all()


PLACES = {"background": [265.0, 270.0], "shirt": [230.0, 270.0]}
"""Pixels of the toy person's photo, right of her where shoulders may be."""


def colors_of(head_crop: HeadCrop, head: np.ndarray) -> ColorCues:
    return color_cues(head_crop, head, shape_trimap(head_crop, head, max(HAIR_ELLIPSES)))


def test_background_beside_the_shoulders_is_probably_not_body():
    """Where shoulders usually are, what has the color of the background above is probably background, else body."""
    photo, _ = toy_person((0.75, 0.72, 0.7))
    head_crop = cut_head_crop(photo_arrays(photo))
    head = rough_head(head_crop)
    trimap = with_color_cues(shape_trimap(head_crop, head, 1.2), colors_of(head_crop, head))
    kinds = {
        name: trimap[tuple(head_crop.crop.points(np.array([at]))[0].astype(int)[::-1])] for name, at in PLACES.items()
    }
    assert kinds == {"background": cv2.GC_PR_BGD, "shirt": cv2.GC_PR_FGD}


def recolored(
    background: tuple[float, float, float],
    hair: tuple[float, float, float],
    sides: tuple[int, int] = (0, PHOTO_SIZE),
    draw: Callable[[np.ndarray], object] | None = None,
) -> tuple[HeadCrop, np.ndarray]:
    """The head crop of the toy person with other hair, in a photo cropped at its sides, and the true outline."""
    photo, truth = toy_person(background)
    image = np.ascontiguousarray(photo.image.permute(1, 2, 0).numpy())
    brown = np.abs(image - HAIR_COLOR).max(2) < 0.05
    image[brown] += np.array(hair, np.float32) - np.array(HAIR_COLOR, np.float32)
    if draw:
        draw(image)
    left, right = sides
    pixels = torch.from_numpy(image[:, left:right].clip(0, 1)).permute(2, 0, 1).contiguous()
    face = Face(FACE_BOX, 1.0, photo.face.require_landmarks68() - torch.tensor([left, 0.0]))
    head_crop = cut_head_crop(photo_arrays(Photo(pixels, None, face)))
    return head_crop, (head_crop.crop.cut(truth[:, left:right].astype(np.float32)) > 0.5) & head_crop.valid


def test_hair_of_the_color_of_a_uniform_background_is_separated_by_its_texture():
    """A background of the hair's mean color, but without its strands."""
    grain = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 0.2, (PHOTO_SIZE, PHOTO_SIZE, 1)), (0, 0), 1)
    hair, face = np.zeros((2, PHOTO_SIZE, PHOTO_SIZE), np.uint8)
    cv2.ellipse(hair, *HAIR_ELLIPSE, 0, 0, 360, 1, -1)
    cv2.ellipse(face, *FACE_ELLIPSE, 0, 0, 360, 1, -1)
    strands = (hair > face) & (np.arange(PHOTO_SIZE)[:, None] < 190)

    def draw(image: np.ndarray) -> None:
        image[strands] += grain[strands][:, None]

    head_crop, truth = recolored((0.3, 0.3, 0.3), (0.32, 0.3, 0.28), draw=draw)
    found = cut_out(head_crop, skull(head_crop)) > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.97


STRIP = slice(60, 118)
"""Rows of the photo where a strip of background beside the hair is taken for hair."""


@pytest.mark.parametrize(
    ("background_below", "rows", "kept"), [(0.09, STRIP, False), (0.6, STRIP, True), (0.09, slice(60, 300), True)]
)
def test_hair_that_looks_like_the_background_does_not_end_in_a_straight_edge(background_below, rows, kept):
    """A strip that ends with contrast is an object, and hair that continues down to the shoulders may be long."""

    def draw(image: np.ndarray) -> None:
        below = image[118:190, :100]
        below[np.abs(below - 0.09).max(2) < 0.03] = background_below

    head_crop, truth = recolored((0.09, 0.09, 0.09), (0.07, 0.065, 0.06), (76, 260), draw)
    box = np.zeros((PHOTO_SIZE, 260 - 76), np.float32)
    box[rows, : 100 - 76] = 1
    strip = (head_crop.crop.cut(box) > 0.5) & head_crop.valid
    head = skull(head_crop)
    person = remove_truncation_edges(head_crop, head, truth | strip)
    away = strip & ~truth & (np.arange(len(head)) < head_crop.crop.points(np.array([[84.0, 0]]))[0, 0])
    assert away.sum() > 500
    assert person[away].mean() > 0.99 if kept else person[away].mean() < 0.1
    assert person[truth].mean() > 0.95


def test_raised_shoulders_are_separated_from_the_background_by_colors_that_are_not_above():
    def draw(image: np.ndarray) -> None:
        cv2.rectangle(image, (60, 165), (95, PHOTO_SIZE), (0.9, 0.75, 0.2), -1)
        cv2.rectangle(image, (215, 165), (230, 180), (0.9, 0.75, 0.2), -1)

    head_crop, _ = recolored((0.2, 0.25, 0.2), (0.1, 0.07, 0.05), draw=draw)
    cues = colors_of(head_crop, rough_head(head_crop))
    # what does not reach the photo's lower edge is an object behind the person
    shoulder, object_behind, above = [(85, 175), (85, 185)], [(222, 172)], [(85, 150)]
    assert mask_at(cues.body, head_crop.crop, shoulder) == [True, True]
    assert mask_at(cues.body, head_crop.crop, object_behind + above) == [False, False]


def test_at_the_side_of_a_tight_photo_background_is_separated_from_hair():
    def draw(image: np.ndarray) -> None:
        cv2.rectangle(image, (180, 60), (PHOTO_SIZE, PHOTO_SIZE), HAIR_COLOR, -1)
        cv2.ellipse(image, *FACE_ELLIPSE, 0, 0, 360, SKIN_COLOR, -1)

    head_crop, _ = recolored(GREEN, HAIR_COLOR, (82, 218), draw)
    head = skull(head_crop)
    trimap = with_color_cues(shape_trimap(head_crop, head, 1.7), colors_of(head_crop, head))
    at_sides = mask_at(trimap == cv2.GC_BGD, head_crop.crop, [(0, 125), (135, 125)])
    assert at_sides == [True, False]


def test_transparency_of_the_file_is_used_as_it_is():
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
