"""Shape components: principal ones of the identities, kept from pushing the skin through itself."""

from functools import reduce
from typing import no_type_check

import numpy as np
from numba import njit

from ..table import METERS, SHAPE, Array
from .contacts import Contacts
from .fits import Fit
from .half import Half
from .measure import SMOOTHNESS, Skin
from .reference import FACE, Reference
from .surface import face_areas

NECK, NECK_BELOW = 0.1, -9.2
"""How much the vertices count that lie below a height (cm), the middle of the neck, when components are chosen."""
IN_FACE = 3.0
"""How much those of the face do."""
DEVIATIONS = 4.0
"""Contacts hold for random heads up to this many standard deviations of how far apart their places are."""
LEAST = 0.002
"""Centimeters that remain between them then."""
SAMPLES = 150
"""Random heads that are tested in a round."""
ROUNDS = 15
SWEEPS = 300
"""Over all contacts found so far, in each round, from where the last one ended."""
GIVE = 1e-6
"""How soft contacts are, so that contradicting ones do no harm."""
SEED = 1


def principal_shapes(skin: Skin, reference: Reference, half: Half, count: int) -> tuple[Array, Array]:
    """Principal components of the symmetric part of the identities, in order of importance, for one standard deviation.

    Returns the control points' displacements [count, half of level 0, 3] and those of the left eye [count, 3].
    """
    moves = np.stack(
        [skin.correspondence @ reference.symmetric(identity)[half.ids] for identity in reference.identities]
    )
    eyes = reference.identities[:, reference.left_eyeball].mean(1)
    counted = moves * np.sqrt(_importance(skin, half))[:, None]
    mixing, _, components = np.linalg.svd(counted.reshape(len(moves), -1), full_matrices=False)
    mixing *= np.sign(components.sum(1))  # a component's sign is free: fix it
    fit = Fit.of_half(skin.cage, 0, SMOOTHNESS)
    modes = np.tensordot(mixing.T[:count], moves, 1)
    shapes = np.stack([fit.vectors(mode) for mode in modes])
    return _without_crossings(fit, skin, shapes), mixing.T[:count] @ eyes


def _importance(skin: Skin, half: Half) -> Array:
    """[half of the skin] a vertex's weight: the root of its area, as triangles are small where detail is dense."""
    fine = skin.cage.levels[-1]
    areas = np.bincount(fine.faces.ravel(), np.repeat(face_areas(skin.vertices, fine.faces), 3))
    in_face = skin.correspondence @ (half.ids < FACE).astype(float)
    where = np.where(skin.vertices[fine.half, 1] < NECK_BELOW, NECK, 1 + (IN_FACE - 1) * in_face)
    return np.asarray(np.sqrt(areas)[fine.half] * where)


def _without_crossings(fit: Fit, skin: Skin, shapes: Array) -> Array:
    """Weaken, where random heads cross themselves, how the components move the places that meet towards each other.

    A contact's places are some distance apart in the neutral, and component k changes that by r[k]; for normal weights
    the change has the standard deviation |r|, which is held below that distance over DEVIATIONS with least cost to the
    fit.
    """
    rng, count = np.random.default_rng(SEED), skin.count * SHAPE / METERS
    contacts, adjusted = Contacts.none(len(skin.vertices)), shapes
    force, pushes = np.zeros((0, len(shapes))), np.zeros((0, *shapes.shape[1:]))
    for _ in range(ROUNDS):
        moves = np.stack([fit.skin(count * np.round(shape / count)) for shape in adjusted])
        heads = skin.vertices + np.tensordot(rng.normal(size=(SAMPLES, len(shapes))), moves, 1)
        more = reduce(Contacts.and_also, [skin.too_close(skin.vertices, head) for head in heads])
        if not len(more):
            break
        more = more.distinct()
        contacts, pushes = contacts.and_also(more), np.concatenate([pushes, fit.pushes(more)])
        force = np.vstack([force, np.zeros((len(more), len(shapes)))])
        allowed = np.maximum(contacts.apart(skin.vertices) - LEAST, 0) / DEVIATIONS
        towards = fit.towards(contacts)
        flat = pushes.reshape(len(pushes), -1)
        own = np.asarray(towards.multiply(flat).sum(1)).ravel()
        moved = shapes.reshape(len(shapes), -1).T + flat.T @ force
        rows = towards.indptr, towards.indices, towards.data
        _push(force, moved, *rows, flat, own, allowed, GIVE * own.mean(), SWEEPS)
        adjusted = np.ascontiguousarray(moved.T).reshape(shapes.shape)
    return adjusted


@njit(cache=True)
@no_type_check
def _push(force, moved, begin, columns, values, pushes, own, allowed, give, sweeps):
    """Find forces [contacts, components] of least cost that bring ``towards @ moved`` to rows of allowed lengths.

    Block coordinate descent on the dual; each contact's own block has a closed form. ``moved`` [numbers, components]
    goes along: it is the shapes with all pushes. ``begin``, ``columns`` and ``values`` are the sparse ``towards``.
    """
    free = np.empty(force.shape[1])
    for _ in range(sweeps):
        for row in range(len(force)):
            free[:] = -own[row] * force[row]
            for entry in range(begin[row], begin[row + 1]):
                free += values[entry] * moved[columns[entry]]
            length = np.sqrt((free**2).sum())
            share = max(length - allowed[row], 0.0) / ((own[row] + give) * max(length, 1e-12))
            change = -share * free - force[row]
            if np.abs(change).max() > 0:
                force[row] += change
                for number in range(len(moved)):
                    if pushes[row, number] != 0:
                        moved[number] += pushes[row, number] * change
