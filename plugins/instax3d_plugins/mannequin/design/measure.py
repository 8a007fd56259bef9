"""Control points of the neutral, the shape components and the expressions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from instax3d.geometry.landmarks68 import BROWS

from ..cage import Cage, boundary_loops
from ..table import Array
from .contacts import Contacts, self_contacts
from .correspondence import FineChart
from .fits import Fit
from .half import BASE_BELOW, Half
from .reference import Reference
from .surface import ClosestPointMesh, flat_surface, lifted

ROUNDS = 6
"""In which the neutral slides over the reference."""
SLIDE = 0.7
"""How much of the way from its chart place to the closest point a target goes."""
FARTHEST = (0.6, 0.5)
"""Centimeters a vertex may slide in these rounds, and from its chart place in the end."""
LID_WEIGHT = 6.0
SMOOTHNESS = 1e-3
EXPRESSION_SMOOTHNESS = 3e-4
LEAST = 0.006
"""Centimeters between the closest places of the skin that an expression brings together."""
ON_THE_LEFT = 1e-6
"""Centimeters from the midline."""
LIP_ROOM, LIP_OPENING = 0.02, 0.1
"""Centimeters between the lips' edges in the neutral, and how fast the gap opens from the corner of the mouth."""
STAGES = 3
"""Stages of an expression's motion, each tested for contacts."""
BLINK = 1.07
"""Closes the last gap between the lids."""
LEAST_KEPT = 0.002
LEAST_MOVE = 0.012
"""Centimeters; control points that an expression moves less stay, unless contacts push them."""
BROW_HEIGHT = 0.3
"""Centimeters: detectors of the 68 landmarks mark the middle of the brow's hair, ICT-FaceKit a line above it."""
TWO_SIDED = ("browInnerUp", "cheekPuff")
"""One expression in ARKit, one for each side in ICT-FaceKit."""
CORRECTIVES = {"jawOpen+mouthClose": ("jawOpen", ("mouthClose",))}
"""What two expressions do together on top of each alone: which of them the skin is moved by already, and the sources.

``mouthClose`` closes the lips over an open jaw; alone it would push them through each other, so it is nothing alone.
"""
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
    detail: Array
    """[half of the skin, 3] what its vertices move beyond what the control points say."""
    count: float = 1e-3
    """Centimeters that the table's lengths are rounded to."""

    @property
    def vertices(self) -> Array:
        """[skin, 3]."""
        smooth = self.cage.refine(self.cage.levels[1].whole(self.controls), 1)
        return smooth + self.cage.levels[-1].whole(self.detail)

    def whole_counts(self, lengths: Array) -> Array:
        """Lengths as the table holds them."""
        return np.asarray(self.count * np.round(lengths / self.count))

    def rounded(self, controls: Array) -> Array:
        """Displacements [n, 3] as the table holds them: in whole counts, nothing that moves little."""
        kept = np.linalg.norm(controls, axis=1, keepdims=True) > LEAST_KEPT
        return np.where(kept, self.whole_counts(controls), 0)

    def too_close(self, before: Array, moved: Array) -> Contacts:
        """Where the skin [skin, 3], moved from another state, crosses itself."""
        return self_contacts(before, moved, self.cage.levels[-1].faces, LEAST)


def fit_neutral(cage: Cage, chart_points: FineChart, half: Half, chart: Array) -> Skin:
    """Fit the control points to the half, sliding over it; without detail."""
    chart_places = flat_surface(chart, half.faces).interpolation(lifted(chart_points.places))
    targets = chart_places @ half.vertices
    weights = np.where(chart_points.on_eye, LID_WEIGHT, 1.0)
    fit = Fit.of_half(cage, 1, SMOOTHNESS, weights)
    surface = ClosestPointMesh(half.vertices, half.faces)
    left, still = cage.levels[-1].half, np.zeros_like(targets)
    skin = Skin(cage, fit.vectors(targets), chart_places, weights, still)
    for _ in range(ROUNDS):
        closest = surface.closest(skin.vertices[left])[0]
        stay = chart_points.on_outline | (np.linalg.norm(closest - targets, axis=1) > FARTHEST[0])
        slid = np.where(stay[:, None], targets, SLIDE * closest + (1 - SLIDE) * targets)
        skin = Skin(cage, fit.vectors(slid), chart_places, weights, still)
    closest = surface.closest(skin.vertices[left])[0]
    stay = chart_points.on_outline | (np.linalg.norm(closest - targets, axis=1) > FARTHEST[1])
    correspondence = sp.diags(stay * 1.0) @ chart_places + sp.diags(~stay * 1.0) @ surface.interpolation(
        skin.vertices[left]
    )
    fine = cage.levels[-1]
    on_reference = fine.whole(targets)
    skin = Skin(cage, skin.controls, correspondence.tocsr(), weights, still)
    lips = _room_between_lips(skin)

    def find(before: Array, moved: Array) -> Contacts:
        return skin.too_close(before, moved).and_also(lips.closer(moved))

    return replace(skin, controls=fit.apart(skin.controls, np.zeros_like(on_reference), on_reference, find, stages=1))


def _room_between_lips(skin: Skin) -> Contacts:
    """Each place on the edge of the upper lip above the nearest one of the lower lip, left of the midline."""
    vertices = skin.vertices
    loops = [loop for loop in boundary_loops(skin.cage.levels[-1].faces) if vertices[loop, 1].mean() > BASE_BELOW]
    mouth = min(loops, key=lambda loop: abs(vertices[loop, 0].mean()))
    mouth = np.roll(mouth, -int(vertices[mouth, 0].argmax()))
    both = mouth, np.roll(mouth[::-1], 1)
    to_middle = [side[1 : np.argmax(vertices[side, 0] < ON_THE_LEFT)] for side in both]
    upper, lower = sorted(to_middle, key=lambda side: -vertices[side, 1].mean())
    below = lower[cKDTree(vertices[lower]).query(vertices[upper])[1]]
    row = np.arange(len(upper))
    entries = np.r_[np.ones(len(row)), -np.ones(len(row))], (np.r_[row, row], np.r_[upper, below])
    from_corner = np.linalg.norm(vertices[upper] - vertices[mouth[0]], axis=1)
    return Contacts(
        sp.csr_matrix(entries, shape=(len(row), len(vertices))),
        np.tile([0.0, 1.0, 0.0], (len(row), 1)),
        np.minimum(LIP_ROOM, LIP_OPENING * from_corner),
    )


def expressions(reference: Reference) -> Mapping[str, Sequence[str]]:
    """ARKit's names (of a pair only the left one) and the reference's expressions that add up to each."""
    sources: dict[str, Sequence[str]] = {}
    for name in reference.expression_names:
        stem, side = name.removesuffix("_L"), name.endswith("_L")
        if name.endswith("_R") or stem in NOT_IN_ARKIT or name in ("jawRight", "mouthRight", "mouthClose"):
            continue
        if stem in TWO_SIDED:
            sources[stem] = (f"{stem}_L", f"{stem}_R")
        else:
            sources[f"{stem}Left" if side else stem] = (name,)
    return sources


def all_expressions(skin: Skin, reference: Reference, half: Half) -> Mapping[str, Array]:
    """Control point displacements of each expression and corrective, named as in the table."""
    moves_by_name = {name: expression_moves(skin, reference, half, of) for name, of in expressions(reference).items()}
    once = skin.cage.levels[1]
    for name, (first, sources) in CORRECTIVES.items():
        moves = moves_by_name[first]
        if not first.endswith("Left"):
            moves = once.whole(moves[once.half])
        start = skin.vertices + skin.cage.refine(moves, 1)
        moves_by_name[name] = expression_moves(skin, reference, half, sources, start)
    return moves_by_name


def expression_moves(
    skin: Skin, reference: Reference, half: Half, sources: Sequence[str], start: Array | None = None
) -> Array:
    """[level 1, 3] displacements of the whole cage's control points; of a symmetric expression only the left half's.

    Args:
        skin: the neutral.
        reference: where the expressions are from.
        half: its left half.
        sources: the reference's names of the expressions that are added up.
        start: [skin, 3] what the displacements add to, for the contacts; else the neutral.
    """
    start = skin.vertices if start is None else start
    moves = np.sum([reference.expression(source)[: len(reference.skin)] for source in sources], axis=0)
    one_sided = sources[0].endswith("Left") or (len(sources) == 1 and sources[0].endswith("_L"))
    if not one_sided:
        moves = reference.symmetric(moves)
    fine, once = skin.cage.levels[-1], skin.cage.levels[1]
    if sources[0] == "eyeBlink_L":
        moves = moves * BLINK
    targets, weights = np.zeros((len(fine.mirror), 3)), np.ones(len(fine.mirror))
    for vertices, ids in ((fine.mirror[fine.half], reference.mirror[half.ids]), (fine.half, half.ids)):
        targets[vertices] = skin.correspondence @ moves[ids]
        weights[vertices] = skin.lid_weights
    fit = Fit.of_half(skin.cage, 1, EXPRESSION_SMOOTHNESS, skin.lid_weights)
    if one_sided:
        fit = Fit.of_whole(skin.cage, 1, EXPRESSION_SMOOTHNESS, weights)
    controls = fit.apart(_settled(fit.vectors(targets[fit.rows])), start, start, skin.too_close, STAGES, skin.rounded)
    if one_sided:
        return controls
    whole = np.zeros((len(once.mirror), 3))
    whole[once.half] = controls
    return whole


def _settled(controls: Array) -> Array:
    """Without the displacements that are too small to be visible."""
    return np.where(np.linalg.norm(controls, axis=1, keepdims=True) > LEAST_MOVE, controls, 0)


def brows_lowered(landmarks: Array) -> Array:
    """[68, 3] the reference's landmarks with the brows where detectors put them."""
    moved = landmarks.copy()
    moved[BROWS, 1] -= BROW_HEIGHT
    return moved
