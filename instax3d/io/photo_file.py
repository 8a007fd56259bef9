"""Image files of every common kind to upright eight-bit sRGB; files are hostile until read."""

import difflib
import io
import math
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, UnidentifiedImageError

from instax3d.errors import PhotoError

from .images import open_image

MAX_SIDE = 2048
"""Larger photos are reduced to this longest side, pixels: the portrait holds no finer detail."""

_RAW = {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_OPAQUE = 250
"""Alpha from which a pixel counts as opaque."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image with this EXIF orientation upright."""
_TAG_ORIENTATION, _TAG_EXIF = 0x0112, 0x8769
_TAG_FOCAL, _TAG_FOCAL_35MM = 0x920A, 0xA405
_TAG_WIDTH, _TAG_HEIGHT = 0xA002, 0xA003
_TAG_PLANE_RESOLUTION, _TAG_PLANE_UNIT = 0xA20E, 0xA210
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""EXIF resolution units in millimeters: inch, centimeter, millimeter, micrometer."""
_FILM_DIAGONAL = math.hypot(36, 24)
_SENSOR_RATIOS = (4 / 3, 3 / 2, 16 / 9)


@dataclass(frozen=True)
class PhotoFile:
    """The pixels of a file, upright, in sRGB and of a sensible size."""

    rgb: UInt8[np.ndarray, "h w 3"]
    """Straight colors, also where ``alpha`` is 0."""
    alpha: UInt8[np.ndarray, "h w"] | None
    """None where the whole image is opaque."""
    focal: float | None
    """Focal length in pixels of ``rgb`` by the file's EXIF; None where that is silent or the photo was cropped."""
    notes: tuple[str, ...]


def read_photo_file(path: Path) -> PhotoFile:
    """Read an image file.

    Raises:
        PhotoError: there is no such file, or it is no image that can be read; the message says what to do.
    """
    _check_exists(path)
    _check_format(path)
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks about odd metadata
            with open_image(path) as image:
                return _decode(image, notes)
    except Image.DecompressionBombError:
        raise PhotoError(f"{path} has more than 170 megapixels; save it smaller and try again") from None
    except Exception as error:
        # Pillow's readers raise whatever their parsing meets (OSError, ValueError, struct.error, ...).
        raise PhotoError(f"{path} {_unreadable(path, error)}") from error


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise PhotoError(f"{path} is a folder; give one image file")
    if path.is_file():
        if path.stat().st_size == 0:
            raise PhotoError(f"{path} is empty; copy or export the photo again")
        return
    if not path.parent.is_dir():
        raise PhotoError(f"there is no folder {path.parent}; check the path of the photo")
    try:
        names = {other.name.lower(): other.name for other in path.parent.iterdir() if other.is_file()}
    except OSError:
        names = {}  # a folder that may not be listed
    near = [names[name] for name in difflib.get_close_matches(path.name.lower(), names, n=3)]
    advice = f"did you mean {' or '.join(near)}?" if near else "check the name of the photo"
    raise PhotoError(f"there is no file {path}; {advice}")


def _check_format(path: Path) -> None:
    """Refuse what Pillow would misread or cannot read without help."""
    if path.suffix.lower() in _RAW:
        # Many are TIFF inside, and Pillow would take their thumbnail for the photo.
        raise PhotoError(f"{path} is a camera raw file; export it as JPEG, PNG or TIFF and use that")
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise PhotoError(f"cannot read {path}: {error.strerror or error}") from error
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        if find_spec("pillow_heif") is None:
            raise PhotoError(
                f"{path} is an HEIC photo; run: pip install 'instax3d[heic]' to read it, or export it as JPEG"
            )
        import pillow_heif

        pillow_heif.register_heif_opener()


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is not an image that can be read; use JPEG, PNG, WebP or TIFF"
    if "truncated" in str(error) or isinstance(error, EOFError):
        return "is cut off; copy or download it again"
    return f"is damaged or of an unusual kind ({error}); save it again as JPEG or PNG"


def _decode(image: Image.Image, notes: list[str]) -> PhotoFile:
    size = image.size
    if _frames(image) > 1:
        notes.append("The file holds several pictures; the first one is used.")
    upright, diagonals = _metadata(image, notes)
    # JPEG can be decoded at a half, quarter or eighth of its size, which saves the memory of a huge one.
    image.draft(None, (MAX_SIDE, MAX_SIDE))
    image.load()
    pixels = _eight_bits(image, notes)
    if upright is not None:
        pixels = pixels.transpose(upright)
    if max(size) > MAX_SIDE:
        factor = MAX_SIDE / max(pixels.size)
        smaller = max(1, round(pixels.width * factor)), max(1, round(pixels.height * factor))
        pixels = pixels.resize(smaller, Image.Resampling.LANCZOS)
        notes.append(f"The photo has {size[0]}x{size[1]} pixels; it was reduced to {pixels.width}x{pixels.height}.")
    final = np.array(_to_srgb(pixels, image.info.get("icc_profile"), notes))
    alpha = final[..., 3] if final.shape[2] == 4 and final[..., 3].min() < _OPAQUE else None
    focal = None if diagonals is None else diagonals * math.hypot(*pixels.size)
    return PhotoFile(np.ascontiguousarray(final[..., :3]), alpha, focal, tuple(notes))


def _frames(image: Image.Image) -> int:
    """Pictures in the file; a phone's JPEG that carries a second one beside the photo (MPO) counts as one."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _metadata(image: Image.Image, notes: list[str]) -> tuple[Image.Transpose | None, float | None]:
    """What makes the image upright, and its focal length in image diagonals."""
    try:
        exif = image.getexif()
        return _UPRIGHT.get(exif.get(_TAG_ORIENTATION, 1)), _focal_in_diagonals(exif, image.size)
    except Exception:  # as with the pixels, anything can come out of damaged metadata
        notes.append("The photo's metadata is damaged and was left out; check that the portrait is upright.")
        return None, None


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Modes RGB, RGBA or CMYK."""
    if image.mode in ("1", "L", "LA") or image.mode.startswith(("I", "F")):
        notes.append("The photo is black and white, and so will the portrait be.")
    if image.mode.startswith(("I", "F")):
        return _deep_gray(image)
    if image.mode == "CMYK":
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _deep_gray(image: Image.Image) -> Image.Image:
    """16-bit gray by its upper byte; 32-bit and floating-point gray, whose white is not known, by its range."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    gray = np.nan_to_num((values - low) / max(high - low, 1e-9)).clip(0, 1)
    return Image.fromarray((gray * 255).round().astype(np.uint8)).convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """RGB or RGBA, by the embedded color profile where there is one (phones: Display P3)."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if profile:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode=mode)
            assert converted is not None  # only None when converting in place
            return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # damaged, or of another color space than the pixels, such as that of a gray photo
    if image.mode == "CMYK":
        notes.append("The photo is CMYK without a usable color profile; its colors may be off.")
    return image.convert(mode)


def _focal_in_diagonals(exif: Image.Exif, size: tuple[int, int]) -> float | None:
    """Focal length in image diagonals, from the 35 mm equivalent or the resolution of the focal plane (EXIF 2.3).

    Both describe the whole sensor: a photo whose sides are in no sensor's ratio, or in another one than when the camera
    wrote it, was cropped and tells nothing.
    """
    details = exif.get_ifd(_TAG_EXIF)

    def number(tag: int) -> float:
        try:
            value = float(details.get(tag, 0))
        except (TypeError, ValueError, ZeroDivisionError):
            return 0.0
        return value if math.isfinite(value) else 0.0

    ratio = max(size) / min(size)
    written = number(_TAG_WIDTH), number(_TAG_HEIGHT)
    as_written = max(written) / min(written) if min(written) > 0 else ratio
    if abs(ratio / as_written - 1) > 0.02 or not any(abs(ratio / known - 1) < 0.02 for known in _SENSOR_RATIOS):
        return None
    diagonals = number(_TAG_FOCAL_35MM) / _FILM_DIAGONAL
    if not diagonals:
        unit = _UNIT_MM.get(details.get(_TAG_PLANE_UNIT, 2), 25.4)
        # Pixels per millimeter, of the size at which the camera wrote the file.
        pixels = number(_TAG_FOCAL) * number(_TAG_PLANE_RESOLUTION) / unit
        diagonals = pixels / math.hypot(written[0] or size[0], written[1] or size[1])
    # Outside a fisheye's and a telescope's it is a mistake.
    return diagonals if 0.2 < diagonals < 20 else None
