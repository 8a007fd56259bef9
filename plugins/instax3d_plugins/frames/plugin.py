"""Announces the `frames` view generator."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.VIEW_GENERATOR,
        name="frames",
        target="instax3d_plugins.frames.generator:FramesGenerator",
        config="instax3d_plugins.frames.config:FramesConfig",
        summary="The frames of a capture as they are (nerfstudio or Blender transforms files).",
        needs=frozenset({"capture"}),
    )
