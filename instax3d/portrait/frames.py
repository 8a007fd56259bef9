"""A portrait from the cameras of a file, one image each."""

from collections import Counter
from pathlib import Path

from instax3d.errors import CaptureError, PortraitError
from instax3d.geometry.cameras import read_transforms
from instax3d.io.files import stays_inside
from instax3d.io.images import write_png

from .portrait import Portrait


def render_frames(portrait: Portrait, cameras_file: Path, folder: Path, *, transparent: bool = False) -> list[Path]:
    """Render a portrait from every camera of a transforms file, one PNG under each frame's own name.

    A frame's name is the last part of its ``file_path``; where two frames share it, the whole relative path is kept,
    without its ``..``.

    Raises:
        CaptureError: the cameras cannot be read, or two frames would have the same name.
        PortraitError: the folder cannot be written.
    """
    cameras, _ = read_transforms(cameras_file)
    written = []
    try:
        for index, name in enumerate(_image_names(cameras.names, cameras_file)):
            image, alpha = portrait.render(cameras[index])
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_png(target, image[0], alpha[0] if transparent else None)
            written.append(target)
    except OSError as error:
        raise PortraitError(f"cannot write to {folder}: {error.strerror or error}") from error
    return written


def _image_names(frames: tuple[str, ...], cameras_file: Path) -> list[str]:
    """Different names of PNG files, none of which leads out of a folder."""
    paths = [Path(frame).with_suffix(".png") for frame in frames]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = ["/".join(part for part in path.parts if part not in ("..", path.anchor)) for path in paths]
    unsafe = [frame for frame, name in zip(frames, names, strict=True) if not stays_inside(name)]
    if unsafe:
        raise CaptureError(f"{cameras_file} names the frame {unsafe[0]!r}, which is not a file name; rename it there")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        alike = [frame for frame, other in zip(frames, names, strict=True) if other == name]
        raise CaptureError(f"{cameras_file}: the frames {', '.join(alike)} would all become {name}; rename them there")
    return names
