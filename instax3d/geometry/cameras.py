"""Cameras on an orbit, and `transforms.json` files as nerfstudio, instant-ngp and Blender (NeRF) write them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from instax3d.errors import CaptureError
from instax3d.io.files import write_text
from instax3d.io.images import open_image
from instax3d.types import Cameras

_FLIP = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
"""OpenGL cameras look along -z with y up, OpenCV cameras along +z with y down."""
_ORIGIN = (0.0, 0.0, 0.0)
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE")
_MAX_SIDE = 16384
"""Of an image, pixels; larger ones are taken for mistakes."""
_ROTATION_TOLERANCE = 5e-3
"""Largest deviation of a rotation from orthogonality: accepts files rounded to three digits."""
_MAX_NUMBER = 1e12
"""Larger numbers in files are taken for mistakes."""


def orbit(
    azimuths_deg: Sequence[float],
    elevations_deg: Sequence[float],
    *,
    radius: float,
    size: int | tuple[int, int],
    focal: float | None = None,
    fov_deg: float | None = None,
    center: Sequence[float] = _ORIGIN,
) -> Cameras:
    """Cameras on a sphere that look at its center, with y up in the image.

    Args:
        azimuths_deg: 0 is in front of the face (+z), 90 at the subject's left (+x).
        elevations_deg: one per azimuth, positive above; ±90 is allowed.
        radius: distance from ``center`` in world units.
        size: side of a square image, or (width, height), pixels.
        focal: focal length in pixels; give this or ``fov_deg``.
        fov_deg: horizontal angle of view, degrees.
        center: point that they look at, world units.

    Raises:
        ValueError: lengths differ, or not exactly one of ``focal`` and ``fov_deg`` is given.
    """
    if len(azimuths_deg) != len(elevations_deg):
        raise ValueError(f"{len(azimuths_deg)} azimuths but {len(elevations_deg)} elevations")
    width, height = (size, size) if isinstance(size, int) else size
    if (focal is None) == (fov_deg is None):
        raise ValueError("give either focal or fov_deg, not both")
    if focal is None:
        assert fov_deg is not None
        focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
    azimuth = torch.tensor(azimuths_deg, dtype=torch.float64).deg2rad()
    elevation = torch.tensor(elevations_deg, dtype=torch.float64).deg2rad()
    zero = torch.zeros_like(azimuth)
    # Built from the angles rather than from an up direction, so that the poles are not special.
    outward = torch.stack([elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()], dim=-1)
    right = torch.stack([azimuth.cos(), zero, -azimuth.sin()], dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(right, outward), -outward], dim=1)
    positions = torch.tensor(center, dtype=torch.float64) + radius * outward
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Cameras(_world_to_camera(rotation, positions).float(), K.repeat(len(azimuth), 1, 1), width, height)


def opengl_to_opencv(camera_to_world: Float[Tensor, "views 4 4"]) -> Float[Tensor, "views 4 4"]:
    """OpenGL camera-to-world matrices (rigid) to OpenCV world-to-camera ones."""
    return _inverse(camera_to_world * _FLIP.to(camera_to_world))


def opencv_to_opengl(viewmats: Float[Tensor, "views 4 4"]) -> Float[Tensor, "views 4 4"]:
    """OpenCV world-to-camera matrices (rigid) to OpenGL camera-to-world ones: the inverse of `opengl_to_opencv`."""
    return _inverse(viewmats) * _FLIP.to(viewmats)


def _world_to_camera(
    rotation: Float[Tensor, "views 3 3"], positions: Float[Tensor, "views 3"]
) -> Float[Tensor, "views 4 4"]:
    """World-to-camera matrices; the rows of ``rotation`` are the camera's right, down and forward in the world."""
    matrices = torch.eye(4, dtype=rotation.dtype, device=rotation.device).repeat(len(rotation), 1, 1)
    matrices[:, :3, :3] = rotation
    matrices[:, :3, 3] = -(rotation @ positions[..., None])[..., 0]
    return matrices


def _inverse(rigid: Float[Tensor, "views 4 4"]) -> Float[Tensor, "views 4 4"]:
    return _world_to_camera(rigid[:, :3, :3].transpose(1, 2), rigid[:, :3, 3])


def read_transforms(path: Path) -> tuple[Cameras, tuple[Path, ...]]:
    """Cameras and image files of a `transforms.json` in the style of nerfstudio, instant-ngp or Blender (NeRF).

    The file's matrices are OpenGL camera-to-world; its world and units are kept. Intrinsics (``fl_x``, ``fl_y``,
    ``cx``, ``cy``, ``w``, ``h`` in pixels, or ``camera_angle_x`` in radians) are at the top level or in a frame. Images
    are opened only where the file does not give their size, and only their headers are read; a ``file_path`` without
    suffix means PNG. `Cameras.names` are the frames' paths as in the file.

    Raises:
        CaptureError: the file, a frame or an image is missing or wrong; says which, and what to do.
    """
    top = _load(path)
    frames = top.get("frames")
    if not isinstance(frames, list) or not frames:
        raise CaptureError(f'{path} lists no frames: it needs "frames", one entry per image')
    parsed = [_Frame.parse(_Fields(path, index, frame, top)) for index, frame in enumerate(frames)]
    first = parsed[0]
    named: dict[str, int] = {}
    for index, frame in enumerate(parsed):
        if (frame.width, frame.height) != (first.width, first.height):
            raise CaptureError(
                f"{path}: all frames must have one size, but frame {index} ({frame.name}) is "
                f"{frame.width}x{frame.height} and frame 0 is {first.width}x{first.height}; "
                "resize the images and their intrinsics"
            )
        if named.setdefault(frame.name, index) != index:
            raise CaptureError(f"{path}: frames {named[frame.name]} and {index} are both {frame.name}; remove one")
    viewmats = opengl_to_opencv(torch.stack([frame.camera_to_world for frame in parsed])).float()
    Ks = torch.stack([frame.K for frame in parsed])
    return Cameras(viewmats, Ks, first.width, first.height, tuple(named)), tuple(frame.file for frame in parsed)


def write_transforms(
    path: Path, cameras: Cameras, files: Sequence[str], extra: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Write nerfstudio's `transforms.json` atomically, with intrinsics at the top level where all cameras share them.

    Args:
        files: one image path per camera, relative to the file's folder, with forward slashes.
        extra: further entries for each frame, such as its confidence.

    Raises:
        OSError: the file cannot be written.
        ValueError: lengths differ, or a camera is skewed, which the format cannot express.
    """
    if len(files) != len(cameras) or (extra is not None and len(extra) != len(cameras)):
        raise ValueError(f"{len(cameras)} cameras need as many files and extra entries")
    if (cameras.Ks[:, 0, 1] != 0).any():
        raise ValueError("a transforms file cannot hold skewed intrinsics")
    intrinsics = [_intrinsics(K, cameras.width) for K in cameras.Ks.double().cpu()]
    shared = all(entry == intrinsics[0] for entry in intrinsics)
    matrices = opencv_to_opengl(cameras.viewmats.double().cpu()).tolist()
    frames = [
        {"file_path": file, **({} if shared else intrinsics[index]), "transform_matrix": matrices[index]}
        | dict(extra[index] if extra is not None else {})
        for index, file in enumerate(files)
    ]
    top = {"camera_model": "OPENCV", "w": cameras.width, "h": cameras.height, **(intrinsics[0] if shared else {})}
    write_text(path, json.dumps({**top, "frames": frames}, indent=1, allow_nan=False) + "\n")


def _intrinsics(K: Float[Tensor, "3 3"], width: int) -> dict[str, float]:
    (fx, _, cx), (_, fy, cy), _ = K.tolist()
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "camera_angle_x": 2 * math.atan(width / (2 * fx))}


def _load(path: Path) -> dict[str, Any]:
    try:
        top = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaptureError(f"there is no file {path}; give the path of a transforms.json") from None
    except OSError as error:
        raise CaptureError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path} is not valid JSON ({error}); export the cameras again") from error
    if not isinstance(top, dict):
        raise CaptureError(f'{path} must be a JSON object with "frames", not {_short(top)}')
    return top


@dataclass(frozen=True)
class _Fields:
    """The fields of one frame in a file, with errors that name it."""

    path: Path
    index: int
    frame: Any
    top: Mapping[str, Any]

    def error(self, problem: str) -> CaptureError:
        """The error that file and frame have this problem."""
        name = self.frame.get("file_path") if isinstance(self.frame, dict) else None
        return CaptureError(f"{self.path}: frame {self.index}{f' ({name})' if isinstance(name, str) else ''} {problem}")

    def number(self, key: str) -> float | None:
        """The frame's own value, else the file's; None where neither has one.

        Raises:
            CaptureError: it is not a finite number.
        """
        value = self.frame.get(key, self.top.get(key))
        if value is None:
            return None
        if not _is_number(value):
            raise self.error(f"has {key} = {_short(value)}; it must be a finite number")
        return float(value)

    def positive(self, key: str) -> float | None:
        """`number`, which must be positive.

        Raises:
            CaptureError: it is not.
        """
        value = self.number(key)
        if value is not None and value <= 0:
            raise self.error(f"has {key} = {value:g}; it must be positive")
        return value


@dataclass(frozen=True, eq=False)
class _Frame:
    """One frame, validated."""

    name: str
    file: Path
    camera_to_world: Float[Tensor, "4 4"]
    """OpenGL axes, float64."""
    K: Float[Tensor, "3 3"]
    width: int
    height: int

    @classmethod
    def parse(cls, fields: _Fields) -> "_Frame":
        """Validate the fields of a frame.

        Raises:
            CaptureError: a field is missing or wrong.
        """
        if not isinstance(fields.frame, dict):
            raise fields.error("is not a JSON object")
        _check_pinhole(fields)
        name, file = _image_file(fields)
        width, height = _size(fields, file)
        fl_x = fields.positive("fl_x")
        if fl_x is None:
            angle = fields.positive("camera_angle_x")
            if angle is None:
                raise fields.error("has no focal length; add fl_x (pixels) or camera_angle_x (radians)")
            if angle >= math.pi:
                raise fields.error(f"has camera_angle_x = {angle:g}; it must be in radians, under 3.14")
            fl_x = width / (2 * math.tan(angle / 2))
        fl_y = fields.positive("fl_y")
        cx, cy = fields.number("cx"), fields.number("cy")
        K = torch.tensor(
            [
                [fl_x, 0.0, width / 2 if cx is None else cx],
                [0.0, fl_x if fl_y is None else fl_y, height / 2 if cy is None else cy],
                [0.0, 0.0, 1.0],
            ]
        )
        return cls(name, file, _camera_to_world(fields), K, width, height)


def _check_pinhole(fields: _Fields) -> None:
    """Refuse all but pinhole cameras: no others can be rendered."""
    model = fields.frame.get("camera_model", fields.top.get("camera_model", "OPENCV"))
    if model not in _PINHOLE_MODELS:
        known = ", ".join(_PINHOLE_MODELS)
        raise fields.error(
            f"has camera_model {_short(model)}, but only {known} can be used; undistort the images first"
        )
    distorted = [f"{key} = {value:g}" for key in _DISTORTION if abs(value := fields.number(key) or 0.0) > 1e-6]
    if distorted:
        raise fields.error(
            f"has lens distortion ({', '.join(distorted)}), which is not supported; undistort the images first "
            "(COLMAP: image_undistorter) and leave the coefficients out"
        )


def _image_file(fields: _Fields) -> tuple[str, Path]:
    """The frame's path as in the file but with a suffix, and the image file that it means, which may not exist."""
    name = fields.frame.get("file_path")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise fields.error(f'needs "file_path", the path of its image, but has {_short(name)}')
    relative = PurePosixPath(name)
    if not relative.name:
        raise fields.error(f'has "file_path" {_short(name)}, which is not the name of a file')
    if relative.suffix.lower() not in Image.registered_extensions():
        relative = relative.with_name(relative.name + ".png")
    return str(relative), fields.path.parent / relative


def _size(fields: _Fields, file: Path) -> tuple[int, int]:
    """Width and height in pixels, from the file or else from the image."""
    width, height = fields.positive("w"), fields.positive("h")
    if width is None or height is None:
        try:
            with open_image(file) as image:
                return image.size
        except FileNotFoundError:
            raise fields.error(
                f"has no image at {file}, and the file does not give its size; add w and h, or the image"
            ) from None
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise fields.error(f"has an image that cannot be read ({error})") from error
    for key, value in (("w", width), ("h", height)):
        if value != round(value) or value > _MAX_SIDE:
            raise fields.error(f"has {key} = {value:g}; it must be a whole number of pixels up to {_MAX_SIDE}")
    return round(width), round(height)


def _camera_to_world(fields: _Fields) -> Float[Tensor, "4 4"]:
    """The frame's matrix, with its rotation made orthogonal again after rounding."""
    value = fields.frame.get("transform_matrix")
    rows = value if isinstance(value, list) else []
    shapes = [len(row) if isinstance(row, list) else 0 for row in rows]
    if shapes not in ([4, 4, 4, 4], [4, 4, 4]):
        raise fields.error('needs "transform_matrix", four rows of four numbers (camera to world)')
    if not all(_is_number(entry) for row in rows for entry in row):
        raise fields.error("has a transform_matrix with entries that are not finite numbers")
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[: len(rows)] = torch.tensor(rows, dtype=torch.float64)
    if not torch.allclose(matrix[3], torch.tensor([0.0, 0, 0, 1], dtype=torch.float64)):
        raise fields.error("has a transform_matrix whose last row is not 0 0 0 1; give camera to world, row by row")
    rotation = matrix[:3, :3]
    error = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max()
    if not error <= _ROTATION_TOLERANCE or torch.det(rotation) < 0:
        raise fields.error("has a transform_matrix that scales, shears or mirrors; give a rotation and a translation")
    U, _, Vh = torch.linalg.svd(rotation)
    matrix[:3, :3] = U @ Vh
    return matrix


def _is_number(value: object) -> bool:
    """Whether a JSON value is a number that float32 can hold; JSON also has NaN, Infinity and huge integers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


def _short(value: object) -> str:
    """As JSON, at most 40 characters."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
