"""Small captures on disk."""

from pathlib import Path

import numpy as np
from PIL import Image

from instax3d.geometry.cameras import orbit, write_transforms

SIZE = (24, 16)


def frame_image(index: int, mode: str = "RGBA") -> Image.Image:
    """A colored block on a transparent or, without alpha, white ground."""
    pixels = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    pixels[4:12, 6:18] = (20 * index, 100, 200, 255)
    image = Image.fromarray(pixels)
    if mode == "RGBA":
        return image
    white = Image.new("RGBA", SIZE, "white")
    white.alpha_composite(image)
    return white.convert("RGB").convert(mode)


def write_capture(folder: Path, name: str = "transforms.json", views: int = 3, mode: str = "RGBA") -> Path:
    prefix = name.removesuffix(".json")
    (folder / prefix).mkdir(parents=True)
    cameras = orbit([10.0 * i for i in range(views)], [0.0] * views, radius=2.0, focal=30.0, size=SIZE)
    names = [f"{prefix}/{index}.png" for index in range(views)]
    for index, file in enumerate(names):
        frame_image(index, mode).save(folder / file)
    write_transforms(folder / name, cameras, names)
    return folder / name
