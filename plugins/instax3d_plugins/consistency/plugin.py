"""Announces the metric `mvc`. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetFile, Kind, MetricInfo, PluginSpec, hookimpl

_CLIP = "https://huggingface.co/openai/clip-vit-large-patch14"
# Revisions and sums as other projects quote them (CLIP's several, DINO's revision one); neither was downloaded here.
_CLIP_REVISION = "32bd64288804d66eefd0ccbe215aa642df71cc41"
_DINO = "https://huggingface.co/facebook/dino-vits16"
_DINO_REVISION = "abe3b354cb6a9b6f146096b14a4a9d7eecbcb4bd"

_PAIRS = "over all pairs of the 21 turntable frames"
_BOTH = "mean of the cosine similarities by CLIP ViT-L/14 and by DINO ViT-S/16"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The paper's MVC and its parts."""
    yield PluginSpec(
        kind=Kind.METRIC,
        name="mvc",
        target="instax3d_plugins.consistency.metric:Mvc",
        config="instax3d_plugins.consistency.config:MvcConfig",
        summary="Multi-view consistency by CLIP and DINO; needs their weights.",
        imports=("transformers", "safetensors"),
        extra="consistency",
        metric_info=(
            MetricInfo(name="mvc", description=f"{_BOTH}, {_PAIRS} (the paper's MVC)", better="higher", decimals=3),
            MetricInfo(
                name="mvc_clip",
                description=f"mean cosine of CLIP ViT-L/14's image embeddings {_PAIRS}",
                better="higher",
                decimals=3,
            ),
            MetricInfo(
                name="mvc_dino",
                description=f"mean cosine of DINO ViT-S/16's class tokens {_PAIRS}",
                better="higher",
                decimals=3,
            ),
            MetricInfo(
                name="mvc_adjacent",
                description=f"{_BOTH}, over the pairs of consecutive turntable frames",
                better="higher",
                decimals=3,
            ),
            MetricInfo(
                name="mvc_photo",
                description=f"{_BOTH}, of the turntable frames to the view that is the photo",
                better="higher",
                decimals=3,
            ),
        ),
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """Both networks in transformers' format, each at a fixed revision."""
    yield Asset(
        name="clip-vit-large-patch14",
        summary="OpenAI's CLIP ViT-L/14",
        files=(
            AssetFile(
                "config.json",
                f"{_CLIP}/resolve/{_CLIP_REVISION}/config.json",
                size=4519,
                sha256="8a09b467700c58138c29d53c605b34ebc69beaadd13274a8a2af8ad2c2f4032a",
            ),
            AssetFile(
                "model.safetensors",
                f"{_CLIP}/resolve/{_CLIP_REVISION}/model.safetensors",
                size=1_710_540_580,
                sha256="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
                also=("pytorch_model.bin",),
            ),
        ),
        license="MIT for OpenAI's code; the weights' page names no license, and its model card deems deployed use out "
        "of scope",
        license_url="https://github.com/openai/CLIP/blob/main/LICENSE",
        commercial=None,
        registration=False,
        homepage=_CLIP,
    )
    yield Asset(
        name="dino-vits16",
        summary="Facebook's DINO ViT-S/16",
        # their checksums are unknown here: they are recorded at the first use
        files=(
            AssetFile("config.json", f"{_DINO}/resolve/{_DINO_REVISION}/config.json"),
            AssetFile(
                "pytorch_model.bin",
                f"{_DINO}/resolve/{_DINO_REVISION}/pytorch_model.bin",
                also=("model.safetensors",),
            ),
        ),
        license="Apache-2.0",
        license_url="https://github.com/facebookresearch/dino/blob/main/LICENSE",
        commercial=True,
        registration=False,
        homepage=_DINO,
    )
