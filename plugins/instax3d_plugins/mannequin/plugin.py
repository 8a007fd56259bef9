"""Announces the mannequin to the registry. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.HEAD_MODEL,
        name="mannequin",
        summary="A parametric head with neck and bust that needs no download.",
        target="instax3d_plugins.mannequin.model:MannequinModel",
    )
