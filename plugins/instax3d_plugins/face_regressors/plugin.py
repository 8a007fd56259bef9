"""Announces the estimators `deca` and `fused` and the metric `shape_pose`. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetFile, Kind, MetricInfo, PluginSpec, hookimpl

_PAIRS = (
    "of rendered faces against the photo's, mean over the photo's camera and the frames of a turn within 40 degrees of "
    "the front, or against a capture's held-out frames, from their cameras"
)


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The two mesh priors of this family, and the metric on DECA's codes."""
    for name, what in (
        ("deca", "A FLAME head regressed by DECA from one frame."),
        ("fused", "A FLAME head regressed by DECA from the photo and its neighbors and averaged, as in the paper."),
    ):
        yield PluginSpec(
            kind=Kind.MESH_PRIOR,
            name=name,
            summary=f"{what} Needs files from their owners.",
            target=f"instax3d_plugins.face_regressors.prior:{name.capitalize()}Prior",
            config=f"instax3d_plugins.face_regressors.config:{name.capitalize()}Config",
            needs=frozenset({"landmarks68"}),
            provides=frozenset({"head_model", "rig"}),
        )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="shape_pose",
        summary="Shape and pose codes of DECA, rendered against photo or truth; needs DECA's file.",
        target="instax3d_plugins.face_regressors.metric:ShapePose",
        config="instax3d_plugins.face_regressors.config:ShapePoseConfig",
        metric_info=(
            MetricInfo(
                name="shape_mse",
                description=f"mean squared error of DECA's 100 shape numbers {_PAIRS}",
                unit="1e-2",
                better="lower",
                decimals=3,
            ),
            MetricInfo(
                name="pose_mse",
                description=f"mean squared error of DECA's 6 pose numbers, head and jaw in radians, {_PAIRS}; what the "
                "cameras turn the head is known and taken off",
                unit="1e-2",
                better="lower",
                decimals=3,
            ),
            MetricInfo(
                name="shape_pose_faces", description="share of these frames in which a face is found", better="higher"
            ),
        ),
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """The networks' files, which only their authors distribute."""
    yield Asset(
        name="deca",
        summary="DECA's trained model",
        files=(AssetFile("deca_model.tar"),),
        license="Max Planck license for non-commercial scientific research",
        license_url="https://github.com/yfeng95/DECA/blob/master/LICENSE",
        commercial=False,
        registration=True,
        homepage="https://github.com/yfeng95/DECA",
        steps=("Register for FLAME at https://flame.is.tue.mpg.de, which DECA's parameters are of.",),
    )
    yield Asset(
        name="deep3d",
        summary="Deep3DFaceReconstruction's network and its mean face's landmarks",
        files=(AssetFile("epoch_20.pth"), AssetFile("similarity_Lm3D_all.mat")),
        license="MIT for the code; the weights were trained with the Basel Face Model 2009, which is for "
        "non-commercial research",
        license_url="https://github.com/sicxu/Deep3DFaceRecon_pytorch/blob/master/LICENSE",
        commercial=False,
        registration=False,
        homepage="https://github.com/sicxu/Deep3DFaceRecon_pytorch",
        steps=(
            "Download epoch_20.pth from the link to the pre-trained model in its README.",
            "Take similarity_Lm3D_all.mat from the folder BFM of Deep3DFaceReconstruction.",
        ),
    )
    yield Asset(
        name="faceverse",
        summary="FaceVerse v4's network",
        files=(AssetFile("faceverse_resnet50.pth"),),
        license="MIT",
        license_url="https://github.com/LizhenWangT/FaceVerse",
        commercial=None,
        registration=False,
        homepage="https://github.com/LizhenWangT/FaceVerse",
        steps=("Follow the link to version 4 in its README.",),
    )
