"""FLAME's files: official pickles, landmark embeddings and masks, and this project's safe .npz."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from instax3d.errors import AssetError
from instax3d.io.files import atomic
from instax3d.io.safeload import read_npy, read_pickle

from .config import Version

SHAPES, EXPRESSIONS = 300, 100
PARENTS = (-1, 0, 1, 1, 1)
"""Of root, neck, jaw, left and right eye."""
FORMAT = 1
"""Of the converted .npz."""
OFFICIAL_NAMES: Mapping[str, Version] = {
    "generic_model.pkl": "2020",
    "flame2020.pkl": "2020",
    "flame2023.pkl": "2023",
    "flame2023_no_jaw.pkl": "2023",
    "flame2023_open.pkl": "2023-open",
}
"""In lower case. The releases share a layout, and nothing inside a file states its version: only the name does."""

VersionOrUnknown = Literal["2020", "2023", "2023-open", "unknown"]


@dataclass(frozen=True, eq=False)
class LandmarkEmbedding:
    """FLAME's embedding of the 68 landmarks: triangles and barycentric weights."""

    static_faces: Int[ndarray, "51"]
    static_weights: Float[ndarray, "51 3"]
    """Of brows, nose, eyes and mouth."""
    dynamic_faces: Int[ndarray, "79 17"]
    dynamic_weights: Float[ndarray, "79 17 3"]
    """Of the visible jaw line by the head's yaw: rows 0 to 39 degrees, then -1 to -39."""
    full_faces: Int[ndarray, "68"] | None = None
    full_weights: Float[ndarray, "68 3"] | None = None
    """Of all 68, fixed to the skin, where the file has them."""


@dataclass(frozen=True, eq=False)
class FlameData:
    """One FLAME model in float64; meters, y up, face towards +z."""

    version: VersionOrUnknown
    template: Float[ndarray, "vertices 3"]
    faces: Int[ndarray, "faces 3"]
    directions: Float[ndarray, "vertices 3 400"]
    """300 shape and 100 expression components, each for one standard deviation."""
    corrections: Float[ndarray, "vertices 3 36"]
    """By the entries of the rotations of neck, jaw and eyes less the identity."""
    regressor: Float[ndarray, "5 vertices"]
    weights: Float[ndarray, "vertices 5"]
    landmarks: LandmarkEmbedding | None = None
    masks: Mapping[str, Int[ndarray, "_"]] | None = None

    @property
    def identity(self) -> str:
        """A digest of what the parameters mean: parameters transfer only between models that share it."""
        digest = hashlib.sha256()
        for part in (self.template, self.directions, self.corrections, self.regressor, self.weights):
            digest.update(np.ascontiguousarray(part, "<f8").tobytes())
        return digest.hexdigest()[:16]


def read_model(path: Path, version: Version | None = None) -> FlameData:
    """An official pickle, or a converted .npz.

    Args:
        path: the file.
        version: what the user says it is.

    Raises:
        UnsafeFileError: the pickle holds more than a model.
        AssetError: it is not a FLAME model, or is known to be another version.
    """
    data = _from_npz(path) if path.suffix == ".npz" else _from_pickle(path)
    known = data.version
    if version is not None and known not in ("unknown", version):
        raise AssetError(
            f"{path} is FLAME {known}, not {version}; parameters of one version do not fit another, so correct "
            "the option `version` or the path"
        )
    return data if version is None else FlameData(**{**vars(data), "version": version})


def _from_pickle(path: Path) -> FlameData:
    stored = read_pickle(path)
    if not isinstance(stored, dict):
        raise AssetError(f"{path} is not a FLAME model: it holds no dictionary")
    try:
        parents = np.asarray(stored["kintree_table"])[0].astype(np.uint32).astype(np.int32)
        regressor = stored["J_regressor"]
        data = FlameData(
            OFFICIAL_NAMES.get(path.name.lower(), "unknown"),
            np.asarray(stored["v_template"], np.float64),
            np.asarray(stored["f"]).astype(np.int64),
            np.asarray(stored["shapedirs"], np.float64),
            np.asarray(stored["posedirs"], np.float64),
            np.asarray(regressor.toarray() if hasattr(regressor, "toarray") else regressor, np.float64),
            np.asarray(stored["weights"], np.float64),
        )
    except KeyError as error:
        raise AssetError(f"{path} is not a FLAME model: it has no {error}") from error
    except (TypeError, ValueError, IndexError) as error:
        raise AssetError(f"{path} is not a FLAME model ({error})") from error
    if tuple(parents) != PARENTS:
        raise AssetError(f"{path} is not a FLAME model: its joints have the parents {parents.tolist()}")
    _check(data, path)
    return data


def _check(data: FlameData, path: Path) -> None:
    count = len(data.template)
    expected = {
        "template": (count, 3),
        "directions": (count, 3, SHAPES + EXPRESSIONS),
        "corrections": (count, 3, 36),
        "regressor": (5, count),
        "weights": (count, 5),
    }
    for name, shape in expected.items():
        array = getattr(data, name)
        if array.shape != shape or not np.isfinite(array).all():
            raise AssetError(f"{path} is not a FLAME model: its {name} are {array.shape}, not {shape}, or not finite")
    if data.faces.ndim != 2 or data.faces.shape[1] != 3 or data.faces.min() < 0 or data.faces.max() >= count:
        raise AssetError(f"{path} is not a FLAME model: its triangles name vertices that are not there")


def read_landmarks(path: Path) -> LandmarkEmbedding:
    """DECA's ``landmark_embedding.npy``, or a folder with FLAME_PyTorch's ``flame_static_embedding.pkl`` and
    ``flame_dynamic_embedding.npy``.

    Raises:
        UnsafeFileError: a file holds more than numbers.
        AssetError: they are not these landmarks.
    """
    try:
        if path.is_dir():
            static = read_pickle(path / "flame_static_embedding.pkl")
            dynamic = read_npy(path / "flame_dynamic_embedding.npy")
            return LandmarkEmbedding(
                _ints(static["lmk_face_idx"]),
                _floats(static["lmk_b_coords"]),
                _ints(dynamic["lmk_face_idx"]),
                _floats(dynamic["lmk_b_coords"]),
            )
        stored = read_npy(path)
        return LandmarkEmbedding(
            _ints(stored["static_lmk_faces_idx"])[:51],
            _floats(stored["static_lmk_bary_coords"])[:51],
            _ints(stored["dynamic_lmk_faces_idx"]),
            _floats(stored["dynamic_lmk_bary_coords"]),
            _ints(stored["full_lmk_faces_idx"])[0, :68],
            _floats(stored["full_lmk_bary_coords"])[0, :68],
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise AssetError(f"{path} holds no landmarks of FLAME ({type(error).__name__}: {error})") from error


def read_masks(path: Path) -> dict[str, Int[ndarray, "_"]]:
    """``FLAME_masks.pkl``: vertices by the part's name.

    Raises:
        UnsafeFileError: it holds more than numbers.
        AssetError: it holds no masks.
    """
    masks = read_pickle(path)
    if not isinstance(masks, dict):
        raise AssetError(f"{path} holds no masks of FLAME")
    return {str(name): _ints(vertices).ravel() for name, vertices in masks.items()}


def _ints(values: Any) -> Int[ndarray, "..."]:
    return np.asarray(values).astype(np.int64)


def _floats(values: Any) -> Float[ndarray, "..."]:
    return np.asarray(values, np.float64)


_ARRAYS = ("template", "faces", "directions", "corrections", "regressor", "weights")
_LANDMARKS = tuple(LandmarkEmbedding.__dataclass_fields__)


def write_npz(path: Path, data: FlameData) -> None:
    """Write a model, with landmarks and masks where it has them, so that it can be read without unpickling.

    Raises:
        AssetError: the file cannot be written.
    """
    arrays = {name: getattr(data, name) for name in _ARRAYS}
    if data.landmarks is not None:
        parts = {name: getattr(data.landmarks, name) for name in _LANDMARKS}
        arrays |= {f"landmarks {name}": part for name, part in parts.items() if part is not None}
    if data.masks is not None:
        arrays |= {f"mask {name}": vertices for name, vertices in data.masks.items()}
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, format=np.array(FORMAT), version=np.array(data.version), **arrays)
    except OSError as error:
        raise AssetError(f"cannot write {path}: {error.strerror or error}") from error


def _from_npz(path: Path) -> FlameData:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        version = str(arrays["version"])
        if int(arrays["format"]) > FORMAT:
            raise AssetError(f"{path} was converted by a newer instax3d; update yours")
        if version not in get_args(VersionOrUnknown):
            raise AssetError(f"{path} has the unknown version {version!r}; convert the model again")
        landmarks = {name: arrays[key] for name in _LANDMARKS if (key := f"landmarks {name}") in arrays}
        masks = {name.removeprefix("mask "): v for name, v in arrays.items() if name.startswith("mask ")}
        data = FlameData(
            version,  # type: ignore[arg-type]
            **{name: arrays[name] for name in _ARRAYS},
            landmarks=LandmarkEmbedding(**landmarks) if landmarks else None,
            masks=masks or None,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise AssetError(
            f"{path} is not a converted FLAME model ({type(error).__name__}: {error}); make it with "
            "`instax3d assets convert-flame`"
        ) from error
    _check(data, path)
    return data
