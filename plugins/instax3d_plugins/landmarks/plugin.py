"""Announces the mesh prior that fits any head model. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family; it answers to the names of all head models as well."""
    yield PluginSpec(
        kind=Kind.MESH_PRIOR,
        name="landmarks",
        summary="Any head model, fitted to the landmarks and outlines of the views.",
        target="instax3d_plugins.landmarks.prior:LandmarksPrior",
        config="instax3d_plugins.landmarks.config:LandmarksConfig",
        needs=frozenset({"landmarks68"}),
        provides=frozenset({"head_model", "rig"}),
        binds="head",
    )
