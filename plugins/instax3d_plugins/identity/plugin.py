"""Announces the metrics `facenet` and `arcface`, and the loss `identity`. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetFile, Kind, MetricInfo, PluginSpec, hookimpl

_HOW = "mean cosine of embeddings, turntable frames with a face against the photo"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """Both metrics, whose mean is the paper's IPA, and the loss."""
    yield PluginSpec(
        kind=Kind.METRIC,
        name="facenet",
        target="instax3d_plugins.identity.metrics:Facenet",
        config="instax3d_plugins.identity.config:FacenetConfig",
        summary="Likeness to the photo by FaceNet; needs its weights.",
        metric_info=(
            MetricInfo(name="facenet", description=f"FaceNet (VGGFace2): {_HOW}", better="higher", decimals=3),
        ),
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="arcface",
        target="instax3d_plugins.identity.metrics:Arcface",
        config="instax3d_plugins.identity.config:ArcfaceConfig",
        summary="Likeness to the photo by ArcFace; needs its weights.",
        metric_info=(MetricInfo(name="arcface", description=f"ArcFace: {_HOW}", better="higher", decimals=3),),
    )
    yield PluginSpec(
        kind=Kind.LOSS,
        name="identity",
        target="instax3d_plugins.identity.loss:Identity",
        config="instax3d_plugins.identity.config:IdentityConfig",
        summary="Likeness of the rendered face to the photo's by FaceNet or ArcFace; needs their weights.",
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """Weights of both networks."""
    yield Asset(
        name="facenet-vggface2",
        summary="FaceNet's Inception-ResNet v1, trained on VGGFace2",
        files=(
            AssetFile(
                "20180402-114759-vggface2.pt",
                "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
            ),
        ),
        license="MIT for the code; the images of VGGFace2 are for research",
        license_url="https://github.com/timesler/facenet-pytorch/blob/master/LICENSE.md",
        commercial=None,
        registration=False,
        homepage="https://github.com/timesler/facenet-pytorch",
    )
    yield Asset(
        name="arcface-iresnet50",
        summary="ArcFace's iresnet50 (arcface_torch)",
        files=(AssetFile("backbone.pth"),),
        license="insightface's models: non-commercial research only",
        license_url="https://github.com/deepinsight/insightface#license",
        commercial=False,
        registration=False,
        homepage="https://github.com/deepinsight/insightface/tree/master/recognition/arcface_torch",
    )
