"""A portrait at a glance: a turntable video, and a contact sheet."""

import math
from pathlib import Path

import imageio_ffmpeg
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from instax3d.errors import PortraitError
from instax3d.io.files import atomic
from instax3d.io.images import to_uint8, write_png

_SHEET_SIDE = 2048
"""Longest side of a contact sheet, pixels."""
_GAP = 4
"""White between the images of a contact sheet, pixels."""
# Tagged as BT.709, so that every player shows the same colors; +faststart lets browsers play while loading.
_ENCODING = [
    *("-crf", "18", "-preset", "medium", "-movflags", "+faststart"),
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
]  # fmt: skip


def write_video(path: Path, images: Float[Tensor, "frames 3 h w"], *, fps: int = 30) -> None:
    """Write an H.264 video (MP4, yuv420p) in one step; odd sizes are padded by one row or column, as the codec wants.

    Raises:
        OSError: the file cannot be written.
        PortraitError: there is no ffmpeg for this machine, or it fails.
    """
    height, width = images.shape[2:]
    even = functional.pad(images, (0, width % 2, 0, height % 2), mode="replicate")
    try:
        with atomic(path) as temporary:
            writer = imageio_ffmpeg.write_frames(
                str(temporary),
                (even.shape[3], even.shape[2]),
                fps=fps,
                codec="libx264",
                quality=None,
                macro_block_size=1,
                ffmpeg_log_level="error",
                output_params=_ENCODING,
            )
            writer.send(None)
            try:
                for image in even:
                    writer.send(to_uint8(image).numpy())
            finally:
                writer.close()
    except RuntimeError as error:
        raise PortraitError(
            f"{path.name} could not be encoded ({error}); run: pip install --force-reinstall imageio-ffmpeg"
        ) from error


def write_contact_sheet(
    path: Path, images: Float[Tensor, "views 3 h w"], *, first: Float[Tensor, "3 h2 w2"] | None = None
) -> None:
    """Write a PNG with all images side by side in one step.

    Args:
        first: shown before the others, fitted into a cell of theirs; the photo, to compare with.

    Raises:
        OSError: the file cannot be written.
    """
    height, width = images.shape[2:]
    cells = list(images.detach().cpu())
    if first is not None:
        cells.insert(0, _contained(first.detach().cpu(), height, width))
    columns = _columns(len(cells))
    rows = math.ceil(len(cells) / columns)
    shrink = min(1.0, _SHEET_SIDE / max(columns * width, rows * height))
    cell_height, cell_width = max(1, round(height * shrink)), max(1, round(width * shrink))
    sheet = torch.ones(3, rows * (cell_height + _GAP) - _GAP, columns * (cell_width + _GAP) - _GAP)
    for index, cell in enumerate(cells):
        top, left = index // columns * (cell_height + _GAP), index % columns * (cell_width + _GAP)
        sheet[:, top : top + cell_height, left : left + cell_width] = _resized(cell, cell_height, cell_width)
    write_png(path, sheet)


def _columns(count: int) -> int:
    """A little wider than high, with the fewest empty cells."""
    square = math.ceil(math.sqrt(count))
    return min(range(square, square + 3), key=lambda columns: (-count % columns, columns))


def _contained(image: Float[Tensor, "3 h w"], height: int, width: int) -> Float[Tensor, "3 h2 w2"]:
    """The whole image in the middle of a white cell."""
    factor = min(height / image.shape[1], width / image.shape[2])
    inner = _resized(image, max(1, round(image.shape[1] * factor)), max(1, round(image.shape[2] * factor)))
    top, left = (height - inner.shape[1]) // 2, (width - inner.shape[2]) // 2
    cell = torch.ones(3, height, width)
    cell[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
    return cell


def _resized(image: Float[Tensor, "3 h w"], height: int, width: int) -> Float[Tensor, "3 h2 w2"]:
    if image.shape[1:] == (height, width):
        return image
    resized = functional.interpolate(image[None], (height, width), mode="bicubic", antialias=True)
    return resized[0].clamp(0, 1)
