"""One photo in, views all around the head out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage

from instax3d import registry
from instax3d.datasets import FIELD_OF_VIEW_DEG
from instax3d.fitting import PhotoFit
from instax3d.geometry.cameras import orbit
from instax3d.geometry.landmarks68 import INNER
from instax3d.geometry.smoothstep import smoothstep
from instax3d.headmodel import HeadModel
from instax3d.interfaces import ViewGenerator
from instax3d.matting.closed_form import foreground_colors
from instax3d.matting.cutout import cut_out
from instax3d.matting.head_crop import HeadCrop, PhotoArrays, PhotoCrop, cut_head_crop, cut_valid, photo_arrays
from instax3d.matting.masks import erode
from instax3d.matting.photo import fit_in_head_crop
from instax3d.types import FRONT_DEG, Cameras, Capture, Face, HeadMesh, Photo, Rig, Views

from .config import TemplateConfig
from .head import Head, PhotoCamera, fill_mouth, make_head, snap
from .labels import Labels, label_parts
from .noise import make_noise
from .outline import make_outline
from .provenance import SEEN, photo_confidence
from .scene import HeadScene, build_scene
from .shading import Drawing, Painter
from .texture import Appearance, edge_fade, make_appearance

DISTANCE = 0.78
"""From the turntable's axis to the camera, meters: head and shoulders fill the frame."""
HIGHEST = 12.0
"""Degrees by which the orbit's cameras may stand above or below the turntable's center: from farther up, crown and
shoulders, which are guessed, take the face's place in the views from the sides."""
_HEADROOM = 0.175
"""The view's center lies this far below the top of the bald head, meters."""


@dataclass(frozen=True, eq=False)
class PhotoAnalysis:
    """What is known about the photo's person before any shape is made."""

    photo: PhotoArrays
    found: Face
    """The face found in the photo."""
    head_crop: HeadCrop
    alpha: Float[ndarray, "s s"]
    labels: Labels
    model: HeadModel
    fit: PhotoFit
    """Of the head model, in the camera of the head crop."""
    head: Head
    """The fitted head, with landmarks and outline brought to their pixels."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What is made from the photo, before made-up detail."""

    person: PhotoAnalysis
    scene: HeadScene
    appearance: Appearance

    def painter(self, seed: int) -> Painter:
        """What renders it from any camera; the seed decides strands and grain."""
        return Painter(self.scene, self.appearance, self.person.head.camera, make_noise(seed))


class TemplateGenerator(ViewGenerator[TemplateConfig]):
    """Fits a head to the photo, cuts the person out, shapes hair and bust, and colors all of it from the photo.

    The sides that the photo does not show are guessed by symmetry, smoothness and made-up detail.
    """

    def generate(self, source: Photo | Capture, *, seed: int) -> Views:
        """Views on an orbit as high as the photo's camera, the one nearest to the photo replaced by the photo itself.

        The world is the head's: meters, upright, the face looks along +z.

        Raises:
            FitError: the landmarks are not those of a face.
            IncompatiblePipelineError: ``source`` is a capture.
        """
        photo = self.expect(source, Photo)
        reconstruction = reconstruct(photo, self.head_model())
        return render_views(reconstruction, seed=seed, count=self.config.views, size=self.config.size)

    def head_model(self) -> HeadModel:
        """The model that ``head`` names; made once per process.

        Raises:
            AssetError: a file of the model is not there.
        """
        return registry.build(HeadModel, self.config.head)


def render_views(reconstruction: Reconstruction, *, seed: int, count: int, size: int) -> Views:
    """``count`` views of ``size`` pixels on a side, the photo among them, with the head and the faces in them."""
    person, scene, painter = reconstruction.person, reconstruction.scene, reconstruction.painter(seed)
    camera = person.head.camera
    azimuths = np.arange(count) * 360.0 / count
    index = int(np.abs((azimuths - camera.azimuth + 180) % 360 - 180).argmin())
    azimuths[index] = camera.azimuth
    center = turntable_center(scene)
    cameras = photo_orbit(person.head, azimuths.tolist(), center, size)
    crop = photo_crop(person, center, size)
    cameras.viewmats[index] = _float(camera.viewmat)
    cameras.Ks[index] = _float(crop.intrinsics(_photo_intrinsics(person)))
    drawn = [
        painter.draw(viewmat, K, size) for viewmat, K in zip(cameras.viewmats.numpy(), cameras.Ks.numpy(), strict=True)
    ]
    drawn[index] = place_photo(person, crop, drawn[index])

    return Views(
        images=_planes([view.image for view in drawn]),
        alpha=_planes([view.alpha[..., None] for view in drawn]),
        cameras=cameras,
        confidence=_planes([view.confidence[..., None] for view in drawn]),
        photo_index=index,
        faces=known_faces(person, cameras, azimuths, index, crop),
        provenance=_planes([view.provenance for view in drawn]),
        head=known_head(person),
    )


def known_faces(
    person: PhotoAnalysis, cameras: Cameras, azimuths: Float[ndarray, "views"], photo_index: int, crop: PhotoCrop
) -> tuple[Face | None, ...]:
    """The face in each view from the front: what was found in the photo, and the drawn head's landmarks elsewhere.

    Args:
        cameras: of all views, at these ``azimuths`` (degrees).
        crop: from the photo to its own view, which is number ``photo_index``.
    """
    found = person.found
    landmarks = _float(person.head.landmarks)
    faces: list[Face | None] = [None] * len(cameras)
    for view, azimuth in enumerate(azimuths):
        if view == photo_index:
            faces[view] = _face_in(crop, found)
        elif abs((azimuth + 180) % 360 - 180) <= FRONT_DEG:
            pixels = cameras[view].project(landmarks)[0, :, :2]
            (left, top), (right, bottom) = pixels.amin(0).tolist(), pixels.amax(0).tolist()
            faces[view] = Face((left, top, right, bottom), found.score, pixels)
    return tuple(faces)


def known_head(person: PhotoAnalysis) -> HeadMesh:
    """The fitted head in the world of the views, which is its own."""
    rig = Rig(person.model, person.fit.parameters, torch.eye(3), torch.zeros(3), 1.0)
    vertices = rig.vertices(rig.parameters)
    return HeadMesh(
        vertices,
        person.model.faces,
        landmarks=person.model.landmarks(vertices),
        regions=person.model.regions,
        rig=rig,
        axes=rig.rotation,
    )


def _face_in(crop: PhotoCrop, found: Face) -> Face:
    """A face of the photo, in pixels of a crop."""

    def placed(points: torch.Tensor) -> torch.Tensor:
        return _float(crop.points(points.double().numpy()))

    (left, top), (right, bottom) = placed(torch.tensor(found.box).reshape(2, 2)).tolist()
    points = {scheme: placed(at) for scheme, at in found.points.items()}
    return Face((left, top, right, bottom), found.score, placed(found.require_landmarks68()), points)


def reconstruct(photo: Photo, model: HeadModel) -> Reconstruction:
    """Analyze the photo, shape head, bust and hair, and color them.

    Raises:
        FitError: the landmarks are not those of a face.
    """
    person = analyze(photo, model)
    outline = make_outline(person.head, person.alpha, person.labels, person.head_crop.valid)
    scene = build_scene(person.head, outline, person.labels)
    appearance = make_appearance(scene, person.head.camera, person.head_crop, person.alpha, person.labels)
    return Reconstruction(person, scene, appearance)


def _float(values: ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _planes(images: list[ndarray]) -> torch.Tensor:
    """Tensor [views, channels, h, w] of images with their channels last."""
    return _float(np.stack(images).transpose(0, 3, 1, 2))


def analyze(photo: Photo, model: HeadModel) -> PhotoAnalysis:
    """Fit the head, cut the person out and label its parts; the head is fitted again once the outline is known.

    Raises:
        FitError: the landmarks are not those of a face.
    """
    arrays = photo_arrays(photo)
    head_crop = cut_head_crop(arrays)

    def head_of(fit: PhotoFit) -> Head:
        viewmat, K = (matrix[0].numpy().astype(np.float64) for matrix in (fit.cameras.viewmats, fit.cameras.Ks))
        return make_head(model, fit.parameters, PhotoCamera(viewmat, K, head_crop.crop.size))

    rough = head_of(fit_in_head_crop(model, photo, head_crop))
    alpha = cut_out(head_crop, rough.raster.mask)
    labels = label_parts(
        head_crop, alpha, rough.raster.mask, rough.seen("scalp"), rough.seen("neck"), rough.meters_per_pixel
    )
    # what a hand hides is as unknown as what lies beyond the photo: the head may extend there
    head_crop = replace(head_crop, valid=head_crop.valid & ~labels.occluded)
    fit = fit_in_head_crop(model, photo, head_crop, alpha=np.where(head_crop.valid, alpha, 1.0), bald=labels.bald)
    head = fill_mouth(snap(head_of(fit), fit.landmarks.numpy(), alpha, head_crop.valid, labels))
    return PhotoAnalysis(arrays, photo.face, head_crop, alpha, labels, model, fit, head)


def _photo_intrinsics(person: PhotoAnalysis) -> Float[ndarray, "3 3"]:
    """The photo's own intrinsics in photo pixels, from those of the head crop."""
    crop = person.head_crop.crop
    inverse = PhotoCrop(1 / crop.scale, (-crop.offset[0] / crop.scale, -crop.offset[1] / crop.scale), 0)
    return inverse.intrinsics(person.head.camera.K)


def turntable_center(scene: HeadScene) -> Float[ndarray, "3"]:
    """Point on the head's upright axis, in the world, so high that the hair has room above it."""
    highest = min(float(scene.vertices[:, 1].max()), scene.top + 0.06)
    return np.array([0.0, max(scene.top, highest - 0.02) - _HEADROOM, -0.01])


def photo_orbit(head: Head, azimuths: Sequence[float], center: Float[ndarray, "3"], size: int) -> Cameras:
    """Cameras at ``azimuths`` (degrees) that look at the turntable's center, all as high as the photo's above the face.

    SV3D's static orbit: a face seen from another height than in its photo is less like it, and more of it is guessed.
    """
    heights = [orbit_elevation(head, center)] * len(azimuths)
    return orbit(azimuths, heights, radius=DISTANCE, size=size, fov_deg=FIELD_OF_VIEW_DEG, center=center.tolist())


def orbit_elevation(head: Head, center: Float[ndarray, "3"]) -> float:
    """Degrees at which the orbit's camera at the photo's azimuth sees the face from the photo's own direction."""
    face = head.landmarks[INNER].mean(0)
    towards = head.camera.center - face
    towards /= np.linalg.norm(towards)
    # along the ray from the face to the photo's camera, out to the orbit's sphere
    along = float((center - face) @ towards)
    place = face + (along + np.sqrt(DISTANCE**2 - ((center - face) ** 2).sum() + along**2)) * towards - center
    return float(np.clip(np.degrees(np.arcsin(place[1] / DISTANCE)), -HIGHEST, HIGHEST))


def photo_crop(person: PhotoAnalysis, center: Float[ndarray, "3"], size: int) -> PhotoCrop:
    """The crop of the photo in which the head is as large, and placed, as in the views of the orbit."""
    camera = person.head.camera
    x, y, depth = camera.project(center[None])[0]
    focal = size / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2))
    scale = (focal / DISTANCE) / (camera.K[0, 0] / depth) * person.head_crop.crop.scale
    at = (np.array([x, y]) - person.head_crop.crop.offset) / person.head_crop.crop.scale
    offset = size / 2 - at * scale
    return PhotoCrop(float(scale), (float(offset[0]), float(offset[1])), size)


def place_photo(person: PhotoAnalysis, crop: PhotoCrop, drawn: Drawing) -> Drawing:
    """The photo's own pixels, cut out on white; what lies beyond its edges is rendered."""
    head_crop = person.head_crop
    relative = crop.scale / head_crop.crop.scale
    offset = (
        crop.offset[0] - head_crop.crop.offset[0] * relative,
        crop.offset[1] - head_crop.crop.offset[1] * relative,
    )
    from_head_crop = PhotoCrop(relative, offset, crop.size)
    colors = foreground_colors(head_crop.rgb, person.alpha)
    # the matte ends with the photo; continue it, so that it does not fade there
    nearest = ndimage.distance_transform_edt(~erode(head_crop.valid, 2), return_distances=False, return_indices=True)
    alpha, colors = from_head_crop.cut(person.alpha[nearest[0], nearest[1]]), from_head_crop.cut(colors)
    rgb = crop.cut(person.photo.rgb)
    # at the soft rim the photo's pixels hold background: there the person's own colors
    solid = smoothstep(alpha, 0.9, 1.0)[..., None]
    cut = alpha[..., None] * (solid * rgb + (1 - solid) * colors) + 1 - alpha[..., None]
    free = from_head_crop.cut(cv2.GaussianBlur((~person.labels.occluded).astype(np.float32), (0, 0), 2))
    inside = edge_fade(cut_valid(person.photo, crop), 6) * smoothstep(free, 0.5, 1.0)
    inside_rgb = inside[..., None]
    image = inside_rgb * cut + (1 - inside_rgb) * drawn.image
    provenance = inside_rgb * np.eye(3, dtype=np.float32)[SEEN] + (1 - inside_rgb) * drawn.provenance
    confidence = inside * photo_confidence(alpha) + (1 - inside) * drawn.confidence
    return Drawing(
        image.astype(np.float32), inside * alpha + (1 - inside) * drawn.alpha, provenance, confidence.astype(np.float32)
    )
