"""Colours of all surfaces: the photo where it sees them, its smooth continuation and its mirror image elsewhere.

Colour = base (low frequencies, spread over the surface) + detail (the photo's, mirrored or made up).
"""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import ndimage

from .diffusion import Spreader
from .framing import WorkingSquare
from .head import PhotoCamera, sample
from .labels import CLOTH, HAIR, SKIN, Labels
from .light import exposure, shading
from .matting import erode, polygon_mask
from .scene import BUST, HAIR_PART, HEAD, Scene
from .volume import smoothstep

_DEPTH_TOLERANCE = 0.004
"""Metres by which a point may lie behind the seen surface and still count as seen."""


@dataclass(frozen=True)
class Appearance:
    """All that shading needs, in the photo's working square and per vertex of the scene."""

    photo: Float[ndarray, "s s 3"]
    """The person's colours, continued beyond the outline so that no background is ever sampled."""
    detail: Float[ndarray, "s s 3"]
    """Its high frequencies."""
    depth: Float[ndarray, "s s"]
    """Depth of the scene in the photo, 0 where there is none."""
    usable: Float[ndarray, "s s"]
    """1 inside the photo, falling to 0 at its edges."""
    base: Float[ndarray, "n 3"]
    facing: Float[ndarray, "n"]
    """Cosine between normal and the direction to the photo's camera."""
    compatible: Float[ndarray, "n"]
    """1 where the photo's label fits the part, 0 where something else covers it."""
    mirror_weight: Float[ndarray, "n"]
    mirror_at: Float[ndarray, "n 2"]
    """Where the photo sees the mirrored vertex."""
    hair_spread: Float[ndarray, "3"]
    """Colour direction and size of the hair's own variation."""
    grain: Float[ndarray, "n"]
    """Size of the fine variation of skin and cloth; 0 on hair."""


def person_colours(
    square: WorkingSquare, alpha: Float[ndarray, "s s"]
) -> tuple[Float[ndarray, "s s 3"], Bool[ndarray, "s s"]]:
    """Foreground colours everywhere: beyond the eroded cut-out the nearest ones, softened; and the eroded cut-out."""
    core = erode(alpha > 0.97, 2) & erode(square.valid, 2)
    nearest, distance = ndimage.distance_transform_edt(~core, return_indices=True)[::-1]
    filled = square.rgb[nearest[0], nearest[1]]
    soft = cv2.GaussianBlur(filled, (0, 0), 3)
    share = np.clip(distance / 8, 0, 1)[..., None]
    return (filled * (1 - share) + soft * share).astype(np.float32), core


def edge_fade(valid: Bool[ndarray, "s s"], pixels: float) -> Float[ndarray, "s s"]:
    """0 outside the photo and at its edges, 1 from ``pixels`` inside; the crop's own border is no edge."""
    framed = np.pad(valid.astype(np.uint8), 1, mode="edge")
    distance = (
        cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1] if not valid.all() else np.full(valid.shape, 1e3)
    )
    return np.clip((distance - 1.5) / pixels, 0, 1).astype(np.float32)


def paint(
    scene: Scene, camera: PhotoCamera, square: WorkingSquare, alpha: Float[ndarray, "s s"], labels: Labels
) -> Appearance:
    """Find the colours."""
    photo, core = person_colours(square, alpha)
    detail = photo - cv2.GaussianBlur(photo, (0, 0), 9)
    blurred = cv2.GaussianBlur(photo, (0, 0), 2)
    raster = camera.rasterise(scene.vertices, scene.faces)
    depth = np.where(raster.mask, raster.depth, 0).astype(np.float32)

    at = camera.project(scene.vertices)
    well_inside = erode(core, 2).astype(np.float32)
    seen = (at[:, 2] < sample(depth, at) + _DEPTH_TOLERANCE) & (sample(well_inside, at) > 0.95)
    facing = camera.facing(scene.vertices, scene.normals)
    compatible = _compatible(scene, square, labels, at, facing)
    weight = seen * smoothstep(facing, 0.25, 0.6) * compatible
    colour = sample(blurred, at).astype(np.float64)

    light = shading(scene, exposure(scene), facing, colour, weight)
    albedo = colour / light[:, None]
    base = _spread_albedo(scene, square, labels, core, blurred, albedo, weight, facing) * light[:, None]

    hair = labels.of(HAIR) & core
    spread = np.zeros(3)
    if hair.sum() > 100:
        values, directions = np.linalg.eigh(np.cov(detail[hair].T))
        spread = 0.75 * directions[:, 2] * np.sign(directions[:, 2].sum()) * np.sqrt(values[2])
    skin, cloth = labels.of(SKIN) & core, labels.of(CLOTH) & core
    skin_grain = 0.5 * min(0.012, float(detail[skin].std())) if skin.any() else 0.003
    cloth_grain = min(0.012, 0.5 * float(detail[cloth].std())) if cloth.sum() > 200 else skin_grain
    mirror_weight = weight[scene.mirror] * scene.has_mirror * (scene.part == scene.part[scene.mirror])
    return Appearance(
        photo=photo,
        detail=detail.astype(np.float32),
        depth=depth,
        usable=edge_fade(square.valid, 8),
        base=np.clip(base, 0, 1),
        facing=facing,
        compatible=compatible,
        mirror_weight=mirror_weight,
        mirror_at=at[scene.mirror, :2],
        hair_spread=spread,
        grain=np.select(
            [scene.part == HAIR_PART, scene.part == BUST],
            [
                0.0,
                skin_grain + (cloth_grain - skin_grain) * smoothstep(scene.chin[1] - scene.vertices[:, 1], 0.04, 0.08),
            ],
            skin_grain,
        ),
    )


def _compatible(
    scene: Scene, square: WorkingSquare, labels: Labels, at: Float[ndarray, "n 3"], facing: Float[ndarray, "n"]
) -> Float[ndarray, "n"]:
    """How far the photo's label agrees with the part: hair must not colour skin or clothes, nor the other way round."""
    hair = labels.of(HAIR).astype(np.float32)
    near_hair = cv2.GaussianBlur(cv2.dilate(hair, np.ones((9, 9))), (0, 0), 2)
    soft_hair = cv2.GaussianBlur(hair, (0, 0), 1.5)
    cloth = cv2.GaussianBlur(labels.of(CLOTH).astype(np.float32), (0, 0), 1.5)
    # the hull without the sides of the jaw, which hair may cover
    inner = np.concatenate([square.landmarks[17:], square.landmarks[6:11]])
    face = erode(polygon_mask(inner, square.crop.size), 2).astype(np.float32)
    on_hair, beside_hair, on_cloth = (sample(image, at) for image in (soft_hair, near_hair, cloth))
    skin = (1 - smoothstep(beside_hair, 0.2, 0.6)) * (1 - smoothstep(on_cloth, 0.2, 0.6))
    skin *= np.where(scene.ears, smoothstep(facing, 0.25, 0.5), 1)  # what grazes an ear is mostly something else
    head = np.where(scene.skull | (sample(face, at) > 0.5), 1.0, skin)
    choice = {HEAD: head, BUST: 1 - smoothstep(beside_hair, 0.1, 0.5), HAIR_PART: smoothstep(on_hair, 0.3, 0.7)}
    return np.select([scene.part == part for part in choice], list(choice.values()))


def _spread_albedo(
    scene: Scene,
    square: WorkingSquare,
    labels: Labels,
    core: Bool[ndarray, "s s"],
    blurred: Float[ndarray, "s s 3"],
    albedo: Float[ndarray, "n 3"],
    weight: Float[ndarray, "n"],
    facing: Float[ndarray, "n"],
) -> Float[ndarray, "n 3"]:
    """Seen colours, mirrored ones matched to them, and priors for what nothing tells about, spread smoothly."""
    spreader = Spreader(scene.vertices, scene.faces, scene.part.astype(np.int64))
    albedo, prior = albedo.copy(), np.zeros(len(weight))
    chin_row = square.landmarks[8, 1]
    y = np.arange(len(core))[:, None]
    drop = scene.chin[1] - scene.vertices[:, 1]
    unseen_bust = (scene.part == BUST) & (weight < 0.1)

    around_neck = np.hypot(*(scene.vertices - scene.neck)[:, [0, 2]].T) < 0.08
    skin = scene.plain_skin & (weight > 0.5) & (drop < 0)
    if skin.sum() > 100:
        # neither highlights nor shadows: the sides and the back get less of the light that falls on the face
        tone = albedo[skin].mean(1)
        low, high = np.percentile(tone, [20, 50])
        complexion = np.median(albedo[skin][(tone >= low) & (tone <= high)], 0)
        unseen_head = (scene.part == HEAD) & (weight < 0.1)
        albedo[unseen_head], prior[unseen_head] = complexion, 0.01
        neck = unseen_bust & (drop < 0.035) & around_neck
        albedo[neck], prior[neck] = complexion, 0.1
    hair = cv2.dilate(labels.of(HAIR).astype(np.uint8), np.ones((15, 15))) > 0
    body = core & (y > chin_row) & (labels.of(SKIN) | labels.of(CLOTH)) & ~hair
    if body.sum() > 100:
        lowest = np.flatnonzero(body.any(1)).max()
        lower = body & (y > 0.7 * lowest + 0.3 * chin_row)
        clothes = body & labels.of(CLOTH)
        dressed = clothes.sum() > 0.15 * body.sum()
        covered = unseen_bust & ((drop > 0.06) | (drop > 0.02) & ~around_neck)
        albedo[covered] = np.median(
            blurred[(clothes & lower if (clothes & lower).any() else clothes) if dressed else lower], 0
        )
        # in front, below the photo, what it last showed goes on
        prior[covered] = np.where(facing[covered] > 0, 0.004, 0.03)
    hair_vertices = scene.part == HAIR_PART
    if (weight * hair_vertices).sum() > 5:
        mean = (weight[hair_vertices, None] * albedo[hair_vertices]).sum(0) / weight[hair_vertices].sum()
        unseen_hair = hair_vertices & (weight < 0.1)
        albedo[unseen_hair], prior[unseen_hair] = mean, 0.05

    known = weight + prior
    mirrored = albedo[scene.mirror]
    mirror_weight = weight[scene.mirror] * scene.has_mirror * (scene.part == scene.part[scene.mirror])
    both = weight * mirror_weight
    if both.sum() > 20:  # the other side is lit differently: learn by how much where both are seen
        mirrored = mirrored + spreader.spread(albedo - mirrored, both, 0.3)
    lent = 0.25 * mirror_weight * (1 - weight)
    total = known + lent
    values = (known[:, None] * albedo + lent[:, None] * np.clip(mirrored, 0, 2)) / np.maximum(total, 1e-6)[:, None]
    return spreader.spread(values, total, 0.05)
