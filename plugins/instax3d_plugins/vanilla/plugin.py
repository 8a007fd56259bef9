"""Announces the `unbound` representation and the `adc` and `none` densifiers."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.REPRESENTATION,
        name="unbound",
        formerly=("free",),
        target="instax3d_plugins.vanilla.representation:UnboundGaussians",
        config="instax3d_plugins.vanilla.config:UnboundConfig",
        summary="Gaussians that start on the head mesh and are bound to no mesh (3DGS).",
    )
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="adc",
        formerly=("default",),
        target="instax3d_plugins.vanilla.densifier:ADC",
        config="instax3d_plugins.vanilla.config:ADCConfig",
        summary="Clones and splits where image-plane gradients are large (3DGS; Instax3D, Eq. 7).",
    )
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="none",
        target="instax3d_plugins.vanilla.densifier:NoDensifier",
        summary="Keeps the initial Gaussians.",
    )
