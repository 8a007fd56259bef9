"""The figures of a run's manifest, in the order of tables: those of the installed metrics and of the run itself."""

from instax3d.plugin import Figure, Kind
from instax3d.registry import registry

OF_A_RUN = (
    Figure(
        name="landmark_error",
        meaning="distance of the fitted head's landmarks to those found, over the face's size",
        better="lower",
        decimals=3,
    ),
    Figure(name="gaussians", meaning="number of Gaussians", decimals=0),
    Figure(name="seconds_construct", meaning="construction", unit="s", better="lower", decimals=1),
    Figure(name="seconds_total", meaning="all stages, shared ones included", unit="s", better="lower", decimals=1),
)
"""What every run tells without any metric."""


def known_figures() -> tuple[Figure, ...]:
    """All figures that can stand in a manifest of this installation."""
    measured = [figure for entry in registry().of(Kind.METRIC) for figure in entry.spec.figures]
    return (*measured, *OF_A_RUN)
