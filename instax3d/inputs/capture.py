"""Captures: folders of images with known cameras."""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from instax3d.errors import CaptureError
from instax3d.geometry.cameras import read_transforms
from instax3d.io.images import open_image, over_white, to_float
from instax3d.types import Cameras, Capture

from .true_surface import read_true_surface

_TRAIN, _ALL, _TEST = "transforms_train.json", "transforms.json", "transforms_test.json"
_WHITE = 250
"""Level (of 255) from which a pixel may belong to a white background."""


def read_capture(path: Path) -> Capture:
    """Read the cameras of a capture, and check that every frame exists and has their size.

    Args:
        path: a folder with `transforms_train.json` or `transforms.json` (the first is preferred), or such a file.
            Beside it, `transforms_test.json` gives the held-out frames that portraits are evaluated on, and a mesh or a
            point cloud (`instax3d.inputs.true_surface.SURFACE_FILES`) gives the true surface.

    Raises:
        CaptureError: something is missing or wrong; says which file and frame, and what to do.
    """
    transforms = _transforms_file(path)
    cameras, files = read_transforms(transforms)
    opaque = [_check_frame(transforms, cameras, file) for file in files]
    test = transforms.with_name(_TEST)
    test_cameras: Cameras | None = None
    test_files: tuple[Path, ...] = ()
    if test.is_file() and transforms.name in (_TRAIN, _ALL):
        test_cameras, test_files = read_transforms(test)
        opaque += [_check_frame(test, test_cameras, file) for file in test_files]
    notes: tuple[str, ...] = ()
    if any(opaque):
        notes = (
            f"{sum(opaque)} of {len(opaque)} frames have no transparency: white that touches their border is treated "
            "as background, and any other background becomes part of the portrait.",
        )
    surface = read_true_surface(transforms.parent)
    return Capture(transforms.parent, cameras, files, test_cameras, test_files, notes, surface)


def load_frames(
    cameras: Cameras, files: tuple[Path, ...]
) -> tuple[Float[Tensor, "views 3 h w"], Float[Tensor, "views 1 h w"]]:
    """Images on white (sRGB) and alpha, both in [0, 1], at the cameras' size; larger frames are reduced to it.

    The alpha of frames without transparency is 1, except in white regions that touch their border.

    Args:
        files: one image per camera.

    Raises:
        CaptureError: a frame cannot be read, is too small, or has another aspect ratio than the cameras' images.
    """
    images = torch.empty(len(files), 3, cameras.height, cameras.width)
    alpha = torch.empty(len(files), 1, cameras.height, cameras.width)
    for index, file in enumerate(files):
        pixels = to_float(torch.from_numpy(_pixels(file, cameras.width, cameras.height)))
        images[index] = over_white(pixels[:3], pixels[3:])
        alpha[index] = pixels[3:]
    return images, alpha


def _transforms_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise CaptureError(f"there is no {path}; give a folder with a transforms.json, or the path of that file")
    for name in (_TRAIN, _ALL):
        if (path / name).is_file():
            return path / name
    raise CaptureError(
        f"{path} has neither {_TRAIN} nor {_ALL}; a capture is a folder of images with such a file, which gives each "
        "image's camera (nerfstudio's ns-process-data writes it). For a portrait from one photo, give the image file"
    )


def _check_frame(transforms: Path, cameras: Cameras, file: Path) -> bool:
    """Check a frame's size by its header; returns whether it is opaque."""
    try:
        with open_image(file) as image:
            size, opaque = image.size, not image.has_transparency_data
    except FileNotFoundError:
        raise CaptureError(
            f"{transforms} lists {file}, which does not exist; add the file or remove the frame"
        ) from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise CaptureError(f"{file} cannot be read ({error}); export the frame again as PNG") from error
    if size != (cameras.width, cameras.height):
        raise CaptureError(
            f"{file} has {size[0]}x{size[1]} pixels, but {transforms} says {cameras.width}x{cameras.height}; "
            "correct w, h and the intrinsics, or use the original images"
        )
    return opaque


def _pixels(file: Path, width: int, height: int) -> UInt8[np.ndarray, "h w 4"]:
    """The frame as RGBA with straight alpha, reduced to this size."""
    try:
        with open_image(file) as image:
            opaque = not image.has_transparency_data
            frame = image.convert("RGBA")
    except Exception as error:
        # Pillow's readers raise whatever their parsing meets (OSError, ValueError, struct.error, ...).
        raise CaptureError(f"{file} cannot be read ({error}); export the frame again as PNG") from error
    if frame.width < width or frame.height < height or abs(frame.width * height - frame.height * width) > frame.width:
        raise CaptureError(
            f"{file} has {frame.width}x{frame.height} pixels, but {width}x{height} are needed; use the original images"
        )
    if opaque:
        frame.putalpha(Image.fromarray(_alpha_by_white_background(np.array(frame))))
    if frame.size != (width, height):
        frame = frame.resize((width, height), Image.Resampling.BOX)
    return np.array(frame)


def _alpha_by_white_background(pixels: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w"]:
    """255, except 0 in white regions that touch the border."""
    white: np.ndarray = np.all(pixels[..., :3] >= _WHITE, axis=-1)
    count, regions = cv2.connectedComponents(white.astype(np.uint8), connectivity=4)
    border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    background = np.zeros(count, bool)
    background[border] = True
    background[0] = False  # region 0 is what is not white
    return np.where(background[regions], 0, 255).astype(np.uint8)
