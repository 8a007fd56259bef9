"""Borders between materials where the photo does not show them, and statistics of the materials' detail.

Each part has a first material, skin or hair, and a second one over some of it: clothes on the bust, hair on the head.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree

from instax3d.geometry.smoothstep import smoothstep

from .noise import STRAND_BANDS
from .scene import BUST, HAIR_PART, HEAD, HeadScene

# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise.
_LEAST_SLOPE = 0.02
"""Least slope of the share of cloth across its border, per meter: flatter fields have no border there."""
_PATCHES = (96, 72, 48, 32, 20)
"""Sides of the patches from which cloth is synthesized, pixels, best first."""
_BOLDEST_CLOTH = 0.05
"""Largest standard deviation of made-up cloth."""
_HAIR_MARGIN = 6
"""Pixels at the outline of the hair that are not evaluated."""
_COHERENCE = (0.45, 0.75)
"""Coherence of curly and of straight hair."""
_SHORTEST = 3.0
"""How many times shorter than straight hair's the strands of curly hair are."""
_JOINT = 0.006
"""Largest distance of touching surfaces, meters."""
_HAIRLINE = 0.007
"""Distance over which hair thins out on the skin, meters."""


def hair_bands(
    photo: Float[ndarray, "s s 3"], hair: Bool[ndarray, "s s"], meters_per_pixel: float
) -> Float[ndarray, "3 3"]:
    """For each of `noise.STRAND_BANDS` the principal color of visible hair, as long as its standard deviation."""
    bands = np.zeros((3, 3))
    # not its outline
    inside = cv2.distanceTransform(hair.astype(np.uint8), cv2.DIST_L2, 5)
    hair = inside > min(float(_HAIR_MARGIN), 0.5 * float(inside.max()))
    if hair.sum() > 100:
        finer = photo
        for k, width in enumerate(STRAND_BANDS):
            coarser = cv2.GaussianBlur(photo, (0, 0), max(0.7 * width / meters_per_pixel, 0.6))
            values, directions = np.linalg.eigh(np.cov((finer - coarser)[hair].T))
            main = directions[:, 2] * np.sign(directions[:, 2].sum())
            bands[k] = main * np.sqrt(max(values[2], 0))
            finer = coarser
    return bands


def strand_shortness(photo: Float[ndarray, "s s 3"], hair: Bool[ndarray, "s s"]) -> float:
    """How many times shorter than straight hair's the strands are, by the coherence of the visible hair's structure
    tensor (Bigun and Granlund, 1987).
    """
    inside = cv2.distanceTransform(hair.astype(np.uint8), cv2.DIST_L2, 5) > _HAIR_MARGIN
    if inside.sum() < 500:
        return 1.0
    down, right = np.gradient(cv2.GaussianBlur(photo.mean(2), (0, 0), 1.5))
    one, two, energy = (
        cv2.GaussianBlur(part, (0, 0), 8)[inside] for part in (right**2 - down**2, 2 * right * down, right**2 + down**2)
    )
    coherence = float(np.hypot(one, two).sum() / max(float(energy.sum()), 1e-9))
    return float(np.interp(coherence, _COHERENCE, [_SHORTEST, 1.0]))


def cloth_patch(
    photo: Float[ndarray, "s s 3"], cloth: Bool[ndarray, "s s"], color: Float[ndarray, "3"]
) -> Float[ndarray, "a b 3"] | None:
    """Of the largest square patches of nothing but cloth the one most like ``color``; None if there is none."""
    whole = cv2.integral(cloth.astype(np.uint8))
    unlike = np.abs(photo - color).sum(2)
    for side in _PATCHES:
        corners = whole[side:, side:] - whole[:-side, side:] - whole[side:, :-side] + whole[:-side, :-side]
        full = corners == side * side
        if full.any():
            cost = cv2.integral(unlike.astype(np.float32))
            sums = cost[side:, side:] - cost[:-side, side:] - cost[side:, :-side] + cost[:-side, :-side]
            y, x = np.unravel_index(np.where(full, sums, np.inf).argmin(), full.shape)
            patch = photo[y : y + side, x : x + side]
            return np.asarray(patch.mean((0, 1)) + (patch - patch.mean((0, 1))) * min(1, _BOLDEST_CLOTH / patch.std()))
    return None


def border(
    vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"], share: Float[ndarray, "n"]
) -> Float[ndarray, "n"]:
    """Approximate distance to the line where a smooth share is one half, meters, positive where it is more."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal**2).sum(1, keepdims=True), 1e-16)
    gradient = sum(
        share[faces[:, k], None] * np.cross(normal, edge) / area for k, edge in enumerate((c - b, a - c, b - a))
    )
    slope = np.linalg.norm(gradient, axis=1)
    count = np.maximum(np.bincount(faces.ravel(), minlength=len(vertices)), 1)
    mean_slope = np.bincount(faces.ravel(), np.repeat(slope, 3), len(vertices)) / count
    return np.asarray((share - 0.5) / np.maximum(mean_slope, _LEAST_SLOPE))


def bridges(scene: HeadScene) -> Int[ndarray, "m 2"]:
    """Pairs of vertices of bust and head where the neck passes from one to the other."""
    head, bust = (np.flatnonzero(scene.part == part) for part in (HEAD, BUST))
    head = head[scene.vertices[head, 1] < scene.chin[1]]
    if not len(head):
        return np.zeros((0, 2), np.int64)
    distance, nearest = cKDTree(scene.vertices[head]).query(scene.vertices[bust], distance_upper_bound=_JOINT)
    joined = np.isfinite(distance)
    return np.stack([bust[joined], head[nearest[joined]]], 1)


def hairline(scene: HeadScene, exposed: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Nearness of each vertex to visible hair: 1 under it, 0 away from it. ``exposed``: ambient visibility."""
    hair = (scene.part == HAIR_PART) & (exposed > 0.15)
    near = np.zeros(len(scene.vertices))
    if hair.any():
        far = cKDTree(scene.vertices[hair]).query(scene.vertices, distance_upper_bound=_HAIRLINE, workers=-1)[0]
        near = np.clip(1 - far / _HAIRLINE, 0, 1)
    # hair that hangs lower lies before the neck, it does not grow there
    nape = scene.vertices[scene.skull, 1].min()
    return np.asarray(near * smoothstep(scene.vertices[:, 1] - nape, -0.02, 0.005))
