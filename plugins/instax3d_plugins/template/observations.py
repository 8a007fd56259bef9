"""What the photo shows of each vertex of the scene."""

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray

SEEN_WELL, UNSEEN = 0.3, 0.1
"""Weights from which on a vertex counts as seen, and below which as unseen. Chosen by eye."""


@dataclass(frozen=True, eq=False)
class VertexObservations:
    """What the photo shows of each vertex."""

    albedo: Float[ndarray, "n 3"]
    weight: Float[ndarray, "n"]
    """How well it is seen, 0 to 1."""
    mirror_weight: Float[ndarray, "n"]
    """How well its mirror image is seen, 0 to 1."""
    facing: Float[ndarray, "n"]
    """Cosine between normal and the direction to the photo's camera."""
    cloth: Float[ndarray, "n"]
    """Share of cloth where it projects to, 0 to 1."""
