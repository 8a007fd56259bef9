"""Reads the parts of ICT-FaceKit that are measured."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..figures import Array, Index

SKIN = 11248
"""Vertices of face, head and neck come first."""
FACE = 9409
"""Of these, those of the face come first."""
EYEBALLS = slice(21451, 24591)
"""Vertices of both eyeballs."""
UNPAIRED = (
    *("jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
)
"""Expressions of both sides; the others end in _L and _R."""
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


@dataclass(frozen=True)
class Reference:
    """The linear head model: skin and eyeballs, in centimetres."""

    neutral: Array
    """[n, 3] vertices, the skin's first."""
    faces: Index
    """[f, 3] triangles of the skin."""
    identities: Array
    """[components, n, 3] displacements for one standard deviation."""
    expression_names: tuple[str, ...]
    expressions: Array
    """[expressions, n, 3]."""

    @classmethod
    def load(cls, folder: Path) -> "Reference":
        """Read the model: the folder ``FaceXModel`` as published, or the neutral mesh and two packed tables beside it.

        ``identity_deltas.npz`` and ``expression_deltas.npz`` hold ``deltas`` [components, n, 3] of the skin and the
        eyeballs, and the expressions' ``names``.
        """
        meshes = folder / "FaceXModel"
        vertices, faces = load_obj(meshes / "generic_neutral_mesh.obj")
        kept = np.r_[:SKIN, EYEBALLS]
        if (folder / "identity_deltas.npz").is_file():
            with np.load(folder / "identity_deltas.npz") as table:
                identities = table["deltas"].astype(float)
            with np.load(folder / "expression_deltas.npz") as table:
                names, expressions = tuple(map(str, table["names"])), table["deltas"].astype(float)
        else:
            identities = np.stack([load_obj(p)[0] - vertices for p in sorted(meshes.glob("identity*.obj"))])[:, kept]
            names = tuple(sorted([*(p.stem for p in meshes.glob("*_[LR].obj")), *UNPAIRED]))
            expressions = np.stack([load_obj(meshes / f"{name}.obj")[0] - vertices for name in names])[:, kept]
        return cls(vertices[kept], faces[(faces < SKIN).all(1)], identities, names, expressions)

    @property
    def skin(self) -> Array:
        """[SKIN, 3] the neutral skin."""
        return self.neutral[:SKIN]

    @property
    def landmarks(self) -> Array:
        """[68, 3]."""
        return np.asarray(self.neutral[LANDMARKS])

    @cached_property
    def mirror(self) -> Index:
        """The vertex of the skin on the other side of each."""
        return np.asarray(cKDTree(self.skin).query(self.skin * [-1, 1, 1])[1])

    @cached_property
    def left_eyeball(self) -> NDArray[np.bool_]:
        """Which vertices belong to the left eyeball."""
        return (np.arange(len(self.neutral)) >= SKIN) & (self.neutral[:, 0] > 0)

    def expression(self, name: str) -> Array:
        """[n, 3] displacements of an expression by ICT-FaceKit's name."""
        moves: Array = self.expressions[self.expression_names.index(name)]
        return moves

    def symmetric(self, moves: Array) -> Array:
        """[SKIN, 3] the mean of the skin's displacements and their mirror image."""
        skin = moves[:SKIN]
        return (skin + skin[self.mirror] * [-1, 1, 1]) / 2


def load_obj(path: Path) -> tuple[Array, Index]:
    """Vertices and triangles of a Wavefront file; polygons become fans."""
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        if line.startswith("v "):
            vertices.append([float(x) for x in line.split()[1:4]])
        elif line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            faces += [[corners[0], corners[k], corners[k + 1]] for k in range(1, len(corners) - 1)]
    return np.array(vertices), np.array(faces)
