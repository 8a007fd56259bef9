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
from instax3d.geometry.landmarks68 import CHIN
from instax3d.geometry.sample_image import sample
from instax3d.geometry.smoothstep import smoothstep
from instax3d.matting.head_crop import HeadCrop
from instax3d.matting.masks import dilate, erode, inner_face, over_landmarks, touching

from .clothes import color_clothes, dominant_cloth, without_arms
from .head import DEPTH_TOLERANCE, PhotoCamera
from .interpolation import COLOR_SMOOTHNESS, LaplacianInterpolator
from .labels import CLOTH, HAIR, SKIN, Labels
from .light import estimate_light
from .materials import bridges, cloth_patch, hair_bands, hairline, strand_shortness
from .observations import UNSEEN, VertexObservations
from .occluders import EACH_BROW, LIDS
from .scene import BUST, HAIR_PART, HEAD, HeadScene

# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise.
MIRROR_GAIN, MIRROR_GRAZED = (0.2, 0.45), (0.45, 0.75)
"""The mirror image is preferred as its cosine exceeds the photo's by the first and the photo's is below the second."""
_DETAIL = 9.0
"""Pixels of the blur that separates detail from the rest."""
_CONTINUED = (0.004, 0.008)
"""Distances from the person, meters, between which the photo's continued colors stop counting as seen."""
_FRINGE = 0.008
"""Width of the rim in which strands are not distinguished from background, meters."""
_GLIMPSED = 0.1
"""Least cosine at which the photo shows whether hair grows on the head."""
_SHADED = (0.005, 0.02)
"""Drops below the chin between which skin comes to lie in its shadow, meters."""
_END = 24
"""Pixels by which a strand may be longer at each end than detected."""
_CLOTH_BLUR = 3.0
"""Pixels over which the label of cloth is blurred, about half the distance of the bust's vertices."""
_MIRROR_WEIGHT = 0.25
"""Weight of a mirrored color; a seen one has 1."""
WORN = 3
"""The channel of `Appearance.fits` beside the scene's parts."""
_DRESSED = 0.08
"""A person is dressed if at least this share of the body that the photo shows is cloth."""


@dataclass(frozen=True, eq=False)
class Appearance:
    """All that shading needs, in pixels of the head crop and per vertex of the scene."""

    photo: Float[ndarray, "s s 3"]
    """The person's colors, continued beyond the outline so that no background is ever sampled."""
    detail: Float[ndarray, "s s 3"]
    """Its high frequencies."""
    depth: Float[ndarray, "s s"]
    """Depth of the scene in the photo, 0 where there is none."""
    usable: Float[ndarray, "s s"]
    """1 inside the photo, falling to 0 at its edges."""
    fits: Float[ndarray, "s s 4"]
    """For HEAD, BUST and HAIR_PART: 1 where the photo's label fits the part, 0 where something else hides it. WORN: 1
    where glasses are, which belong to the head though they say nothing about its skin."""
    base: Float[ndarray, "n 3"]
    """Low frequencies of the part's first material: skin or hair."""
    overlay: Float[ndarray, "n 3"]
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
    meters_per_pixel: float
    """Size of the head crop's pixels on the person."""
    grain: Float[ndarray, "n"]
    """Size of the fine variation of skin and plain cloth; 0 on hair."""


def person_colors(
    head_crop: HeadCrop, alpha: Float[ndarray, "s s"]
) -> tuple[Float[ndarray, "s s 3"], Bool[ndarray, "s s"]]:
    """Foreground colors everywhere: beyond the eroded cut-out the nearest ones, softened; and the eroded cut-out."""
    core = erode(alpha > 0.97, 2) & erode(head_crop.valid, 2)
    nearest, distance = ndimage.distance_transform_edt(~core, return_indices=True)[::-1]
    filled = head_crop.rgb[nearest[0], nearest[1]]
    soft = cv2.GaussianBlur(filled, (0, 0), 3)
    share = np.clip(distance / 8, 0, 1)[..., None]
    return (filled * (1 - share) + soft * share).astype(np.float32), core


def edge_fade(valid: Bool[ndarray, "s s"], pixels: float) -> Float[ndarray, "s s"]:
    """0 outside the photo and at its edges, 1 from ``pixels`` inside; the crop's own border does not count."""
    framed = np.pad(valid.astype(np.uint8), 1, mode="edge")
    distance = (
        cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1] if not valid.all() else np.full(valid.shape, 1e3)
    )
    return np.asarray(np.clip((distance - 1.5) / pixels, 0, 1), np.float32)


def _near(core: Bool[ndarray, "s s"], meters_per_pixel: float) -> Float[ndarray, "s s"]:
    """1 on the person and a little beyond, where the shape may reach by mistake, 0 where colors are only continued."""
    beyond = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(1 - smoothstep(beyond * meters_per_pixel, *_CONTINUED), np.float32)


def _fringe(
    labels: Labels, core: Bool[ndarray, "s s"], ears: Bool[ndarray, "s s"], meters_per_pixel: float
) -> Bool[ndarray, "s s"]:
    """Strands along the outline but for ears, and what shines through between them, which may be background."""
    pixels = round(_FRINGE / meters_per_pixel)
    rim = ~erode(core, pixels) & ~labels.of(HAIR)
    return np.asarray(dilate(labels.strands & rim, pixels) & rim & ~dilate(ears, pixels))


def _lengthened(labels: Labels, landmarks: Float[ndarray, "68 2"]) -> Bool[ndarray, "s s"]:
    """Strands with their faint ends, continued up and down, but not over eyes and brows."""
    longer = cv2.dilate(labels.strands.astype(np.uint8), np.ones((2 * _END + 1, 1), np.uint8)) > 0
    features = over_landmarks(landmarks, (*LIDS, *EACH_BROW), len(longer), 5)
    return np.asarray(labels.strands | longer & labels.of(SKIN) & ~features)


def mirror_preference(facing: Float[ndarray, "*n"], mirrored: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """How far the mirror image is preferred to what the photo sees at a grazing angle, 0 to 1, by both cosines."""
    return np.asarray(smoothstep(mirrored - facing, *MIRROR_GAIN) * (1 - smoothstep(facing, *MIRROR_GRAZED)))


@dataclass(frozen=True, eq=False)
class _Projection:
    """The scene's vertices in the photo."""

    at: Float[ndarray, "n 3"]
    """Pixel x, pixel y and depth."""
    facing: Float[ndarray, "n"]
    """Cosine between normal and the direction to the photo's camera; less on ears."""
    hairy: Bool[ndarray, "n"]
    """Hair and what lies under it."""
    weight: Float[ndarray, "n"]
    """How well the photo shows the vertex's own material, 0 to 1."""


@dataclass(frozen=True, eq=False)
class _SurfaceColors:
    """Albedo of the two materials of each part, and where they meet."""

    base: Float[ndarray, "n 3"]
    overlay: Float[ndarray, "n 3"]
    border: Float[ndarray, "n"]
    mirror_share: Float[ndarray, "n"]
    cloth: Float[ndarray, "3"] | None
    """Albedo of the dominant cloth, if there is any."""


def make_appearance(
    scene: HeadScene, camera: PhotoCamera, head_crop: HeadCrop, alpha: Float[ndarray, "s s"], labels: Labels
) -> Appearance:
    """Estimate the colors of all surfaces from the photo.

    Args:
        scene: the shape.
        camera: the photo's, for the head crop.
        head_crop: the photo around the head.
        alpha: the person's matte.
        labels: the person's parts.
    """
    photo, core = person_colors(head_crop, alpha)
    raster = camera.rasterize(scene.vertices, scene.faces)
    depth = np.where(raster.mask, raster.depth, 0).astype(np.float32)
    pixel = float(camera.project(scene.chin[None])[0, 2] / camera.K[0, 0])
    ears = raster.mask & scene.ears[scene.faces[raster.face]].any(-1)
    usable = edge_fade(head_crop.valid, 8) * _near(core, pixel) * (1 - _soft(_fringe(labels, core, ears, pixel)))
    labels = replace(labels, strands=_lengthened(labels, head_crop.landmarks))
    detail = photo - _coarse(photo, labels)
    fits = _fits(head_crop, labels)
    dressed = _dressed(head_crop, labels, core)

    projection = _project(scene, camera, labels, core, depth, fits)
    at, facing, hairy = projection.at, projection.facing, projection.hairy
    cloth = dressed * _cloth_share(labels, at)
    mirror_weight, mirror_facing = _mirror(scene, projection, cloth)
    weight = projection.weight * (1 - mirror_preference(facing, mirror_facing) * mirror_weight)
    color = sample(cv2.GaussianBlur(photo, (0, 0), 2), at).astype(np.float64)

    exposed = exposure(scene.vertices, scene.faces, scene.normals)
    light = estimate_light(scene, exposed, facing, color, weight)
    observations = VertexObservations(light.delight(color), weight, mirror_weight, facing, cloth)
    colors = _surface_colors(scene, hairy, observations, exposed, dressed)

    skin = labels.of(SKIN) & core
    skin_grain = 0.5 * min(0.012, float(detail[skin].std())) if skin.any() else 0.003
    return Appearance(
        photo=photo,
        detail=detail.astype(np.float32),
        depth=depth,
        usable=usable,
        fits=fits,
        base=np.clip(light.relight(colors.base), 0, 1),
        overlay=np.clip(light.relight(colors.overlay), 0, 1),
        border=colors.border,
        hairy=hairy,
        facing=facing,
        mirror_facing=mirror_facing,
        mirror_weight=mirror_weight,
        mirror_share=colors.mirror_share,
        mirror_at=at[scene.mirror, :2],
        hair_bands=hair_bands(photo, labels.of(HAIR) & core, pixel),
        shortness=strand_shortness(photo, labels.of(HAIR) & core),
        cloth=None if colors.cloth is None else cloth_patch(photo, labels.of(CLOTH) & core, colors.cloth),
        meters_per_pixel=pixel,
        grain=np.where(hairy, 0.0, skin_grain),
    )


def _project(
    scene: HeadScene,
    camera: PhotoCamera,
    labels: Labels,
    core: Bool[ndarray, "s s"],
    depth: Float[ndarray, "s s"],
    fits: Float[ndarray, "s s 4"],
) -> _Projection:
    """Where the photo sees each vertex, how well, and which vertices bear hair."""
    at = camera.project(scene.vertices)
    well_inside = erode(core, 2).astype(np.float32)
    foremost = at[:, 2] < sample(depth, at) + DEPTH_TOLERANCE
    visible = foremost & (sample(well_inside, at) > 0.95)
    # what grazes an ear is mostly something else
    facing = camera.facing(scene.vertices, scene.normals) - 0.1 * scene.ears
    fitting = sample(fits, at)[np.arange(len(at)), scene.part]
    hairy = (scene.part == HAIR_PART) | (scene.skull & (not labels.bald))
    glimpsed = foremost & (facing > _GLIMPSED)
    bare = scene.skull & glimpsed & (sample(labels.of(SKIN).astype(np.float32), at) > 0.5)
    hairy &= ~(bare | bare[scene.mirror] & ~glimpsed)
    fitting = np.where(hairy & (scene.part == HEAD), 1.0, fitting)
    weight = visible * smoothstep(facing, 0.3, 0.7) * fitting
    weight[scene.part == HEAD] *= 1 - sample(fits[..., WORN], at[scene.part == HEAD])
    return _Projection(at, facing, hairy, weight)


def _cloth_share(labels: Labels, at: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
    """Share of cloth in the person around pixels."""
    clothed, person = (
        cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _CLOTH_BLUR) for mask in (labels.of(CLOTH), labels.part > 0)
    )
    return sample(clothed / np.maximum(person, 0.05), at)


def _mirror(
    scene: HeadScene, projection: _Projection, cloth: Float[ndarray, "n"]
) -> tuple[Float[ndarray, "n"], Float[ndarray, "n"]]:
    """How well the photo shows each vertex's mirror image, 0 to 1, and the mirror image's cosine, -1 where unseen."""
    paired = scene.has_mirror * (scene.part == scene.part[scene.mirror])
    # the head's shadow on neck and shoulders has no counterpart on the other side
    shaded = (scene.part == HEAD) * smoothstep(scene.chin[1] - scene.vertices[:, 1], *_SHADED) + (scene.part == BUST)
    weight = projection.weight[scene.mirror] * paired * (1 - shaded * (1 - cloth[scene.mirror]))
    return weight, np.where(weight > 0, projection.facing[scene.mirror], -1.0)


def _surface_colors(
    scene: HeadScene,
    hairy: Bool[ndarray, "n"],
    observations: VertexObservations,
    exposed: Float[ndarray, "n"],
    dressed: bool,
) -> _SurfaceColors:
    """Continue the observed albedo of skin, hair and clothes over the whole surface."""
    complexion, hair = _complexion(scene, observations), _mean_hair(scene, observations)
    cloth = dominant_cloth(scene, observations) if dressed else None
    if cloth is not None and complexion is not None:
        observations = replace(observations, cloth=without_arms(scene, observations, complexion, cloth))
    base, mirror_share = _base(scene, hairy, observations, complexion, hair)
    overlay = base.copy() if hair is None else np.broadcast_to(hair, base.shape).copy()
    border = hairline(scene, exposed)
    bust = scene.part == BUST
    border[bust] = -1.0
    if cloth is not None:
        clothes = color_clothes(scene, observations, complexion, cloth)
        overlay[bust], border[bust] = clothes.albedo, clothes.border
    return _SurfaceColors(base, overlay, border, mirror_share, cloth)


def _coarse(photo: Float[ndarray, "s s 3"], labels: Labels) -> Float[ndarray, "s s 3"]:
    """The photo without its detail; hair, skin and cloth do not blend into each other."""
    coarse = np.zeros_like(photo)
    outside = labels.of(0)
    occluders = labels.strands | labels.glasses
    for label in (SKIN, HAIR, CLOTH):
        inside = labels.of(label)
        weight = ((inside | outside) & ~occluders).astype(np.float32)
        blurred = cv2.GaussianBlur(photo * weight[..., None], (0, 0), _DETAIL)
        blurred /= np.maximum(cv2.GaussianBlur(weight, (0, 0), _DETAIL), 1e-3)[..., None]
        coarse[inside] = blurred[inside]
    coarse[outside] = cv2.GaussianBlur(photo, (0, 0), _DETAIL)[outside]
    return coarse


def _fits(head_crop: HeadCrop, labels: Labels) -> Float[ndarray, "s s 4"]:
    """How far the photo's label agrees with each part: hair must not color skin or clothes, nor they the hair."""
    hair = labels.of(HAIR).astype(np.float32)
    beside_hair = cv2.GaussianBlur(cv2.dilate(hair, np.ones((9, 9))), (0, 0), 2)
    on_hair = cv2.GaussianBlur(hair, (0, 0), 1.5)
    on_cloth = cv2.GaussianBlur(labels.of(CLOTH).astype(np.float32), (0, 0), 1.5)
    face = erode(inner_face(head_crop.landmarks, head_crop.crop.size), 2)
    bare = 1 - smoothstep(beside_hair, 0.2, 0.6)
    fits = np.empty((*hair.shape, 4), np.float32)
    fits[..., WORN] = _soft(labels.glasses)
    fits[..., HEAD] = bare * np.where(face, 1.0, 1 - smoothstep(on_cloth, 0.2, 0.6)) * (1 - _soft(labels.strands))
    fits[..., BUST] = 1 - smoothstep(beside_hair, 0.1, 0.5)
    if labels.occluded.any():  # bare skin apart from the neck belongs to the arm whose hand hides the face
        arm = labels.of(SKIN) & ~touching(labels.of(SKIN) & ~labels.occluded, face)
        # the other arm shows what it wears
        beyond = np.arange(arm.shape[1]) - head_crop.landmarks[CHIN, 0]
        arm &= beyond * (labels.occluded * beyond).sum() > 0
        fits[..., BUST] *= 1 - cv2.GaussianBlur(cv2.dilate(arm.astype(np.float32), np.ones((15, 15))), (0, 0), 3)
    fits[..., HAIR_PART] = smoothstep(on_hair, 0.3, 0.7)
    return fits


def _soft(mask: Bool[ndarray, "s s"]) -> Float[ndarray, "s s"]:
    """1 where a mask is and a pixel beyond, with a soft edge."""
    return cv2.GaussianBlur(cv2.dilate(mask.astype(np.float32), np.ones((3, 3))), (0, 0), 1.0)


def _dressed(head_crop: HeadCrop, labels: Labels, core: Bool[ndarray, "s s"]) -> bool:
    """Whether the photo shows clothes rather than specks that were taken for them."""
    clothes, body = labels.of(CLOTH) & core, (labels.of(SKIN) | labels.of(CLOTH)) & core
    body &= np.arange(len(core))[:, None] > head_crop.landmarks[CHIN, 1]
    return bool(clothes.sum() > max(_DRESSED * body.sum(), 300))


def _complexion(scene: HeadScene, observations: VertexObservations) -> Float[ndarray, "3"] | None:
    """Albedo of the face without highlights and shadows."""
    skin = scene.plain_skin & (observations.weight > 0.5) & (scene.vertices[:, 1] > scene.chin[1])
    if skin.sum() <= 100:
        return None
    tone = observations.albedo[skin].mean(1)
    low, high = np.percentile(tone, [25, 65])
    return np.asarray(np.median(observations.albedo[skin][(tone >= low) & (tone <= high)], 0))


def _mean_hair(scene: HeadScene, observations: VertexObservations) -> Float[ndarray, "3"] | None:
    """Mean albedo of the hair that is seen, if any."""
    weight = observations.weight * (scene.part == HAIR_PART)
    return np.asarray((weight[:, None] * observations.albedo).sum(0) / weight.sum()) if weight.sum() > 5 else None


def _base(
    scene: HeadScene,
    hairy: Bool[ndarray, "n"],
    observations: VertexObservations,
    complexion: Float[ndarray, "3"] | None,
    hair: Float[ndarray, "3"] | None,
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n"]]:
    """Albedo of skin and hair everywhere, and which share of an unseen one is the mirror's.

    Seen colors, mirrored ones matched to them, and weak priors where neither is known, interpolated smoothly.
    """
    weight, mirror_weight, bust = observations.weight, observations.mirror_weight, scene.part == BUST
    bare = np.where(bust, 1 - observations.cloth, 1)
    albedo, prior = observations.albedo.copy(), np.zeros(len(weight))
    for color, which, how_sure in ((complexion, ~hairy, 0.0004), (hair, hairy, 0.004)):
        if color is not None:
            unseen = which & (weight * bare < UNSEEN)
            albedo[unseen], prior[unseen] = color, how_sure
    interpolator = LaplacianInterpolator(scene.vertices, scene.faces, scene.part.astype(np.int64), bridges(scene))
    mirrored = observations.albedo[scene.mirror]
    both = weight * mirror_weight * bare * bare[scene.mirror]
    if both.sum() > 20:  # the other side is lit differently: learn by how much where both are seen
        mirrored = np.clip(mirrored + interpolator.interpolate(observations.albedo - mirrored, both, 0.3), 0, 2)
    known = weight * bare + prior
    mirror = _MIRROR_WEIGHT * mirror_weight * (1 - weight) * bare[scene.mirror]
    total = known + mirror
    values = (known[:, None] * albedo + mirror[:, None] * mirrored) / np.maximum(total, 1e-6)[:, None]
    return interpolator.interpolate(values, total, COLOR_SMOOTHNESS), mirror / (total + 0.02)
