"""Announces the `sv3d` view generator to the registry. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetFile, CommandSpec, Kind, PluginSpec, hookimpl

_HUB = "https://huggingface.co/stabilityai/sv3d"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.VIEW_GENERATOR,
        name="sv3d",
        summary="A turntable of 21 frames from one photo by Stable Video 3D; needs its weights.",
        target="instax3d_plugins.sv3d.generator:Sv3dGenerator",
        config="instax3d_plugins.sv3d.config:Sv3dConfig",
        needs=frozenset({"photo"}),
        imports=("diffusers", "transformers", "safetensors"),
        extra="sv3d",
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """The official weights. Their sizes and checksums are unknown here: they are recorded at the first use."""
    yield _weights("sv3d", "Stable Video 3D, variant p (with camera condition)", "sv3d_p.safetensors")
    yield _weights("sv3d-u", "Stable Video 3D, variant u (without camera condition)", "sv3d_u.safetensors")


def _weights(name: str, summary: str, file: str) -> Asset:
    return Asset(
        name=name,
        summary=f"{summary}: video network, image autoencoder and CLIP's vision tower in one file",
        files=(AssetFile(file, url=f"{_HUB}/resolve/main/{file}", token="HF_TOKEN"),),
        license="Stability AI Non-Commercial Research Community License",
        license_url="https://github.com/Stability-AI/generative-models/blob/main/model_licenses/LICENSE-SV3D",
        commercial=False,
        registration=True,
        homepage=_HUB,
    )


@hookimpl
def instax3d_commands() -> Iterator[CommandSpec]:
    yield CommandSpec(
        name="sv3d",
        summary="Stable Video 3D's weights: inspect, convert.",
        target="instax3d_plugins.sv3d.commands:sv3d",
        extra="sv3d",
    )
    yield CommandSpec(
        name="finetune",
        summary="Fine-tune Stable Video 3D on turntables: sv3d, options.",
        target="instax3d_plugins.sv3d.finetune.commands:finetune",
        extra="sv3d",
    )
