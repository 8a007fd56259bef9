"""Announces the `mediapipe` landmark detector. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Asset, AssetFile, Kind, PluginSpec, hookimpl

_MODELS = "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this family."""
    yield PluginSpec(
        kind=Kind.LANDMARK_DETECTOR,
        name="mediapipe",
        summary="478 face points, irises included, and the 68 landmarks among them, by MediaPipe.",
        target="instax3d_plugins.mediapipe.detector:MediapipeDetector",
        config="instax3d_plugins.mediapipe.config:MediapipeConfig",
        provides=frozenset({"landmarks68", "points478"}),
        imports=("mediapipe",),
        extra="mediapipe",
    )


@hookimpl
def instax3d_assets() -> Iterator[Asset]:
    """MediaPipe's own model; its package contains none."""
    yield Asset(
        name="mediapipe-face-landmarker",
        summary="MediaPipe's face landmarker",
        files=(AssetFile("face_landmarker.task", url=f"{_MODELS}/face_landmarker.task"),),
        license="Apache-2.0",
        license_url="https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker",
        commercial=True,
        registration=False,
        homepage="https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker",
    )
