"""The figures of a run's manifest: what each is called, its unit, and which way is better."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that every portrait of a kind has."""

    name: str
    meaning: str
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    """None where neither is better."""
    decimals: int = 2


FIGURES = (
    Figure("psnr_test", "PSNR over a capture's held-out cameras", "dB", "higher"),
    Figure("psnr_views", "PSNR over the views that the portrait was made from", "dB", "higher"),
    Figure("psnr_photo", "PSNR of the render from the photo's camera against the photo", "dB", "higher"),
    Figure("identity_front", "distance of face descriptors, render from the front to photo", "", "lower", 3),
    Figure("identity_photo", "distance of face descriptors, render from the photo's camera to photo", "", "lower", 3),
    Figure(
        "landmark_error",
        "distance of the fitted head's landmarks to those detected, over the face's size",
        "",
        "lower",
        3,
    ),
    Figure("gaussians", "Gaussians", "", None, 0),
    Figure("seconds_construct", "construction", "s", "lower", 1),
    Figure("seconds_total", "all stages, shared ones included", "s", "lower", 1),
)
"""Those that tables show, in this order."""
