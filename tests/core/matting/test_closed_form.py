"""Soft mattes and foreground colors on made-up pictures, of which all is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instax3d.matting.closed_form import foreground_colors, matte

SIDE = 96


def hairy_disc(seed: int = 0) -> np.ndarray:
    """A disc with strands a pixel or two wide around it."""
    alpha = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(alpha, (48, 48), 24, 1.0, -1, cv2.LINE_AA)
    random = np.random.default_rng(seed)
    for angle in random.uniform(0, 2 * np.pi, 12):
        tip = 48 + 31 * np.array([np.cos(angle), np.sin(angle)])
        root = 48 + 20 * np.array([np.cos(angle + 0.1), np.sin(angle + 0.1)])
        ends = [tuple(int(v) for v in (p * 16).round()) for p in (root, tip)]
        cv2.line(alpha, *ends, 1.0, 1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(alpha, (0, 0), 0.6)


def shaded(color: tuple[float, float, float], slope: float) -> np.ndarray:
    """A color that gets lighter across the picture."""
    ramp = 1 + slope * np.linspace(-1, 1, SIDE, dtype=np.float32)
    return np.float32(color) * ramp[None, :, None] * np.ones((SIDE, 1, 1), np.float32)


def composed(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    front, back = shaded((0.3, 0.2, 0.1), 0.2), shaded((0.5, 0.6, 0.8), -0.2)
    return alpha[..., None] * front + (1 - alpha[..., None]) * back, front, back


def known_disc(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The opacity where it is certain, and where it is not."""
    y, x = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot(x - 48, y - 48)
    unknown = (radius > 18) & (radius < 36)
    return np.where(unknown, (radius < 24).astype(np.float32), alpha).astype(np.float32), unknown


@given(st.integers(0, 100))
@settings(deadline=None, max_examples=10)
def test_hairs_are_found_that_the_guess_does_not_hold(seed: int):
    alpha = hairy_disc(seed)
    image, _, _ = composed(alpha)
    guess, unknown = known_disc(alpha)
    found = matte(image, guess, unknown, 0.001)
    assert np.abs(found - alpha).mean() < 0.3 * np.abs(guess - alpha).mean()
    assert np.abs(found - alpha)[unknown].mean() < 0.02
    assert np.array_equal(found[~unknown], guess[~unknown])
    assert found.min() >= 0
    assert found.max() <= 1


def test_where_the_colors_tell_nothing_the_outline_stays():
    guess, unknown = known_disc(np.clip(25 - np.hypot(*(np.mgrid[:SIDE, :SIDE] - 48.0)), 0, 1).astype(np.float32))
    gray = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    assert ((matte(gray, guess, unknown, 0.02) > 0.5) != (guess > 0.5)).mean() < 0.02


def test_nothing_unknown_changes_nothing():
    alpha = hairy_disc()
    image, _, _ = composed(alpha)
    assert np.array_equal(matte(image, alpha, np.zeros((SIDE, SIDE), bool), 0.01), alpha)


def test_soft_pixels_give_back_the_color_in_front():
    alpha = hairy_disc()
    image, front, _ = composed(alpha)
    found = foreground_colors(image, alpha)
    soft = (alpha > 0.15) & (alpha < 0.95)
    assert np.abs(found - front)[soft].mean() < 0.03
    assert np.abs(image - front)[soft].mean() > 0.1  # what is in the picture is not it
    assert np.abs(found - image)[alpha > 0.999].max() < 0.01


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_colors_of_a_flat_matte_are_finite(level: float):
    image, _, _ = composed(hairy_disc())
    found = foreground_colors(image, np.full((SIDE, SIDE), level, np.float32))
    assert np.isfinite(found).all()
