"""Announces the metric. Frozen: see tests/core/test_frozen.py."""

from collections.abc import Iterator

from instax3d.plugin import Kind, MetricInfo, PluginSpec, hookimpl

INSTAX3D_API = 1


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this package."""
    yield PluginSpec(
        kind=Kind.METRIC,
        name="frozen_likeness",
        summary="Compares the fitted head with the mean of a head model.",
        target="frozen_likeness.metric:FrozenLikeness",
        config="frozen_likeness.config:FrozenLikenessConfig",
        metric_info=(
            MetricInfo(name="frozen_height", description="Height of the head over the mean head's.", decimals=3),
            MetricInfo(name="frozen_brightness", description="Mean of the rendered views.", better="higher"),
        ),
    )
