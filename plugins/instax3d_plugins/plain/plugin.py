"""Announces the `free` representation and the `default` and `none` densifiers."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.REPRESENTATION,
        name="free",
        api=1,
        target="instax3d_plugins.plain.representation:FreeGaussians",
        config="instax3d_plugins.plain.config:FreeConfig",
        summary="Gaussians that start on the head mesh and are tied to nothing (3DGS).",
    )
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="default",
        api=1,
        target="instax3d_plugins.plain.densifier:DefaultDensity",
        config="instax3d_plugins.plain.config:DefaultConfig",
        summary="Clones and splits where image-plane gradients are large (3DGS; Instax3D, Eq. 7).",
    )
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="none",
        api=1,
        target="instax3d_plugins.plain.densifier:NoDensity",
        config="instax3d_plugins.plain.config:NoneConfig",
        summary="Keeps the Gaussians it started with.",
    )
