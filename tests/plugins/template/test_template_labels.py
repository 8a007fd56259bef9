"""The labels of skin, hair, cloth and occluders on a toy person."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from instax3d_plugins.template.labels import CLOTH, HAIR, SKIN, Labels, label_parts, unlike_skin
from toy_person import BODY, GREEN, HAIR_COLOR, PHOTO_SIZE, SHIRT_COLOR, SKIN_COLOR, mask_at, rough_head, toy_person

from instax3d.matting.head_crop import PhotoCrop, cut_head_crop, photo_arrays
from instax3d.types import Photo

NECK_COLOR, WHITE_COLLAR = (0.7, 0.5, 0.42), (0.9, 0.92, 0.95)
METERS_PER_PIXEL = 8e-4
"""Of the head crop: an adult's face is about 15 cm wide."""


@cache
def labeled_crop(
    collar: tuple[float, float, float],
    *,
    fringe: bool = False,
    draw: Callable[[np.ndarray], object] | None = None,
    ending: int = 215,
    sides: bool = False,
) -> tuple[Labels, PhotoCrop]:
    """The toy person with brows, in a photo that ends a little below the chin, where a narrow collar shows.

    With ``sides``, what is beside its neck is part of it. Cached: several tests look at the same one.
    """
    photo, mask = toy_person(GREEN)
    image = np.ascontiguousarray(photo.image.permute(1, 2, 0).numpy())
    cv2.rectangle(image, *BODY, NECK_COLOR, -1)
    cv2.fillConvexPoly(image, np.array([[60, 190], [125, 190], [145, 220], [60, 220]]), collar)
    for left, right in ((108, 140), (160, 192)):
        cv2.rectangle(image, (left, 108), (right, 113), HAIR_COLOR, -1)
    if fringe:
        cv2.rectangle(image, (100, 60), (200, 113), HAIR_COLOR, -1)
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
    return label_parts(head_crop, alpha, head, scalp, np.zeros_like(head), METERS_PER_PIXEL), head_crop.crop


def label_at(labels: Labels, crop: PhotoCrop, x: float, y: float) -> int:
    column, row = crop.points(np.array([[x, y]], float))[0].astype(int)
    return int(labels.part[row, column])


@pytest.mark.parametrize("collar", [WHITE_COLLAR, (0.12, 0.12, 0.14), (0.3, 0.35, 0.6)])
def test_a_collar_that_barely_shows_is_cloth_and_the_neck_is_skin(collar):
    labels, crop = labeled_crop(collar)
    assert label_at(labels, crop, 105, 205) == CLOTH
    assert label_at(labels, crop, 165, 205) == SKIN


@pytest.mark.parametrize("skin", [SKIN_COLOR, (0.35, 0.22, 0.16)])
def test_skin_in_other_light_is_separated_from_cloth(skin):
    linear = np.array(skin) ** 2.2
    in_light = [(k * linear) ** (1 / 2.2) for k in (0.25, 0.5, 1.0, 1.3)]
    flushed = np.array(skin) * [1.05, 0.9, 0.95]
    cloth = [[0.9, 0.9, 0.92], [0.5, 0.5, 0.5], [0.02, 0.02, 0.02], [0.25, 0.27, 0.2], [0.2, 0.3, 0.6]]
    colors = np.array([[*in_light, flushed, *cloth]], np.float32)
    lab = cv2.cvtColor(colors, cv2.COLOR_RGB2LAB)
    assert unlike_skin(lab, lab[0, 2:3])[0].tolist() == [False] * 5 + [True] * 5


@pytest.mark.parametrize(("edge", "label"), [(False, SKIN), (True, CLOTH)])
def test_skin_in_strong_light_is_connected_to_skin_and_cloth_of_its_color_is_not(edge, label):
    def draw(image: np.ndarray) -> None:
        cv2.rectangle(image, *BODY, SHIRT_COLOR, -1)
        share = np.clip((np.arange(190, PHOTO_SIZE) - 225) / 40, 0, 1)[:, None, None]
        if edge:
            share = np.round(share)
        light = np.array((1.0, 0.9, 0.8)) if edge else np.array((0.99, 0.85, 0.74))
        image[190:, 110:190] = (1 - share) * SKIN_COLOR + share * light

    labels, crop = labeled_crop(SKIN_COLOR, draw=draw, ending=PHOTO_SIZE)
    assert label_at(labels, crop, 150, 280) == label
    assert label_at(labels, crop, 150, 205) == SKIN
    assert label_at(labels, crop, 80, 280) == CLOTH


def test_a_shadow_beside_the_neck_is_not_cloth():
    """What is unlike skin and hair above the chin is connected to clothes below, or it is not cloth."""

    def draw(image: np.ndarray, end: int) -> None:
        cv2.rectangle(image, (60, 165), (101, end), (0.3, 0.32, 0.3), -1)

    free, crop = labeled_crop(NECK_COLOR, draw=lambda image: draw(image, 180), sides=True)
    worn, _ = labeled_crop(NECK_COLOR, draw=lambda image: draw(image, 215), sides=True)
    assert label_at(free, crop, 96, 172) != CLOTH
    assert label_at(worn, crop, 96, 172) == CLOTH


def test_brows_are_hair_under_a_fringe_alone():
    labels, crop = labeled_crop(WHITE_COLLAR)
    assert label_at(labels, crop, 112, 111) == SKIN
    labels, crop = labeled_crop(WHITE_COLLAR, fringe=True)
    assert label_at(labels, crop, 112, 111) == HAIR


def test_a_strand_across_the_cheek_is_separated_from_skin_and_a_wrinkle_is_not():
    def draw(image: np.ndarray) -> None:
        cv2.line(image, (178, 130), (174, 168), (0.6, 0.43, 0.33), 1)
        cv2.line(image, (130, 95), (170, 95), (0.6, 0.43, 0.33), 1)

    labels, crop = labeled_crop(WHITE_COLLAR, draw=draw)
    strand, wrinkle, skin = [(177, 140), (176, 150), (175, 160)], [(140, 95), (150, 95), (160, 95)], [(125, 150)]
    assert mask_at(labels.strands, crop, strand) == [True] * 3
    assert not any(mask_at(labels.strands, crop, wrinkle + skin))
    assert mask_at(labels.of(SKIN), crop, strand) == [True] * 3


@pytest.mark.parametrize("tinted", [True, False])
def test_glasses_are_worn_before_skin_and_are_not_hair(tinted):
    def draw(image: np.ndarray) -> None:
        for x in (127, 173):
            cv2.circle(image, (x, 122), 16, (0.06, 0.05, 0.05), -1 if tinted else 3)
        for start, end in ((99, 111), (143, 157), (189, 201)):
            cv2.line(image, (start, 121), (end, 121), (0.06, 0.05, 0.05), 3)

    labels, crop = labeled_crop(WHITE_COLLAR, draw=draw)
    frame = [(127, 138), (173, 138), (150, 121), (190, 121)]
    assert mask_at(labels.glasses, crop, frame) == [True] * 4
    assert mask_at(labels.glasses, crop, [(122, 128), (178, 128)]) == [tinted] * 2
    assert mask_at(labels.of(SKIN), crop, [*frame, (122, 128), (178, 128)]) == [True] * 6
    assert not labeled_crop(WHITE_COLLAR)[0].glasses.any()
