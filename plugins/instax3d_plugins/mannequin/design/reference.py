"""Reads the parts of ICT-FaceKit that are measured."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from instax3d.heads.facekit import LANDMARKS, SKIN, read_facekit

from ..table import Array, Index

FACE = 9409
"""Of ICT-FaceKit's vertices, those of the face come first."""


@dataclass(frozen=True)
class Reference:
    """The linear head model: skin and eyeballs, in centimeters."""

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
        """Read the model; see `instax3d.heads.facekit.read_facekit`."""
        kit = read_facekit(folder)
        skin = kit.faces[(kit.faces < SKIN).all(1)]
        return cls(kit.neutral, skin, kit.identities, kit.expression_names, kit.expressions)

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
