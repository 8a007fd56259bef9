"""Shape components: principal ones of the identities, kept from pushing the skin through itself."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from functools import reduce
from typing import no_type_check

import numpy as np
from numba import njit

from ..figures import Array
from .contacts import Contacts
from .fits import Fit
from .half import Half
from .measure import SMOOTHNESS, Skin
from .reference import Reference

DEVIATIONS = 4.0
"""Contacts hold for random heads up to this many standard deviations of how far apart their places are."""
LEAST = 0.002
"""Centimetres that remain between them then."""
SAMPLES = 60
"""Random heads that are looked at in a round."""
ROUNDS = 10
SWEEPS = 150
"""Over all contacts found so far, in each round, from where the last one ended."""
GIVE = 1e-5
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
    mixing, _, components = np.linalg.svd(moves.reshape(len(moves), -1), full_matrices=False)
    mixing *= np.sign(components.sum(1))  # a component's sign is free: fix it
    fit = Fit.of_half(skin.cage, 0, SMOOTHNESS)
    modes = np.tensordot(mixing.T[:count], moves, 1)
    shapes = np.stack([fit.vectors(mode) for mode in modes])
    return _without_crossings(fit, skin, shapes), mixing.T[:count] @ eyes


def _without_crossings(fit: Fit, skin: Skin, shapes: Array) -> Array:
    """Weaken, where random heads cross themselves, how the components move the places that meet towards each other.

    A contact's places are some distance apart in the neutral, and component k changes that by r[k]; for normal weights
    the change has the standard deviation |r|, which is held below that distance over DEVIATIONS with least cost to the
    fit.
    """
    rng = np.random.default_rng(SEED)
    contacts, found, force = Contacts.none(len(skin.vertices)), shapes, np.zeros((0, len(shapes)))
    for _ in range(ROUNDS):
        moves = np.stack([fit.skin(skin.count * np.round(shape / skin.count)) for shape in found])
        heads = skin.vertices + np.tensordot(rng.normal(size=(SAMPLES, len(shapes))), moves, 1)
        new = [skin.too_close(skin.vertices, head) for head in heads]
        if not any(map(len, new)):
            break
        more = reduce(Contacts.and_also, new)
        contacts = contacts.and_also(more.distinct())
        allowed = np.maximum(contacts.apart(skin.vertices) - LEAST, 0) / DEVIATIONS
        pushes = fit.pushes(contacts)
        meeting = fit.meeting(contacts, pushes)
        towards = np.stack([contacts.apart(fit.skin(shape)) for shape in shapes], 1)
        give = GIVE * np.trace(meeting) / len(meeting)
        force = np.vstack([force, np.zeros((len(contacts) - len(force), len(shapes)))])
        force = _forces(force, meeting, towards, allowed, give, SWEEPS)
        found = shapes + np.tensordot(force.T, pushes, 1)
    return found


@njit(cache=True)
@no_type_check
def _forces(force, meeting, towards, allowed, give, sweeps):
    """Forces [contacts, components] of least cost that bring the rows of ``towards`` to their allowed lengths.

    Block coordinate descent on the dual; each contact's own block has a closed form.
    """
    for _ in range(sweeps):
        for row in range(len(towards)):
            own = meeting[row, row] + give
            free = towards[row] + meeting[row] @ force - meeting[row, row] * force[row]
            length = np.sqrt((free**2).sum())
            too_far = max(length - allowed[row], 0.0)
            force[row] = -free * (too_far / (own * max(length, 1e-12)))
    return force
