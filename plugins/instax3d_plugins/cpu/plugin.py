"""Registers the cpu renderer; imports neither torch nor numba."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.RENDERER,
        name="cpu",
        summary="Differentiable Gaussian splatting on the CPU, all cores, no compiler needed.",
        target="instax3d_plugins.cpu.renderer:CpuRenderer",
        config="instax3d_plugins.cpu.config:CpuConfig",
        provides=frozenset({"absgrad", "cpu"}),
        imports=("numba",),
    )
