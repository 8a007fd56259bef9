"""Announces the `gof` densifier."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="gof",
        target="instax3d_plugins.gof.densifier:GOF",
        config="instax3d_plugins.gof.config:GOFConfig",
        summary="Clones and splits by gradients and by an equal share of absolute ones (Gaussian Opacity Fields).",
        needs=frozenset({"absgrad"}),
    )
