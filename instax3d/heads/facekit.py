"""Reads ICT-FaceKit, a linear head model (MIT license, USC Institute for Creative Technologies).

Li et al.: Learning Formation of Physically-Based Face Attributes. CVPR 2020. https://github.com/ICT-VGL/ICT-FaceKit
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from instax3d.errors import AssetError
from instax3d.io.files import atomic

SKIN = 11248
"""Number of vertices of face, head and neck, which come first."""
EYEBALLS = slice(21451, 24591)
"""Vertices of both eyeballs in the published mesh; in `FaceKit` they follow the skin."""
UNPAIRED = (
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
)
"""Expressions without a side; the names of the others end in _L and _R."""
# fmt: off
LANDMARKS = np.array([
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,  # jaw
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509,  # brows
    978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,  # nose
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,  # eyes
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841,  # lips
    5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,  # inner lips
])
# fmt: on
"""The 68 landmarks (iBUG order) as vertex numbers, as ICT-FaceKit publishes them."""

_NEUTRAL = "generic_neutral_mesh.obj"


@dataclass(frozen=True, eq=False)
class FaceKit:
    """Skin and eyeballs of the model, in centimeters: vertices = neutral + sum of weights * displacements."""

    neutral: Float[ndarray, "n 3"]
    """The skin's vertices first."""
    faces: Int[ndarray, "faces 3"]
    identities: Float[ndarray, "components n 3"]
    """Displacements for one standard deviation."""
    expression_names: tuple[str, ...]
    """ICT-FaceKit's own."""
    expressions: Float[ndarray, "expressions n 3"]


def read_facekit(path: Path) -> FaceKit:
    """Read ICT-FaceKit.

    Args:
        path: the published folder (or its ``FaceXModel``), the published archive (.zip), or a converted .npz. A folder
            may also have, beside the neutral mesh, two packed tables: ``identity_deltas.npz`` and
            ``expression_deltas.npz`` with ``deltas`` [components, n, 3] of skin and eyeballs, and ``names``.

    Raises:
        AssetError: the path is none of these.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                names = tuple(map(str, stored["expression_names"]))
                arrays = {name: stored[name] for name in ("neutral", "faces", "identities", "expressions")}
            return FaceKit(**arrays, expression_names=names)
        return _published(_model_folder(path))
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise AssetError(
            f"{path} is not ICT-FaceKit ({type(error).__name__}: {error}); get it with "
            "`instax3d assets get ict-facekit`, or give its folder"
        ) from error


def write_facekit(path: Path, kit: FaceKit) -> None:
    """Write the parts of the model that are used as one .npz, atomically.

    Raises:
        AssetError: the file cannot be written.
    """
    arrays = {name: np.asarray(value, np.float32) for name, value in vars(kit).items() if name[-5:] != "names"}
    arrays |= {"faces": kit.faces, "expression_names": np.array(kit.expression_names)}
    try:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise AssetError(f"cannot write {path}: {error.strerror or error}") from error


def _model_folder(path: Path) -> Path | zipfile.Path:
    """The folder ``FaceXModel`` in an archive or a folder."""
    if path.suffix == ".zip":
        tops = [zipfile.Path(path), *zipfile.Path(path).iterdir()]
        return next(t / "FaceXModel" for t in tops if (t / "FaceXModel" / _NEUTRAL).is_file())
    return path if (path / _NEUTRAL).is_file() else path / "FaceXModel"


def _published(meshes: Path | zipfile.Path) -> FaceKit:
    """The model from its published meshes, or from packed tables beside them."""
    vertices, faces = _read_obj(meshes / _NEUTRAL)
    kept = np.r_[:SKIN, EYEBALLS]
    new_index = np.full(len(vertices), -1)
    new_index[kept] = np.arange(len(kept))
    faces = new_index[faces]
    faces = faces[(faces >= 0).all(1)]

    def displacements(name: str) -> Float[ndarray, "n 3"]:
        moved: Float[ndarray, "n 3"] = (_read_obj(meshes / f"{name}.obj")[0] - vertices)[kept]
        return moved

    tables = meshes.parent
    if isinstance(tables, Path) and (tables / "identity_deltas.npz").is_file():
        with np.load(tables / "identity_deltas.npz", allow_pickle=False) as table:
            identities = table["deltas"].astype(np.float64)
        with np.load(tables / "expression_deltas.npz", allow_pickle=False) as table:
            names, expressions = tuple(map(str, table["names"])), table["deltas"].astype(np.float64)
    else:
        stems = sorted(item.name.removesuffix(".obj") for item in meshes.iterdir() if item.name.endswith(".obj"))
        names = tuple(stem for stem in stems if stem[-2:] in ("_L", "_R") or stem in UNPAIRED)
        identities = np.stack([displacements(stem) for stem in stems if stem.startswith("identity")])
        expressions = np.stack([displacements(name) for name in names])
    return FaceKit(vertices[kept], faces, identities, names, expressions)


def _read_obj(path: Path | zipfile.Path) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "faces 3"]]:
    """Vertices and triangles of a Wavefront file; polygons become fans."""
    lines = path.read_text(encoding="utf-8").splitlines()
    points = " ".join(line[2:] for line in lines if line.startswith("v "))
    faces = []
    for line in lines:
        if line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            faces += [[corners[0], corners[k], corners[k + 1]] for k in range(1, len(corners) - 1)]
    return np.array(points.split(), np.float64).reshape(-1, 3), np.array(faces, np.int64).reshape(-1, 3)
