"""The photo gate: only a photo from which a portrait can be made passes, upright and with its face."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int16, UInt8
from torch import Tensor

from instax3d.errors import PhotoError
from instax3d.geometry.landmarks68 import FACE_METERS, NOSE_TIP, OUTER_EYE_CORNERS
from instax3d.interfaces import LandmarkDetector
from instax3d.io.images import over_white, to_float, to_uint8
from instax3d.io.photo_file import read_photo_file
from instax3d.types import Face, Photo

from .faces import Person, detect_any_roll, refine_face

SMALLEST_FACE = 50
"""Width of the face box, pixels, under which there is too little to see."""
SMALL_FACE = 120
"""Width under which the portrait will be soft."""
TURNED_DEG = 30.0
"""Yaw above which the far side of the face is mostly guessed."""
PROFILE_DEG = 45.0
"""Yaw above which half of the face is hidden; the landmarks do not reach much further."""

_SMALLEST_SIDE = 64
_FAINT = 0.3
"""Faces of less than this share of the best support are no people."""
_NEAREST, _FARTHEST = 0.22, 8.0
"""Meters from which faces are photographed; a crop that keeps its file's focal length looks nearer than it is."""
_FLAT = 16
"""Levels (of 255) by which a padding border may differ from pure black or white."""
_BLENDED = 4
"""Lines that resampling may blend with a border, at most."""
_NOSE_TO_YAW = 1.6
"""Outer eye corners' distance over the nose tip's distance before their line, in a frontal view; measured on the views
of a head scan with known azimuths, where it is right to 2 degrees up to 35."""


def read_photo(path: Path, detector: LandmarkDetector[Any]) -> Photo:
    """Read a photo and find the face of its person, or say why not.

    EXIF rotation, color profiles, alpha and every common pixel format are resolved; huge photos are reduced; black or
    white padding is trimmed; of several people the largest and most central one is taken. `Photo.notes` tells all this.

    Raises:
        PhotoError: there is no readable image, or none with one clear face that looks roughly at the camera.
    """
    file = read_photo_file(path)
    height, width = file.rgb.shape[:2]
    if min(width, height) < _SMALLEST_SIDE:
        raise PhotoError(f"{path} has only {width}x{height} pixels; use a photo of at least 512x512")
    notes = list(file.notes)
    image, alpha, focal = to_float(torch.from_numpy(file.rgb)), None, file.focal
    if file.alpha is not None:
        if file.alpha.max() < 10:
            raise PhotoError(f"{path} is fully transparent; export the photo again, with its person visible")
        alpha = to_float(torch.from_numpy(file.alpha)[..., None])
        image = over_white(image, alpha)
        notes.append("The photo's transparency is taken as the outline of the person.")
    else:
        rows, columns = _picture_in_padding(file.rgb)
        if (rows, columns) != (slice(0, height), slice(0, width)):
            image = image[:, rows, columns].contiguous()
            focal = None  # the metadata is of the photo before someone padded it
            notes.append(
                f"A flat border was trimmed: {width}x{height} became {image.shape[2]}x{image.shape[1]} pixels."
            )
    face = _select_face(path, image, detector, notes)
    _check_quality(path, image, face, notes)
    if focal is not None and not _plausible(focal, face):
        focal = None
        notes.append(
            "The focal length in the file cannot be that of this picture, which was probably cropped; it is estimated."
        )
    return Photo(image=image, alpha=alpha, face=face, name=path.stem, focal=focal, notes=tuple(notes))


def face_yaw(landmarks: Float[Tensor, "68 2"]) -> float:
    """Azimuth from which a face is seen, degrees: positive from the subject's left; roll does not matter.

    The nose tip stands before the line of the outer eye corners by a known share of their distance, so its offset along
    that line is the tangent of the yaw (weak perspective).
    """
    right, left = landmarks[list(OUTER_EYE_CORNERS)]
    across = left - right
    offset = (landmarks[NOSE_TIP] - (right + left) / 2) @ across / (across @ across).clamp(min=1e-9)
    return -math.degrees(math.atan(_NOSE_TO_YAW * float(offset)))


def _select_face(path: Path, image: Float[Tensor, "3 h w"], detector: LandmarkDetector[Any], notes: list[str]) -> Face:
    """The face of the portrait's person."""
    pixels = to_uint8(image)
    # Patterns that look a little like a face score far below a real one.
    found = detect_any_roll(pixels, detector)
    likely = [person for person in found if person.support >= _FAINT * found[0].support]
    people = [(person, face) for person in likely if (face := refine_face(pixels, detector, person))]
    if not people:
        raise PhotoError(f"{path}: {_no_face(pixels, detector)}")
    height, width = image.shape[1:]

    def weight(person: tuple[Person, Face]) -> float:
        left, top, right, bottom = person[1].box
        off = math.hypot((left + right) / width - 1, (top + bottom) / height - 1)
        return person[0].support * (right - left) * (bottom - top) * math.exp(-off)

    if len(people) > 1:
        people_found = f"{len(people)} faces were found"
        notes.append(f"{people_found}; the largest and most central one is used. Crop the photo to choose another.")
    return max(people, key=weight)[1]


def _no_face(pixels: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any]) -> str:
    for turns, how in ((1, "clockwise"), (3, "counter-clockwise"), (2, "upside down")):
        if detector.detect(pixels.rot90(-turns).contiguous()):
            return f"no face was found upright, but one appears with the photo turned {how}; save it turned like that"
    return (
        "no face was found; use a sharp, well-lit photo in which the person is turned towards the camera, "
        "with both eyes in view"
    )


def _check_quality(path: Path, image: Float[Tensor, "3 h w"], face: Face, notes: list[str]) -> None:
    """Refuse a face that is too small or turned away; warn of what will weaken the portrait."""
    size = face.box[2] - face.box[0]
    if size < SMALLEST_FACE:
        raise PhotoError(
            f"{path}: the face is only {size:.0f} pixels wide; use a closer or larger photo, with a face of 200 or more"
        )
    if size < SMALL_FACE:
        notes.append(f"The face is only {size:.0f} pixels wide, so the portrait will be soft; 200 or more are better.")
    yaw = face_yaw(face.require_landmarks68())
    if abs(yaw) > PROFILE_DEG:
        raise PhotoError(
            f"{path}: the head is turned by about {abs(yaw):.0f} degrees, which hides half of the face; "
            "use a photo in which it is turned towards the camera"
        )
    if abs(yaw) > TURNED_DEG:
        notes.append(
            f"The head is turned by about {abs(yaw):.0f} degrees; the far side of the face will be guessed. "
            "A photo from the front gives a better portrait."
        )
    height, width = image.shape[1:]
    x, y = face.require_landmarks68().unbind(1)
    margin = 0.02 * size
    if x.min() < -margin or y.min() < -margin or x.max() > width + margin or y.max() > height + margin:
        notes.append("The face is cut off by the edge of the photo; what is missing will be guessed.")


def _plausible(focal: float, face: Face) -> bool:
    """Whether a face of usual size is then at a distance from which faces are photographed."""
    size = float((face.require_landmarks68().max(0).values - face.require_landmarks68().min(0).values).max())
    return _NEAREST < focal * FACE_METERS / size < _FARTHEST


def _picture_in_padding(rgb: UInt8[np.ndarray, "h w 3"]) -> tuple[slice, slice]:
    """Rows and columns of the picture without flat black or white bars around it.

    A bar ends at a straight edge: behind it most pixels differ from it at once. A white studio behind a person, or a
    night, ends at a few hairs and is no padding.
    """
    top, bottom, left, right = 0, rgb.shape[0], 0, rgb.shape[1]
    trimmed = True
    while trimmed:  # trimming the sides can show that the top is a bar, and the other way round
        trimmed = False
        for color in (0, 255):
            away = np.abs(rgb[top:bottom, left:right].astype(np.int16) - color).max(-1)
            above, below = _bar(away), _bar(away[::-1])
            before, after = _bar(away.T), _bar(away.T[::-1])
            # One direction at a time, since the other was measured with these bars.
            if above or below:
                top, bottom, trimmed = top + above, bottom - below, True
            elif before or after:
                left, right, trimmed = left + before, right - after, True
    return slice(top, bottom), slice(left, right)


def _bar(away: Int16[np.ndarray, "lines n"]) -> int:
    """Lines of a bar at the start, by how far each pixel is from the bar's color.

    They are flat up to the ripples of one JPEG block before the edge; the picture begins where most pixels differ, and
    after the few lines that resampling has blended with the bar.
    """
    differing = (away > _FLAT).mean(1)
    picture = differing > 0.5
    start = int(picture.argmax()) if picture.any() else 0
    flat = max(min(start, 2), start - 8)
    if not start or start >= len(differing) / 2 or (differing[:flat] >= 0.02).any():
        return 0
    level = away[start : start + _BLENDED + 1].mean(1)
    rising = level[:-1] < 0.9 * level[1:]
    return start + max(1, int(np.argmin(np.r_[rising, False])))
