"""Announces the loss `lpips` and its weights."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetFile, Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.LOSS,
        name="lpips",
        target="instax3d_plugins.lpips.loss:Lpips",
        config="instax3d_plugins.lpips.config:LpipsConfig",
        summary="Perceptual distance between render and view by VGG16 (LPIPS); needs its weights.",
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """Both files: the network, and the weights of its channels."""
    yield Asset(
        name="lpips-vgg16",
        summary="VGG16 trained on ImageNet (torchvision), and the channel weights of LPIPS 0.1",
        files=(
            AssetFile("vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth"),
            AssetFile(
                "vgg.pth",
                "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",
            ),
        ),
        license="BSD-2-Clause (LPIPS) and BSD-3-Clause (torchvision); the images of ImageNet are for research",
        license_url="https://github.com/richzhang/PerceptualSimilarity/blob/master/LICENSE",
        commercial=None,
        registration=False,
        homepage="https://github.com/richzhang/PerceptualSimilarity",
    )
