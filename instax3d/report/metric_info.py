"""The numbers of a run's manifest, in the order of tables: those of the installed metrics and of the run itself."""

from instax3d.plugin import Kind, MetricInfo
from instax3d.registry import registry

OF_A_RUN = (
    MetricInfo(
        name="landmark_error",
        description="distance of the fitted head's landmarks to the detected ones, over the face's size",
        better="lower",
        decimals=3,
    ),
    MetricInfo(name="gaussians", description="number of Gaussians", decimals=0),
    MetricInfo(name="seconds_construct", description="construction", unit="s", better="lower", decimals=1),
    MetricInfo(
        name="seconds_total", description="all stages, reused ones included", unit="s", better="lower", decimals=1
    ),
)
"""What every run reports without any metric."""


def known_metrics() -> tuple[MetricInfo, ...]:
    """All numbers that a manifest of this installation can hold."""
    measured = [info for entry in registry().plugins(Kind.METRIC) for info in entry.spec.metric_info]
    return (*measured, *OF_A_RUN)
