"""Parameters of FLAME in other programs' formats: DECA's codes, VHAP's and GaussianAvatars' flame_param.npz.

This project's own form is the ``parameters.npz`` of ``instax3d fit``: ``shape``, ``expression``, ``pose`` [joints, 3]
(axis-angle; root, neck, jaw, left eye, right eye), the head's place in the world as ``rotation`` [3, 3],
``translation`` [3] and ``scale`` (world units per meter), and the ``model`` and its ``identity``.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from instax3d.errors import AssetError
from instax3d.heads.head_parameters import FittedHead, read_head, write_head
from instax3d.io.files import atomic

DECA_SHAPES, DECA_EXPRESSIONS = 100, 50
ROOT, NECK, JAW, EYES = 0, 1, 2, slice(3, 5)


def from_deca(source: Path, output: Path) -> str:
    """DECA's codes (``shape`` 100, ``exp`` 50, ``pose`` 6: global and jaw; a batch of one or none) to a head.

    DECA's head stands at the origin; its camera is not converted.
    """
    codes = _read(source)
    pose = _row(codes, "pose", source, 6)
    full_pose = np.zeros((5, 3), np.float32)
    full_pose[ROOT], full_pose[JAW] = pose[:3], pose[3:]
    write_head(
        output, FittedHead("flame-unknown", "", _row(codes, "shape", source), _row(codes, "exp", source), full_pose)
    )
    return f"{output}: DECA's codes state neither the FLAME version nor the camera; DECA uses FLAME 2020"


def to_deca(source: Path, output: Path) -> str:
    """A head to DECA's codes: its first 100 shape and 50 expression components; the place goes into the global pose.

    DECA's codes have no neck and no eyes: a head that rotates them is refused rather than changed.
    """
    head = _flame(source)
    if np.abs(head.pose[[NECK, 3, 4]]).max() > 1e-6:
        raise AssetError(f"{source} rotates neck or eyes, which DECA's codes do not have; use convert-to-vhap")
    turn = Rotation.from_matrix(head.rotation) * Rotation.from_rotvec(head.pose[ROOT])
    pose = np.concatenate([turn.as_rotvec(), head.pose[JAW]]).astype(np.float32)
    shape, shape_rest = _cut(head.shape, DECA_SHAPES)
    expression, expression_rest = _cut(head.expression, DECA_EXPRESSIONS)
    _write(output, {"shape": shape[None], "exp": expression[None], "pose": pose[None]})
    dropped = f"; components beyond DECA's were dropped, the largest {max(shape_rest, expression_rest):.2f} sigma"
    return f"{output}: of {head.model}{dropped if max(shape_rest, expression_rest) > 0 else ''}"


def from_vhap(source: Path, output: Path) -> str:
    """The first frame of a ``flame_param.npz``: shape, expr, rotation, neck_pose, jaw_pose, eyes_pose, translation.

    Its rotation turns about FLAME's root joint and its translation is added to the vertices, as here the pose's root
    and ``translation``. ``static_offset``, which moves single vertices, is refused unless it is zero.
    """
    arrays = _read(source)
    if "static_offset" in arrays and np.abs(arrays["static_offset"]).max() > 0:
        raise AssetError(f"{source} moves single vertices (static_offset), which FLAME parameters cannot express")
    eyes = _row(arrays, "eyes_pose", source, 6).reshape(2, 3)
    joints = [_row(arrays, name, source, 3) for name in ("rotation", "neck_pose", "jaw_pose")]
    head = FittedHead(
        "flame-unknown",
        "",
        _row(arrays, "shape", source),
        _row(arrays, "expr", source),
        np.vstack([*joints, eyes]).astype(np.float32),
        translation=_row(arrays, "translation", source, 3),
    )
    write_head(output, head)
    frames = np.atleast_2d(arrays["expr"]).shape[0]
    return f"{output}: the first of {frames} frames; the file does not state the FLAME version"


def to_vhap(source: Path, output: Path) -> str:
    """A head to a ``flame_param.npz`` of one frame, as GaussianAvatars reads it, in the head's own units (meters).

    GaussianAvatars turns about the root joint while ``rotation`` here turns about the origin: the translation takes
    up the difference, which needs the model's root joint; so a placed head must have been written with it.
    """
    head = _flame(source)
    if head.root is None and np.abs(head.rotation - np.eye(3)).max() > 1e-6:
        raise AssetError(
            f"{source} does not hold the root joint, about which GaussianAvatars rotates the head; fit it again"
        )
    root = np.zeros(3) if head.root is None else head.root
    turn = Rotation.from_matrix(head.rotation)
    # world = s (R (R_root (x - j) + j)) + t = s (R R_root (x - j) + j) + s (R j - j) + t
    rotation = (turn * Rotation.from_rotvec(head.pose[ROOT])).as_rotvec()
    translation = (head.rotation @ root - root) + head.translation / head.scale
    expression = np.zeros(100, np.float32)
    expression[: len(head.expression)] = head.expression
    shape = np.zeros(300, np.float32)
    shape[: len(head.shape)] = head.shape
    _write(
        output,
        {
            "shape": shape,
            "expr": expression[None],
            "rotation": rotation[None].astype(np.float32),
            "neck_pose": head.pose[NECK][None],
            "jaw_pose": head.pose[JAW][None],
            "eyes_pose": head.pose[EYES].reshape(1, 6),
            "translation": translation[None].astype(np.float32),
            "static_offset": np.zeros((1, 5023, 3), np.float32),
        },
    )
    units = "" if abs(head.scale - 1) < 1e-6 else f"; divide the world by {head.scale:.6g} to have it in meters"
    return f"{output}: one frame of {head.model}{units}"


def _flame(source: Path) -> FittedHead:
    head = read_head(source)
    if not head.model.startswith("flame"):
        raise AssetError(f"{source} holds parameters of {head.model}, not of FLAME; they do not transfer")
    return head


def _read(path: Path) -> dict[str, ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise AssetError(f"cannot read {path} as an .npz of numbers ({error})") from error


def _row(arrays: Mapping[str, ndarray], name: str, path: Path, size: int | None = None) -> Float[ndarray, "n"]:
    """The first row of an entry, or the entry itself where it has no rows."""
    if name not in arrays:
        raise AssetError(f"{path} has no {name!r}; it has: {', '.join(sorted(arrays))}")
    row = np.asarray(arrays[name], np.float32)
    row = row.reshape(-1) if row.ndim < 2 else row[0].reshape(-1)
    if size is not None and len(row) != size:
        raise AssetError(f"{name!r} in {path} has {len(row)} numbers, not {size}")
    return row


def _cut(values: Float[ndarray, "n"], count: int) -> tuple[Float[ndarray, "m"], float]:
    """The first ``count`` values, and the largest of the others."""
    cut = np.zeros(count, np.float32)
    cut[: min(count, len(values))] = values[:count]
    return cut, float(np.abs(values[count:]).max()) if len(values) > count else 0.0


def _write(path: Path, arrays: Mapping[str, ndarray]) -> None:
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise AssetError(f"cannot write {path}: {error.strerror or error}") from error
