"""Replaces the nostril's cavity by a shallow dent, so that the nose lies open in the chart."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from scipy.sparse.csgraph import connected_components

from ..cage import boundary_loops, edges_of
from ..regions import Mask
from ..table import Array, Index
from .chart import signed_areas
from .half import Half
from .surface import face_areas, uniform_laplacian

SHRUNK = 0.2
"""The cavity is what a chart of the whole half shrinks below this scale ..."""
NOSE = ((-1e-3, -1.9, 8.0), (2.2, 1.5, np.inf))
"""... within this box (cm)."""
DEPTH = 0.4
"""Of the dent, cm."""


def close_nostril(half: Half, chart: Array) -> tuple[Half, Index]:
    """The half with a shallow nostril, and the vertices of the nostril's rim in order."""
    n, faces = len(half.vertices), half.faces
    scale = np.sqrt(np.abs(signed_areas(chart, faces)) / 2 / face_areas(half.vertices, faces))
    mean_scale = np.bincount(faces.ravel(), np.repeat(scale, 3), n) / np.bincount(faces.ravel(), minlength=n)
    low, high = NOSE
    inside = (mean_scale < SHRUNK) & (half.vertices > low).all(1) & (half.vertices < high).all(1)
    cavity = _largest_part(faces[inside[faces].all(1)])
    rim = max(boundary_loops(cavity), key=len)
    free = np.setdiff1d(cavity, rim)
    fixed = np.setdiff1d(np.arange(n), free)
    laplacian = uniform_laplacian(edges_of(faces)[0], n)
    solve = spl.splu(laplacian[free][:, free].tocsc()).solve
    vertices = half.vertices.copy()
    vertices[free] = solve(-(laplacian[free][:, fixed] @ half.vertices[fixed]))
    bulge = solve(np.ones(len(free)))
    outline = vertices[rim]
    outwards = np.linalg.svd(outline - outline.mean(0))[2][2]
    outwards *= -np.sign(outwards[1])  # the nostril opens downwards
    vertices[free] -= DEPTH * ((bulge / bulge.max()) ** 0.8)[:, None] * outwards
    return replace(half, vertices=vertices), rim


def _largest_part(faces: Index) -> Index:
    """The most triangles that are joined by edges."""
    edges, side, _ = edges_of(faces)
    at_edge = (np.ones(side.size), (np.repeat(np.arange(len(faces)), 3), side.ravel()))
    beside = sp.csr_matrix(at_edge, shape=(len(faces), len(edges)))
    part = connected_components(beside @ beside.T, directed=False)[1]
    in_largest: Mask = part == np.bincount(part).argmax()
    return faces[in_largest]
