"""Reads and validates photos: a portrait is made only of a photo that shows a clear face."""

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

from .faces import FaceCandidate, detect_any_roll, refine_face

MIN_FACE_WIDTH = 50
"""Width of the face box, pixels, below which a photo is refused."""
SOFT_FACE_WIDTH = 120
"""Width of the face box, pixels, below which the portrait will be soft."""
TURNED_DEG = 30.0
"""Yaw above which the far side of the face is mostly guessed."""
MAX_YAW_DEG = 45.0
"""Yaw above which a photo is refused: half of the face is hidden, and detectors hardly find landmarks beyond."""

_MIN_SIDE = 64
"""Of a photo, pixels."""
_MIN_RELATIVE_SCORE = 0.3
"""Candidates below this share of the highest score are patterns, not faces."""
_MIN_DISTANCE, _MAX_DISTANCE = 0.22, 8.0
"""Meters from which faces are photographed; in a crop that keeps its file's focal length they seem nearer."""
_FLAT = 16
"""Levels (of 255) by which padding may differ from pure black or white."""
_MAX_BLENDED = 4
"""Lines of the picture that resampling may have blended with the padding."""
_NOSE_TO_YAW = 1.6
"""Distance between the outer eye corners over that of the nose tip in front of their line; measured on the views of a
head scan with known azimuths, where the yaw is right within 2 degrees up to 35."""


def read_photo(path: Path, detector: LandmarkDetector[Any]) -> Photo:
    """Read a photo, find the face of its person, and check that a portrait can be made of it.

    EXIF rotation, color profiles, alpha and every common pixel format are resolved; huge photos are reduced; black or
    white padding is trimmed; of several people the largest and most central one is taken. `Photo.notes` reports it.

    Args:
        path: an image file.
        detector: one that gives the 68 landmarks.

    Raises:
        PhotoError: the image cannot be read, or shows no face that is large enough and turned to the camera; says what
            to do.
        FitError: the detector gives no 68 landmarks.
    """
    file = read_photo_file(path)
    height, width = file.rgb.shape[:2]
    if min(width, height) < _MIN_SIDE:
        raise PhotoError(f"{path} has only {width}x{height} pixels; please use a photo of at least 512x512")
    notes = list(file.notes)
    image, alpha, focal = to_float(torch.from_numpy(file.rgb)), None, file.focal
    if file.alpha is not None:
        if file.alpha.max() < 10:
            raise PhotoError(f"{path} is fully transparent; please export the photo again with the person visible")
        alpha = to_float(torch.from_numpy(file.alpha)[..., None])
        image = over_white(image, alpha)
        notes.append("The photo's transparency is taken as the outline of the person.")
    else:
        rows, columns = _without_padding(file.rgb)
        if (rows, columns) != (slice(0, height), slice(0, width)):
            image = image[:, rows, columns].contiguous()
            focal = None  # the metadata describes the photo before it was padded
            notes.append(
                f"A flat border was trimmed: {width}x{height} became {image.shape[2]}x{image.shape[1]} pixels."
            )
    face = _select_face(path, image, detector, notes)
    _check_quality(path, image, face, notes)
    if focal is not None and not _plausible(focal, face):
        focal = None
        notes.append(
            "The focal length in the file does not fit this photo, which was probably cropped; it is estimated instead."
        )
    return Photo(image=image, alpha=alpha, face=face, name=path.stem, focal=focal, notes=tuple(notes))


def face_yaw(landmarks: Float[Tensor, "68 2"]) -> float:
    """Azimuth from which a face is seen, degrees: positive from the subject's left; independent of roll.

    The nose tip is in front of the line between the outer eye corners by a known share of their distance, so its offset
    along that line gives the tangent of the yaw (weak perspective).
    """
    right, left = landmarks[list(OUTER_EYE_CORNERS)]
    across = left - right
    offset = (landmarks[NOSE_TIP] - (right + left) / 2) @ across / (across @ across).clamp(min=1e-9)
    return -math.degrees(math.atan(_NOSE_TO_YAW * float(offset)))


def _select_face(path: Path, image: Float[Tensor, "3 h w"], detector: LandmarkDetector[Any], notes: list[str]) -> Face:
    """The largest and most central face.

    Raises:
        PhotoError: there is no face.
    """
    pixels = to_uint8(image)
    # Patterns that look a little like a face score far below a real one.
    candidates = detect_any_roll(pixels, detector)
    likely = [each for each in candidates if each.score >= _MIN_RELATIVE_SCORE * candidates[0].score]
    faces = [(each, face) for each in likely if (face := refine_face(pixels, detector, each))]
    if not faces:
        raise PhotoError(f"{path}: {_no_face_message(pixels, detector)}")
    height, width = image.shape[1:]

    def weight(pair: tuple[FaceCandidate, Face]) -> float:
        candidate, face = pair
        left, top, right, bottom = face.box
        off_center = math.hypot((left + right) / width - 1, (top + bottom) / height - 1)
        return candidate.score * (right - left) * (bottom - top) * math.exp(-off_center)

    if len(faces) > 1:
        notes.append(
            f"{len(faces)} faces were found; the largest and most central one is used. Crop the photo to choose "
            "another."
        )
    return max(faces, key=weight)[1]


def _no_face_message(pixels: UInt8[Tensor, "h w 3"], detector: LandmarkDetector[Any]) -> str:
    """What to do about a photo without an upright face."""
    for quarters, how in ((1, "by 90 degrees clockwise"), (3, "by 90 degrees counter-clockwise"), (2, "upside down")):
        if detector.detect(pixels.rot90(-quarters).contiguous()):
            return f"no upright face was found, but there is one if the photo is turned {how}; please save it that way"
    return (
        "no face was found; please use a sharp, well-lit photo in which the person is turned towards the camera and "
        "both eyes are visible"
    )


def _check_quality(path: Path, image: Float[Tensor, "3 h w"], face: Face, notes: list[str]) -> None:
    """Refuse a face that is too small or turned away; note what will weaken the portrait.

    Raises:
        PhotoError: the face is too small or turned away.
    """
    width = face.box[2] - face.box[0]
    if width < MIN_FACE_WIDTH:
        raise PhotoError(
            f"{path}: the face is only {width:.0f} pixels wide; please use a closer or larger photo, "
            "in which it is 200 or more"
        )
    if width < SOFT_FACE_WIDTH:
        notes.append(f"The face is only {width:.0f} pixels wide, so the portrait will be soft; 200 or more are better.")
    yaw = face_yaw(face.require_landmarks68())
    if abs(yaw) > MAX_YAW_DEG:
        raise PhotoError(
            f"{path}: the head is turned by about {abs(yaw):.0f} degrees, which hides half of the face; "
            "please use a photo in which it is turned towards the camera"
        )
    if abs(yaw) > TURNED_DEG:
        notes.append(
            f"The head is turned by about {abs(yaw):.0f} degrees; the far side of the face will be guessed. "
            "A photo from the front gives a better portrait."
        )
    x, y = face.require_landmarks68().unbind(1)
    margin = 0.02 * width
    right, bottom = image.shape[2] + margin, image.shape[1] + margin
    if x.min() < -margin or y.min() < -margin or x.max() > right or y.max() > bottom:
        notes.append("The face is cut off by the edge of the photo; the missing part will be guessed.")


def _plausible(focal: float, face: Face) -> bool:
    """Whether a face of average size would be at a distance from which faces are photographed.

    ``focal``: pixels.
    """
    size = float((face.require_landmarks68().max(0).values - face.require_landmarks68().min(0).values).max())
    return _MIN_DISTANCE < focal * FACE_METERS / size < _MAX_DISTANCE


def _without_padding(rgb: UInt8[np.ndarray, "h w 3"]) -> tuple[slice, slice]:
    """Rows and columns without flat black or white bars around the picture.

    A bar ends at a straight edge: behind it most pixels differ from it at once. A white studio or a night sky ends at
    a few hairs first, and is not padding.
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
    """How many lines at the start belong to a bar, by how far each pixel is from the bar's color (levels of 255).

    They are flat except for the ripples of one JPEG block before the edge; the picture begins where most pixels differ,
    after the few lines that resampling has blended with the bar.
    """
    differing = (away > _FLAT).mean(1)
    picture = differing > 0.5
    start = int(picture.argmax()) if picture.any() else 0
    flat = max(min(start, 2), start - 8)
    if not start or start >= len(differing) / 2 or (differing[:flat] >= 0.02).any():
        return 0
    level = away[start : start + _MAX_BLENDED + 1].mean(1)
    rising = level[:-1] < 0.9 * level[1:]
    return start + max(1, int(np.argmin(np.r_[rising, False])))
