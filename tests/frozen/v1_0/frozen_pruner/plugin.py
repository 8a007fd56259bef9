"""Announces the densifier. Frozen: see tests/core/test_frozen.py."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl

INSTAX3D_API = 1


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this package."""
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="frozen_pruner",
        summary="Removes the Gaussians that matter least.",
        target="frozen_pruner.densifier:FrozenPruner",
        config="frozen_pruner.config:FrozenPrunerConfig",
        needs=frozenset({"absgrad"}),
    )
