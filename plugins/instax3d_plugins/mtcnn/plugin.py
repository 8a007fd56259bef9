"""Announces the `mtcnn` landmark detector. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetFile, Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.LANDMARK_DETECTOR,
        name="mtcnn",
        summary="Face boxes and five points by MTCNN, also of turned heads; for metrics and alignment.",
        target="instax3d_plugins.mtcnn.detector:MtcnnDetector",
        config="instax3d_plugins.mtcnn.config:MtcnnConfig",
        provides=frozenset({"points5"}),
        assets=("mtcnn",),
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """The weights, for use without the package that contains them."""
    yield Asset(
        name="mtcnn",
        summary="MTCNN's three networks as facenet-pytorch packs them",
        files=(AssetFile("pnet.pt"), AssetFile("rnet.pt"), AssetFile("onet.pt")),
        license="MIT",
        license_url="https://github.com/timesler/facenet-pytorch/blob/master/LICENSE.md",
        commercial=True,
        registration=False,
        homepage="https://pypi.org/project/facenet-pytorch/",
        steps=("pip install --no-deps facenet-pytorch installs them: they are then read from the package.",),
    )
