"""Announces the turntable sources. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The two sources of this family."""
    yield PluginSpec(
        kind=Kind.CLIP_SOURCE,
        name="heads",
        target="instax3d_plugins.turntables.heads:HeadsSource",
        config="instax3d_plugins.turntables.config:HeadsConfig",
        summary="Parametric heads with procedural skin, hair, clothes and light; no license attached.",
    )
    yield PluginSpec(
        kind=Kind.CLIP_SOURCE,
        name="captures",
        target="instax3d_plugins.turntables.captures:CapturesSource",
        config="instax3d_plugins.turntables.config:CapturesConfig",
        summary="Captures that have frames all around a head.",
    )
