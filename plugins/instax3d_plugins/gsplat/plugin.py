"""Registers the gsplat renderer; imports neither torch nor gsplat."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.RENDERER,
        name="gsplat",
        summary="Differentiable Gaussian splatting on an NVIDIA GPU by gsplat's CUDA kernels.",
        target="instax3d_plugins.gsplat.renderer:GsplatRenderer",
        config="instax3d_plugins.gsplat.config:GsplatConfig",
        needs=frozenset({"cuda"}),
        provides=frozenset({"absgrad"}),
        imports=("gsplat",),
    )
