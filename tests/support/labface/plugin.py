"""Announces the head model and its file."""

from collections.abc import Iterator

from instax3d import Asset, AssetFile, Kind, PluginSpec, hookimpl

INSTAX3D_API = 1


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this package."""
    yield PluginSpec(
        kind=Kind.HEAD_MODEL,
        name="labface",
        summary="The lab's linear face model.",
        target="labface.head:LabFace",
        config="labface.config:LabFaceConfig",
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """The model's file."""
    yield Asset(
        name="labface",
        summary="the lab's face model",
        files=(AssetFile("labface.npz"),),
        license="CC0-1.0",
        license_url="https://example.org/license",
        commercial=True,
        registration=False,
        homepage="https://example.org",
    )
