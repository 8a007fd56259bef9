"""Images inside a page: JPEG data as a URL."""

import base64
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_QUALITY = 84


def as_jpeg_url(pixels: UInt8[np.ndarray, "h w 3"], *, widest: int = 1100) -> str:
    """RGB pixels as a data URL, reduced to ``widest`` pixels."""
    return _url(Image.fromarray(pixels), widest)


def file_as_jpeg_url(file: Path | io.BytesIO, *, widest: int = 1100) -> str:
    """An image file as a data URL, reduced to ``widest`` pixels.

    Raises:
        OSError: it cannot be read.
    """
    with Image.open(file) as image:
        return _url(image.convert("RGB"), widest)


def _url(image: Image.Image, widest: int) -> str:
    image.thumbnail((widest, widest))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
