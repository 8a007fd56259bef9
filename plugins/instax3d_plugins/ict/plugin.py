"""Announces the head model `ict` and its files. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetConverter, AssetFile, Kind, PluginSpec, hookimpl

_HOMEPAGE = "https://github.com/ICT-VGL/ICT-FaceKit"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.HEAD_MODEL,
        name="ict",
        summary="ICT-FaceKit, free for commercial use: 100 identities, ARKit's expressions.",
        target="instax3d_plugins.ict.model:IctModel",
        config="instax3d_plugins.ict.config:IctConfig",
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """The published archive."""
    yield Asset(
        name="ict-facekit",
        summary="the head model ICT-FaceKit",
        files=(AssetFile("ICT-FaceKit-master.zip", f"{_HOMEPAGE}/archive/refs/heads/master.zip"),),
        license="MIT",
        license_url=f"{_HOMEPAGE}/blob/master/LICENSE",
        commercial=True,
        registration=False,
        homepage=_HOMEPAGE,
    )


@hookimpl
def instax3d_converters() -> Iterator[AssetConverter]:
    """To a file of the parts that are used."""
    yield AssetConverter(
        name="ict",
        summary="ICT-FaceKit's folder or archive to one .npz, which is read in a second.",
        target="instax3d_plugins.ict.convert:convert_model",
    )
