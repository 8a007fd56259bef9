"""Points along curves on the surface, spaced by a target size."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from ..table import Array, Index

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
    """By which the edges grow per centimeter away from them."""


@dataclass(frozen=True)
class Sizes:
    """The target edge length everywhere."""

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
    """A polyline on the surface, parametrized by its length in space."""

    chart: Array
    """[n, 2]."""
    space: Array
    """[n, 3]."""
    closed: bool

    @classmethod
    def along(cls, chart: Array, vertices: Array, line: Index, *, closed: bool) -> "Curve":
        """The curve through the given vertices."""
        return cls(chart[line], vertices[line], closed)

    @cached_property
    def lengths(self) -> Array:
        """At each point, and where a closed curve comes back to the first one."""
        steps = np.linalg.norm(np.diff(self._around(self.space), axis=0), axis=1)
        return np.concatenate([[0], np.cumsum(steps)])

    @property
    def total(self) -> float:
        """Its length."""
        return float(self.lengths[-1])

    def at(self, places: Array) -> Array:
        """Chart points [n, 2] at lengths along the curve."""
        return self._interpolated(self.chart, places)

    def in_space(self, places: Array) -> Array:
        """Points [n, 3] at lengths along the curve."""
        return self._interpolated(self.space, places)

    def spaced(self, sizes: Sizes, least: int, begin: float = 0.0, end: float | None = None) -> Array:
        """Lengths along a stretch of the curve about the target sizes apart, in at least ``least`` steps."""
        fine = np.linspace(begin, self.total if end is None else end, SAMPLES)
        steps = np.diff(fine) / sizes.at(self.in_space(fine)[1:])
        count = np.r_[0, np.cumsum(steps)]
        n = max(least, round(count[-1]))
        return np.interp(np.linspace(0, count[-1], n + 1), count, fine)

    def nearest(self, chart_points: Array) -> Array:
        """Lengths along the curve closest to chart points [n, 2]."""
        fine = np.linspace(0, self.total, SAMPLES)
        return np.asarray(fine[cKDTree(self.at(fine)).query(chart_points)[1]])

    def _around(self, values: Array) -> Array:
        return np.vstack([values, values[:1]]) if self.closed else values

    def _interpolated(self, values: Array, places: Array) -> Array:
        places = places % self.total if self.closed else places
        return np.stack([np.interp(places, self.lengths, column) for column in self._around(values).T], -1)
