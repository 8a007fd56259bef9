"""Announces the `dlib` landmark detector."""

from collections.abc import Iterator

from instax3d.plugin import Asset, Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.LANDMARK_DETECTOR,
        name="dlib",
        target="instax3d_plugins.dlib.detector:DlibDetector",
        config="instax3d_plugins.dlib.config:DlibConfig",
        summary="Face boxes, 68 landmarks and identity descriptors by dlib, on the CPU and offline.",
        provides=frozenset({"landmarks68", "identity"}),
        imports=("dlib", "face_recognition_models"),
        assets=("dlib-landmarks-68",),
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    yield Asset(
        name="dlib-landmarks-68",
        summary="dlib's model of 68 landmarks, trained on iBUG 300-W, and its identity network",
        files=(),
        license="CC0-1.0 as packaged; its authors point out that the terms of the iBUG 300-W pictures exclude "
        "commercial use",
        license_url="https://github.com/davisking/dlib-models",
        commercial=None,
        registration=False,
        homepage="https://pypi.org/project/face-recognition-models/",
    )
