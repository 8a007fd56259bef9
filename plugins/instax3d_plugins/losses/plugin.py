"""Announces the losses `photometric`, `alpha`, `opacity` and `normals`."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl

_CONFIG, _IMAGE = "instax3d_plugins.losses.config", "instax3d_plugins.losses.image"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.LOSS,
        name="photometric",
        target=f"{_IMAGE}:Photometric",
        config=f"{_CONFIG}:PhotometricConfig",
        summary="L1 and SSIM between render and view, each pixel by its confidence (3DGS).",
    )
    yield PluginSpec(
        kind=Kind.LOSS,
        name="alpha",
        target=f"{_IMAGE}:Alpha",
        config=f"{_CONFIG}:AlphaConfig",
        summary="L1 between the alphas of render and view, so that nothing white floats in front of white.",
    )
    yield PluginSpec(
        kind=Kind.LOSS,
        name="opacity",
        target=f"{_IMAGE}:Opacity",
        config=f"{_CONFIG}:OpacityConfig",
        summary="Closes see-through holes in the head, in side views above all.",
    )
    yield PluginSpec(
        kind=Kind.LOSS,
        name="normals",
        target="instax3d_plugins.losses.normals:Normals",
        config=f"{_CONFIG}:NormalsConfig",
        summary="Gaussians near the head mesh lie flat on it.",
    )
