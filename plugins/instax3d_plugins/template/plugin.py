"""Announces the template view generator to the registry. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.VIEW_GENERATOR,
        name="template",
        summary="Views from one photo without learned weights; what the photo hides is guessed.",
        target="instax3d_plugins.template.generator:TemplateGenerator",
        config="instax3d_plugins.template.config:TemplateConfig",
        needs=frozenset({"photo"}),
    )
