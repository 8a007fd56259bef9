"""Announces the `triangles` representation."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.REPRESENTATION,
        name="triangles",
        target="instax3d_plugins.triangles.representation:TriangleGaussians",
        config="instax3d_plugins.triangles.config:TrianglesConfig",
        summary="Residual Gaussians bound to the triangles of the head mesh (Instax3D, Eq. 6).",
    )
