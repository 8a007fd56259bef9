"""Procedural skin: solid noise and what skin and brows look like, evaluated at surface points in meters."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def waves(
    points: Float[ndarray, "n 3"], wavelength: float, seed: int | np.integer, count: int = 48
) -> Float[ndarray, "n"]:
    """Solid noise of unit variance with one wavelength (same units as the points): a sum of plane waves."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(3, count))
    directions *= 2 * np.pi / wavelength / np.linalg.norm(directions, axis=0) * rng.uniform(0.8, 1.25, count)
    phases = points.astype(np.float32) @ directions.astype(np.float32) + rng.uniform(0, 2 * np.pi, count).astype("f4")
    return np.asarray(np.cos(phases).sum(1) * np.float32((2 / count) ** 0.5))


def skin_colors(
    points: Float[ndarray, "n 3"],
    tone: Float[ndarray, "3"],
    seeds: Int[ndarray, "4"],
    *,
    freckles: float = 0.45,
    pores: float = 1.0,
) -> Float[ndarray, "n 3"]:
    """Skin of one tone with pores, freckles (both may be paler or darker) and redder patches; takes four seeds."""
    first, second, third, fourth = seeds
    grain = 1 + pores * (0.10 * waves(points, 0.0045, first) + 0.06 * waves(points, 0.012, second))
    spots = np.clip(waves(points, 0.009, third) - 1.3, 0, 1)
    flush = 1 + 0.03 * waves(points, 0.05, fourth)[:, None] * np.array([0.5, -1.0, -1.0], np.float32)
    return np.asarray(tone * (grain - freckles * spots)[:, None] * flush)


def brow_points(landmarks: Float[ndarray, "68 3"]) -> Float[ndarray, "brow 3"]:
    """Points along both brows."""
    spots = np.linspace(0, 1, 6)[:, None]
    pairs = [(landmarks[k], landmarks[k + 1]) for k in (*range(17, 21), *range(22, 26))]
    return np.concatenate([a + spots * (b - a) for a, b in pairs]).astype(np.float32)


def near(points: Float[ndarray, "n 3"], marks: Float[ndarray, "m 3"], width: float) -> Float[ndarray, "n"]:
    """One at the marks, falling off as a Gaussian of their distance over ``width``."""
    return np.asarray(np.exp(-((np.linalg.norm(points[:, None] - marks, axis=2).min(1) / width) ** 2)))
