"""The figures that every portrait gets: fidelity to its views and to held-out ones, and likeness to the photo."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from .capture import load_frames
from .images import to_uint8
from .interfaces import LandmarkDetector
from .photometric import psnr
from .portrait import Portrait
from .types import Capture, Photo, Views


def mean_psnr(images: Float[Tensor, "views 3 h w"], targets: Float[Tensor, "views 3 h w"]) -> float:
    """Mean over views of the PSNR of each, dB."""
    return float(psnr(images, targets).mean())


def identity_distances(
    detector: LandmarkDetector[Any], photo: Photo, images: Mapping[str, Float[Tensor, "3 h w"]]
) -> dict[str, float]:
    """Distances of the detector's descriptors of the photo's and each image's face, by name; images that show no face
    are left out, and all of them where the detector compares no identities."""
    try:
        reference = detector.descriptor(to_uint8(photo.image), photo.face)
    except NotImplementedError:
        return {}
    found = {}
    for name, image in images.items():
        pixels = to_uint8(image)
        faces = detector.detect(pixels)
        if faces:
            found[name] = float((reference - detector.descriptor(pixels, faces[0])).norm())
    return found


def evaluate(
    portrait: Portrait, given: Photo | Capture, views: Views, detector: LandmarkDetector[Any]
) -> Mapping[str, float]:
    """Figures by name; those that cannot be had are left out.

    ``psnr_views``: over the views it was made from. ``psnr_test``: over a capture's held-out cameras.
    ``psnr_photo``, ``identity_photo``, ``identity_front``: the render from the photo's camera against the photo, and
    descriptor distances to the photo of that render and of the render from straight in front.
    """
    rendered, _ = portrait.render(views.cameras)
    found = {"psnr_views": mean_psnr(rendered, views.images)}
    if isinstance(given, Capture):
        if given.test_cameras is not None:
            truth, _ = load_frames(given.test_cameras, given.test_files)
            shown, _ = portrait.render(given.test_cameras)
            found["psnr_test"] = mean_psnr(shown, truth)
        return found
    faces = {}
    if views.photo_index is not None:
        found["psnr_photo"] = mean_psnr(*(part[[views.photo_index]] for part in (rendered, views.images)))
        faces["identity_photo"] = rendered[views.photo_index]
    front, _ = portrait.render(portrait.orbit.cameras([0.0]))
    return found | identity_distances(detector, given, {**faces, "identity_front": front[0]})
