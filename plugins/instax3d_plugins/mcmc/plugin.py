"""Announces the `mcmc` densifier."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="mcmc",
        target="instax3d_plugins.mcmc.densifier:MCMC",
        config="instax3d_plugins.mcmc.config:MCMCConfig",
        summary="Relocates dead Gaussians to living ones, adds more, adds noise to faint ones (3DGS-MCMC).",
    )
