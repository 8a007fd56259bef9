"""Control points of the neutral, the shape components and the expressions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..cage import Cage
from ..figures import Array
from .correspondence import FineChart
from .fits import HalfFit, refinement, smoothing, solver
from .half import Half
from .reference import Reference
from .surface import Surface, flat_surface, lifted

ROUNDS = 6
"""In which the neutral slides over the reference."""
SLIDE = 0.7
"""How much of the way from its chart place to the closest point a target goes."""
FARTHEST = (0.6, 0.5)
"""Centimetres a vertex may slide in these rounds, and from its chart place in the end."""
LID_WEIGHT = 6.0
SMOOTHNESS = 1e-3
EXPRESSION_SMOOTHNESS = 3e-4
BLINK = 1.07
"""Closes the last gap between the lids."""
BROWS = slice(17, 27)
BROW_HEIGHT = 0.3
"""Centimetres: detectors of the 68 landmarks mark the middle of the brow's hair, ICT-FaceKit a line above it."""
TWO_SIDED = ("browInnerUp", "cheekPuff")
"""One expression in ARKit, one for each side in ICT-FaceKit."""
NOT_IN_ARKIT = ("cheekRaiser", "PupilDilate")


@dataclass(frozen=True)
class Skin:
    """The finished neutral skin and what its vertices stand for."""

    cage: Cage
    controls: Array
    """[half of level 1, 3]."""
    correspondence: sp.csr_matrix
    """[half of the skin, half of the reference] interpolates the reference."""
    lid_weights: Array
    """[half of the skin] weights that pull the lids' edges close."""

    @property
    def vertices(self) -> Array:
        """[skin, 3]."""
        return self.cage.refine(self.cage.levels[1].whole(self.controls), 1)


def fit_neutral(cage: Cage, fine: FineChart, half: Half, chart: Array) -> Skin:
    """Fit the control points to the half, sliding over it."""
    chart_places = flat_surface(chart, half.faces).interpolation(lifted(fine.places))
    targets = chart_places @ half.vertices
    weights = np.where(fine.on_eye, LID_WEIGHT, 1.0)
    fit = HalfFit(cage, 1, SMOOTHNESS, weights)
    surface = Surface(half.vertices, half.faces)
    skin = Skin(cage, fit.vectors(targets), chart_places, weights)
    left = cage.levels[-1].half
    for _ in range(ROUNDS):
        closest = surface.closest(skin.vertices[left])[0]
        stay = fine.on_outline | (np.linalg.norm(closest - targets, axis=1) > FARTHEST[0])
        slid = np.where(stay[:, None], targets, SLIDE * closest + (1 - SLIDE) * targets)
        skin = Skin(cage, fit.vectors(slid), chart_places, weights)
    closest = surface.closest(skin.vertices[left])[0]
    stay = fine.on_outline | (np.linalg.norm(closest - targets, axis=1) > FARTHEST[1])
    correspondence = sp.diags(stay * 1.0) @ chart_places + sp.diags(~stay * 1.0) @ surface.interpolation(
        skin.vertices[left]
    )
    return Skin(cage, skin.controls, correspondence.tocsr(), weights)


def principal_shapes(skin: Skin, reference: Reference, half: Half, count: int) -> tuple[Array, Array]:
    """Principal components of the symmetric part of the identities, in order of importance, for one standard deviation.

    Returns the control points' displacements [count, half of level 0, 3] and those of the left eye [count, 3].
    """
    moves = np.stack(
        [skin.correspondence @ reference.symmetric(identity)[half.ids] for identity in reference.identities]
    )
    eyes = reference.identities[:, reference.left_eyeball].mean(1)
    mixing, _, components = np.linalg.svd(moves.reshape(len(moves), -1), full_matrices=False)
    mixing *= np.sign(components.sum(1))  # a component's sign is free: fix it
    fit = HalfFit(skin.cage, 0, SMOOTHNESS)
    modes = np.tensordot(mixing.T[:count], moves, 1)
    return np.stack([fit.vectors(mode) for mode in modes]), mixing.T[:count] @ eyes


def expressions(reference: Reference) -> Mapping[str, Sequence[str]]:
    """ARKit's names (of a pair only the left one) and the reference's expressions that add up to each."""
    found: dict[str, Sequence[str]] = {}
    for name in reference.expression_names:
        stem, side = name.removesuffix("_L"), name.endswith("_L")
        if name.endswith("_R") or stem in NOT_IN_ARKIT or name in ("jawRight", "mouthRight"):
            continue
        if stem in TWO_SIDED:
            found[stem] = (f"{stem}_L", f"{stem}_R")
        else:
            found[f"{stem}Left" if side else stem] = (name,)
    return found


def expression_moves(skin: Skin, reference: Reference, half: Half, sources: Sequence[str]) -> Array:
    """[level 1, 3] displacements of the whole cage's control points; of a symmetric expression only the left half's."""
    moves = np.sum([reference.expression(source)[: len(reference.skin)] for source in sources], axis=0)
    one_sided = sources[0].endswith("Left") or (len(sources) == 1 and sources[0].endswith("_L"))
    if not one_sided:
        moves = reference.symmetric(moves)
    fine, once = skin.cage.levels[-1], skin.cage.levels[1]
    targets, weights = np.zeros((len(fine.mirror), 3)), np.ones(len(fine.mirror))
    for vertices, ids in ((fine.mirror[fine.half], reference.mirror[half.ids]), (fine.half, half.ids)):
        targets[vertices] = skin.correspondence @ moves[ids]
        weights[vertices] = skin.lid_weights
    refine, smooth = refinement(skin.cage, 1), smoothing(skin.cage, 1)
    controls = solver(refine, smooth, EXPRESSION_SMOOTHNESS, weights)(targets)
    if sources[0] == "eyeBlink_L":
        controls *= BLINK
    if not one_sided:
        controls[np.setdiff1d(np.arange(len(controls)), once.half)] = 0
    return controls


def brows_lowered(landmarks: Array) -> Array:
    """[68, 3] the reference's landmarks with the brows where detectors put them."""
    moved = landmarks.copy()
    moved[BROWS, 1] -= BROW_HEIGHT
    return moved
