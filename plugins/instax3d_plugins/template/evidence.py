"""What the photo tells about each vertex of the scene."""

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class Evidence:
    """What the photo tells about each vertex."""

    albedo: Float[ndarray, "n 3"]
    weight: Float[ndarray, "n"]
    """How well it is seen, 0 to 1."""
    mirror_weight: Float[ndarray, "n"]
    facing: Float[ndarray, "n"]
    """Cosine between normal and the direction to the photo's camera."""
    cloth: Float[ndarray, "n"]
    """Share of cloth where it projects to."""
