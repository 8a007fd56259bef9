"""Announces the head models `flame` and `flame-2020`, their files and the conversions. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetConverter, AssetFile, Kind, PluginSpec, hookimpl

_HOMEPAGE = "https://flame.is.tue.mpg.de"
_MPI = "Max Planck license for non-commercial scientific use"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """FLAME of any version, and the version that regressors such as DECA require by name."""
    yield PluginSpec(
        kind=Kind.HEAD_MODEL,
        name="flame",
        summary="FLAME 2020, 2023 or 2023 Open from the user's own files.",
        target="instax3d_plugins.flame.model:FlameModel",
        config="instax3d_plugins.flame.config:FlameConfig",
    )
    yield PluginSpec(
        kind=Kind.HEAD_MODEL,
        name="flame-2020",
        summary="FLAME 2020 from the user's own files, the version of DECA.",
        target="instax3d_plugins.flame.model:FlameModel",
        config="instax3d_plugins.flame.config:Flame2020Config",
        provides=frozenset({"flame-2020"}),
    )


def _model(version: str, title: str, file: str, license: str, commercial: bool | None) -> Asset:
    return Asset(
        name=f"flame-{version}",
        summary=f"the head model {title}",
        files=(AssetFile(file),),
        license=license,
        license_url=f"{_HOMEPAGE}/modellicense.html",
        commercial=commercial,
        registration=True,
        homepage=_HOMEPAGE,
        steps=(
            f"open {_HOMEPAGE}, register and accept the license of {title}",
            f"download {title} from its page of downloads and unpack the archive: it holds {file}",
        ),
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """What FLAME needs; this project may not redistribute any of it."""
    yield _model(
        "2023-open",
        "FLAME 2023 Open",
        "flame2023_Open.pkl",
        "CC-BY-4.0 according to users; read the license at the source",
        None,
    )
    yield _model("2023", "FLAME 2023", "flame2023.pkl", _MPI, False)
    yield _model("2020", "FLAME 2020", "generic_model.pkl", _MPI, False)
    yield Asset(
        name="flame-landmarks",
        summary="the 68 landmarks on FLAME's mesh, as DECA ships them",
        files=(
            AssetFile(
                "landmark_embedding.npy", "https://github.com/yfeng95/DECA/raw/master/data/landmark_embedding.npy"
            ),
        ),
        license="Max Planck license for non-commercial scientific use (DECA)",
        license_url="https://github.com/yfeng95/DECA/blob/master/LICENSE",
        commercial=False,
        registration=False,
        homepage="https://github.com/yfeng95/DECA",
    )
    yield Asset(
        name="flame-masks",
        summary="the parts of FLAME's mesh by name",
        files=(AssetFile("FLAME_masks.pkl"),),
        license="unknown; it comes from FLAME's page of downloads",
        license_url=f"{_HOMEPAGE}/modellicense.html",
        commercial=None,
        registration=True,
        homepage=_HOMEPAGE,
        steps=(
            f"open {_HOMEPAGE} and register",
            "download FLAME Vertex Masks and unpack the archive: it holds FLAME_masks.pkl",
        ),
    )


@hookimpl
def instax3d_converters() -> Iterator[AssetConverter]:
    """Of the model, and of parameters that trackers write."""
    yield AssetConverter(
        name="flame",
        summary="FLAME's pickle, or a folder with model, landmarks and masks, to one safe .npz.",
        target="instax3d_plugins.flame.convert:convert_model",
    )
    yield AssetConverter(
        name="deca",
        summary="DECA's codes (.npz with shape, exp, pose) to parameters of the head.",
        target="instax3d_plugins.flame.parameters:from_deca",
    )
    yield AssetConverter(
        name="to-deca",
        summary="Parameters of the head (.npz) to DECA's codes.",
        target="instax3d_plugins.flame.parameters:to_deca",
    )
    yield AssetConverter(
        name="vhap",
        summary="A flame_param.npz of VHAP or GaussianAvatars to parameters of the head, its first frame.",
        target="instax3d_plugins.flame.parameters:from_vhap",
    )
    yield AssetConverter(
        name="to-vhap",
        summary="Parameters of the head (.npz) to a flame_param.npz of one frame.",
        target="instax3d_plugins.flame.parameters:to_vhap",
    )
