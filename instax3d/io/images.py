"""Images between tensors in [0, 1] and eight-bit pixels, and PNG files of them."""

import io
import warnings
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from .files import atomic

_FORMATS = {"AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"}
"""Pillow's other readers are not used: some run programs (EPS), none are for photos."""


def open_image(path: Path) -> Image.Image:
    """Open an image without decoding it, in a format that photos and frames come in.

    Raises:
        OSError: there is no such file, or it is not such an image.
        PIL.Image.DecompressionBombError: it has more than about 170 megapixels.
    """
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about size and odd metadata
        return Image.open(path, formats=sorted(_FORMATS & set(Image.OPEN)))


def to_uint8(image: Float[Tensor, "channels h w"]) -> UInt8[Tensor, "h w channels"]:
    """Channels last, rounded to the nearest of 256 levels; values outside [0, 1] are clipped."""
    return (image.detach().cpu() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def to_float(pixels: UInt8[Tensor, "h w channels"]) -> Float[Tensor, "channels h w"]:
    """Channels first, in [0, 1]; the inverse of `to_uint8`."""
    return pixels.permute(2, 0, 1).to(torch.float32).div(255).contiguous()


def over_white(
    color: Float[Tensor, "*batch 3 h w"], alpha: Float[Tensor, "*batch 1 h w"]
) -> Float[Tensor, "*batch 3 h w"]:
    """Straight (not premultiplied) colors composited over white."""
    return color * alpha + (1 - alpha)


def off_white(
    image: Float[Tensor, "*batch 3 h w"], alpha: Float[Tensor, "*batch 1 h w"]
) -> Float[Tensor, "*batch 3 h w"]:
    """Straight colors that `over_white` turns into ``image`` again; white where nothing covers."""
    color = (image - (1 - alpha)) / alpha.clamp(min=1e-6)
    return torch.where(alpha > 0, color, torch.ones_like(color)).clamp(0, 1)


def png_bytes(image: Float[Tensor, "3 h w"], alpha: Float[Tensor, "1 h w"] | None = None) -> bytes:
    """An eight-bit PNG.

    With ``alpha`` it is RGBA with straight colors, such that laid over white it is ``image`` again.
    """
    if alpha is not None:
        # The alpha that the file will hold, so that rounding it does not shift the colors.
        alpha = to_float(to_uint8(alpha))
        image = torch.cat([off_white(image.detach().cpu(), alpha), alpha])
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: Path, image: Float[Tensor, "3 h w"], alpha: Float[Tensor, "1 h w"] | None = None) -> None:
    """Write an eight-bit PNG (see `png_bytes`) in one step.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(png_bytes(image, alpha))
