"""Announces the `sv3d` view generator to the registry. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.VIEW_GENERATOR,
        name="sv3d",
        api=1,
        summary="A turntable of 21 frames from one photo by Stable Video 3D; needs its weights.",
        target="instax3d_sv3d.generator:Sv3dGenerator",
        config="instax3d_sv3d.config:Sv3dConfig",
        needs=frozenset({"photo"}),
        requires=("diffusers", "transformers", "safetensors"),
        extra="sv3d",
    )
