"""Colors of all surfaces: the photo where it sees them, its smooth continuation and its mirror image elsewhere.

Color = base (low frequencies, spread over the surface) + detail (the photo's, mirrored or made up).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import ndimage

from instax3d.geometry.ambient_occlusion import exposure
from instax3d.geometry.sample_image import sample
from instax3d.matting.masks import dilate, erode, over_landmarks, polygon_mask, touching
from instax3d.matting.square import WorkingSquare

from .clothes import dress, usual_cloth, without_arms
from .covers import BROWS, LIDS
from .diffusion import Spreader
from .evidence import Evidence
from .head import PhotoCamera
from .labels import CLOTH, HAIR, SKIN, Labels
from .light import shading
from .materials import bridges, cloth_patch, hair_bands, hairline, strand_shortness
from .scene import BUST, HAIR_PART, HEAD, Scene
from .volume import smoothstep

_DEPTH_TOLERANCE = 0.004
"""Meters by which a point may lie behind the seen surface and still count as seen."""
_SMOOTHNESS = 0.05
"""Of the spread colors; a prior of weight w reaches about sqrt(_SMOOTHNESS / w) edges far."""
_DETAIL = 9.0
"""Pixels of the blur that parts detail from the rest."""
_CONTINUED = (0.004, 0.008)
"""Distances from the person, meters, between which the photo's continued colors stop counting as seen."""
_FRINGE = 0.008
"""Width of the rim in which strands are not told from ground, meters."""
_GLIMPSED = 0.1
"""Least cosine at which the photo tells whether hair grows on the head."""
_SHADED = (0.005, 0.02)
"""Drops below the chin between which skin comes to lie in its shadow, meters."""
_END = 24
"""Pixels by which a strand may be longer than it was found to be."""
_CLOTH_BLUR = 3.0
"""Pixels over which the label of cloth is blurred, about half the distance of the bust's vertices."""
_LENT = 0.25
"""Weight of a mirrored color, that of a seen one being 1."""
WORN = 3
"""The channel of `Appearance.fits` beside the scene's parts."""
_DRESSED = 0.08
"""A person is dressed if at least this share of the body that the photo shows is cloth."""


@dataclass(frozen=True)
class Appearance:
    """All that shading needs, in the photo's working square and per vertex of the scene."""

    photo: Float[ndarray, "s s 3"]
    """The person's colors, continued beyond the outline so that no background is ever sampled."""
    detail: Float[ndarray, "s s 3"]
    """Its high frequencies."""
    depth: Float[ndarray, "s s"]
    """Depth of the scene in the photo, 0 where there is none."""
    usable: Float[ndarray, "s s"]
    """1 inside the photo, falling to 0 at its edges."""
    fits: Float[ndarray, "s s 4"]
    """For HEAD, BUST and HAIR_PART: 1 where the photo's label fits the part, 0 where something else covers it. WORN: 1
    where glasses are, which go with the head though they tell nothing about its skin."""
    base: Float[ndarray, "n 3"]
    """Low frequencies of the part's first material: skin or hair."""
    cover: Float[ndarray, "n 3"]
    """Those of the second: clothes on the bust, hair on the head."""
    border: Float[ndarray, "n"]
    """Bust: distance to the edge of the clothes in meters, positive on them. Head: nearness of the hair, 0 to 1."""
    hairy: Bool[ndarray, "n"]
    """Hair and what lies under it."""
    facing: Float[ndarray, "n"]
    """Cosine between normal and the direction to the photo's camera."""
    mirror_facing: Float[ndarray, "n"]
    """That of the mirrored vertex where the photo sees it, else -1."""
    mirror_weight: Float[ndarray, "n"]
    mirror_share: Float[ndarray, "n"]
    """Which share of an unseen place's color is its mirror image's."""
    mirror_at: Float[ndarray, "n 2"]
    """Where the photo sees the mirrored vertex."""
    hair_bands: Float[ndarray, "3 3"]
    """Color of a standard deviation of each layer of `noise.Noise.strands`."""
    shortness: float
    """How many times shorter than usual the strands' waves are: hair may be curly."""
    cloth: Float[ndarray, "a b 3"] | None
    """What cloth looks like, where that is known."""
    pixel: float
    """Size of the working square's pixels on the person, meters."""
    grain: Float[ndarray, "n"]
    """Size of the fine variation of skin and plain cloth; 0 on hair."""


def person_colors(
    square: WorkingSquare, alpha: Float[ndarray, "s s"]
) -> tuple[Float[ndarray, "s s 3"], Bool[ndarray, "s s"]]:
    """Foreground colors everywhere: beyond the eroded cut-out the nearest ones, softened; and the eroded cut-out."""
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


def _near(core: Bool[ndarray, "s s"], meters_per_pixel: float) -> Float[ndarray, "s s"]:
    """1 on the person and a little beyond, where the shape may reach by mistake, 0 where colors are but continued."""
    beyond = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(1 - smoothstep(beyond * meters_per_pixel, *_CONTINUED), np.float32)


def _fringe(
    labels: Labels, core: Bool[ndarray, "s s"], ears: Bool[ndarray, "s s"], meters_per_pixel: float
) -> Bool[ndarray, "s s"]:
    """Strands along the person's outline, not at ears, and what shines through between them, which may be ground."""
    pixels = round(_FRINGE / meters_per_pixel)
    rim = ~erode(core, pixels) & ~labels.of(HAIR)
    return dilate(labels.strands & rim, pixels) & rim & ~dilate(ears, pixels)


def _lengthened(labels: Labels, marks: Float[ndarray, "68 2"]) -> Bool[ndarray, "s s"]:
    """Strands with their faint ends, which hang on up and down; not over eyes and brows."""
    longer = cv2.dilate(labels.strands.astype(np.uint8), np.ones((2 * _END + 1, 1), np.uint8)) > 0
    return labels.strands | longer & labels.of(SKIN) & ~over_landmarks(marks, (*LIDS, *BROWS), len(longer), 5)


def better_mirrored(facing: Float[ndarray, "*n"], mirrored: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """How far the mirror image is to be preferred to what grazes the surface, by the cosines of both."""
    return np.asarray(smoothstep(mirrored - facing, 0.2, 0.45) * (1 - smoothstep(facing, 0.45, 0.75)))


def paint(
    scene: Scene, camera: PhotoCamera, square: WorkingSquare, alpha: Float[ndarray, "s s"], labels: Labels
) -> Appearance:
    """Find the colors."""
    photo, core = person_colors(square, alpha)
    raster = camera.rasterize(scene.vertices, scene.faces)
    depth = np.where(raster.mask, raster.depth, 0).astype(np.float32)
    pixel = float(camera.project(scene.chin[None])[0, 2] / camera.K[0, 0])
    ears = raster.mask & scene.ears[scene.faces[raster.face]].any(-1)
    usable = edge_fade(square.valid, 8) * _near(core, pixel) * (1 - _soft(_fringe(labels, core, ears, pixel)))
    labels = replace(labels, strands=_lengthened(labels, square.landmarks))
    detail = photo - _coarse(photo, labels)
    blurred = cv2.GaussianBlur(photo, (0, 0), 2)

    at = camera.project(scene.vertices)
    well_inside = erode(core, 2).astype(np.float32)
    foremost = at[:, 2] < sample(depth, at) + _DEPTH_TOLERANCE
    seen = foremost & (sample(well_inside, at) > 0.95)
    # what grazes an ear is mostly something else
    facing = camera.facing(scene.vertices, scene.normals) - 0.1 * scene.ears
    fits = _fits(square, labels)
    fitting = sample(fits, at)[np.arange(len(at)), scene.part]
    hairy = (scene.part == HAIR_PART) | (scene.skull & (not labels.bald))
    shown = foremost & (facing > _GLIMPSED)
    bare = scene.skull & shown & (sample(labels.of(SKIN).astype(np.float32), at) > 0.5)
    hairy &= ~(bare | bare[scene.mirror] & ~shown)
    fitting = np.where(hairy & (scene.part == HEAD), 1.0, fitting)
    own = seen * smoothstep(facing, 0.3, 0.7) * fitting
    own[scene.part == HEAD] *= 1 - sample(fits[..., WORN], at[scene.part == HEAD])
    dressed = _dressed(square, labels, core)
    clothed, person = (
        cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _CLOTH_BLUR) for mask in (labels.of(CLOTH), labels.part > 0)
    )
    cloth = dressed * sample(clothed / np.maximum(person, 0.05), at)
    paired = scene.has_mirror * (scene.part == scene.part[scene.mirror])
    # the head's shadow on neck and shoulders has no like on the other side
    shaded = (scene.part == HEAD) * smoothstep(scene.chin[1] - scene.vertices[:, 1], *_SHADED) + (scene.part == BUST)
    mirror_weight = own[scene.mirror] * paired * (1 - shaded * (1 - cloth[scene.mirror]))
    mirror_facing = np.where(mirror_weight > 0, facing[scene.mirror], -1.0)
    weight = own * (1 - better_mirrored(facing, mirror_facing) * mirror_weight)
    color = sample(blurred, at).astype(np.float64)

    exposed = exposure(scene.vertices, scene.faces, scene.normals)
    light = shading(scene, exposed, facing, color, weight)
    evidence = Evidence(light.taken_off(color), weight, mirror_weight, facing, cloth)
    complexion, hair = _complexion(scene, evidence), _mean_hair(scene, evidence)
    usual = usual_cloth(scene, evidence) if dressed else None
    if usual is not None and complexion is not None:
        evidence = replace(evidence, cloth=without_arms(scene, evidence, complexion, usual))
    base, mirror_share = _base(scene, hairy, evidence, complexion, hair)
    cover = base.copy() if hair is None else np.broadcast_to(hair, base.shape).copy()
    edge, patch = hairline(scene, exposed), None
    bust = scene.part == BUST
    edge[bust] = -1.0
    if usual is not None:
        clothes = dress(scene, evidence, complexion, usual)
        cover[bust], edge[bust] = clothes.albedo, clothes.border
        patch = cloth_patch(photo, labels.of(CLOTH) & core, usual)

    skin = labels.of(SKIN) & core
    skin_grain = 0.5 * min(0.012, float(detail[skin].std())) if skin.any() else 0.003
    return Appearance(
        photo=photo,
        detail=detail.astype(np.float32),
        depth=depth,
        usable=usable,
        fits=fits,
        base=np.clip(light.on(base), 0, 1),
        cover=np.clip(light.on(cover), 0, 1),
        border=edge,
        hairy=hairy,
        facing=facing,
        mirror_facing=mirror_facing,
        mirror_weight=mirror_weight,
        mirror_share=mirror_share,
        mirror_at=at[scene.mirror, :2],
        hair_bands=hair_bands(photo, labels.of(HAIR) & core, pixel),
        shortness=strand_shortness(photo, labels.of(HAIR) & core),
        cloth=patch,
        pixel=pixel,
        grain=np.where(hairy, 0.0, skin_grain),
    )


def _coarse(photo: Float[ndarray, "s s 3"], labels: Labels) -> Float[ndarray, "s s 3"]:
    """The photo without its detail; hair, skin and cloth do not run into each other."""
    coarse = np.zeros_like(photo)
    outside = labels.of(0)
    covers = labels.strands | labels.glasses
    for label in (SKIN, HAIR, CLOTH):
        inside = labels.of(label)
        weight = ((inside | outside) & ~covers).astype(np.float32)
        blurred = cv2.GaussianBlur(photo * weight[..., None], (0, 0), _DETAIL)
        blurred /= np.maximum(cv2.GaussianBlur(weight, (0, 0), _DETAIL), 1e-3)[..., None]
        coarse[inside] = blurred[inside]
    coarse[outside] = cv2.GaussianBlur(photo, (0, 0), _DETAIL)[outside]
    return coarse


def _fits(square: WorkingSquare, labels: Labels) -> Float[ndarray, "s s 4"]:
    """How far the photo's label agrees with each part: hair must not color skin or clothes, nor they the hair."""
    hair = labels.of(HAIR).astype(np.float32)
    beside_hair = cv2.GaussianBlur(cv2.dilate(hair, np.ones((9, 9))), (0, 0), 2)
    on_hair = cv2.GaussianBlur(hair, (0, 0), 1.5)
    on_cloth = cv2.GaussianBlur(labels.of(CLOTH).astype(np.float32), (0, 0), 1.5)
    # the hull without the sides of the jaw, which hair may cover
    inner = np.concatenate([square.landmarks[17:], square.landmarks[6:11]])
    face = erode(polygon_mask(inner, square.crop.size), 2)
    bare = 1 - smoothstep(beside_hair, 0.2, 0.6)
    fits = np.empty((*hair.shape, 4), np.float32)
    fits[..., WORN] = _soft(labels.glasses)
    fits[..., HEAD] = bare * np.where(face, 1.0, 1 - smoothstep(on_cloth, 0.2, 0.6)) * (1 - _soft(labels.strands))
    fits[..., BUST] = 1 - smoothstep(beside_hair, 0.1, 0.5)
    if labels.occluded.any():  # bare skin apart from the neck belongs to the arm whose hand hides the face
        arm = labels.of(SKIN) & ~touching(labels.of(SKIN) & ~labels.occluded, face)
        # the other arm shows what it wears
        beyond = np.arange(arm.shape[1]) - square.landmarks[8, 0]
        arm &= beyond * (labels.occluded * beyond).sum() > 0
        fits[..., BUST] *= 1 - cv2.GaussianBlur(cv2.dilate(arm.astype(np.float32), np.ones((15, 15))), (0, 0), 3)
    fits[..., HAIR_PART] = smoothstep(on_hair, 0.3, 0.7)
    return fits


def _soft(mask: Bool[ndarray, "s s"]) -> Float[ndarray, "s s"]:
    """1 where a mask is and a pixel beyond, with a soft edge."""
    return cv2.GaussianBlur(cv2.dilate(mask.astype(np.float32), np.ones((3, 3))), (0, 0), 1.0)


def _dressed(square: WorkingSquare, labels: Labels, core: Bool[ndarray, "s s"]) -> bool:
    """Whether the photo shows clothes rather than specks that were taken for them."""
    clothes, body = labels.of(CLOTH) & core, (labels.of(SKIN) | labels.of(CLOTH)) & core
    body &= np.arange(len(core))[:, None] > square.landmarks[8, 1]
    return bool(clothes.sum() > max(_DRESSED * body.sum(), 300))


def _complexion(scene: Scene, evidence: Evidence) -> Float[ndarray, "3"] | None:
    """Albedo of the face without highlights and shadows."""
    skin = scene.plain_skin & (evidence.weight > 0.5) & (scene.vertices[:, 1] > scene.chin[1])
    if skin.sum() <= 100:
        return None
    tone = evidence.albedo[skin].mean(1)
    low, high = np.percentile(tone, [25, 65])
    return np.asarray(np.median(evidence.albedo[skin][(tone >= low) & (tone <= high)], 0))


def _mean_hair(scene: Scene, evidence: Evidence) -> Float[ndarray, "3"] | None:
    """Mean albedo of the hair that is seen, if any."""
    weight = evidence.weight * (scene.part == HAIR_PART)
    return np.asarray((weight[:, None] * evidence.albedo).sum(0) / weight.sum()) if weight.sum() > 5 else None


def _base(
    scene: Scene,
    hairy: Bool[ndarray, "n"],
    evidence: Evidence,
    complexion: Float[ndarray, "3"] | None,
    hair: Float[ndarray, "3"] | None,
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n"]]:
    """Albedo of skin and hair everywhere, and which share of an unseen one is the mirror's.

    Seen colors, mirrored ones matched to them, and weak priors for what nothing tells about, spread smoothly.
    """
    weight, mirror_weight, bust = evidence.weight, evidence.mirror_weight, scene.part == BUST
    bare = np.where(bust, 1 - evidence.cloth, 1)
    albedo, prior = evidence.albedo.copy(), np.zeros(len(weight))
    for color, which, how_sure in ((complexion, ~hairy, 0.0004), (hair, hairy, 0.004)):
        if color is not None:
            unseen = which & (weight * bare < 0.1)
            albedo[unseen], prior[unseen] = color, how_sure
    spreader = Spreader(scene.vertices, scene.faces, scene.part.astype(np.int64), bridges(scene))
    mirrored = evidence.albedo[scene.mirror]
    both = weight * mirror_weight * bare * bare[scene.mirror]
    if both.sum() > 20:  # the other side is lit differently: learn by how much where both are seen
        mirrored = np.clip(mirrored + spreader.spread(evidence.albedo - mirrored, both, 0.3), 0, 2)
    known = weight * bare + prior
    lent = _LENT * mirror_weight * (1 - weight) * bare[scene.mirror]
    total = known + lent
    values = (known[:, None] * albedo + lent[:, None] * mirrored) / np.maximum(total, 1e-6)[:, None]
    return spreader.spread(values, total, _SMOOTHNESS), lent / (total + 0.02)
