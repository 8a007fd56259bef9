"""Announces the `absgs` densifier."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="absgs",
        target="instax3d_plugins.absgs.densifier:AbsGS",
        config="instax3d_plugins.absgs.config:AbsGSConfig",
        summary="Clones and splits where absolute image-plane gradients are large (AbsGS; Instax3D, Eq. 8).",
        needs=frozenset({"absgrad"}),
    )
