"""Points along outlines, spaced by a wanted size."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..figures import Array, Index

FAR = 4.6
"""Edge length of the cage far from all features, cm."""
SAMPLES = 2000


@dataclass(frozen=True)
class Feature:
    """Where the cage must be fine."""

    points: Array
    """[n, 3]."""
    size: float
    """Edge length at the points, cm."""
    growth: float
    """By which the edges grow per centimetre away from them."""


@dataclass(frozen=True)
class Sizes:
    """The wanted edge length everywhere."""

    features: tuple[Feature, ...]
    scale: float
    """Factor on all lengths; it sets the number of points."""

    def at(self, points: Array) -> Array:
        """[n] for points [n, 3]."""
        size = np.full(len(points), FAR)
        for feature in self.features:
            distance = cKDTree(feature.points).query(points)[0]
            size = np.minimum(size, feature.size + feature.growth * distance)
        return self.scale * size


@dataclass(frozen=True)
class Curve:
    """A polyline of a mesh, parametrised by its length in space."""

    line: Index
    lengths: Array
    """At each vertex of the line."""
    closed: bool

    @classmethod
    def along(cls, vertices: Array, line: Index, *, closed: bool) -> "Curve":
        """The curve through the given vertices."""
        line = np.r_[line, line[:1]] if closed else line
        return cls(line, np.r_[0, np.cumsum(np.linalg.norm(np.diff(vertices[line], axis=0), axis=1))], closed)

    @property
    def total(self) -> float:
        """Its length."""
        return float(self.lengths[-1])

    def at(self, values: Array, places: Array) -> Array:
        """Vertex values [n, c] interpolated at lengths along the curve."""
        places = places % self.total if self.closed else places
        return np.stack([np.interp(places, self.lengths, column) for column in values[self.line].T], -1)

    def spaced(self, vertices: Array, sizes: Sizes, least: int) -> Array:
        """Lengths along the curve about the wanted sizes apart, at least ``least`` steps; ends included."""
        fine = np.linspace(0, self.total, SAMPLES)
        steps = np.diff(fine) / sizes.at(self.at(vertices, fine)[1:])
        count = np.r_[0, np.cumsum(steps)]
        n = max(least, round(count[-1]))
        places = np.interp(np.linspace(0, count[-1], n + 1), count, fine)
        return places[:-1] if self.closed else places
