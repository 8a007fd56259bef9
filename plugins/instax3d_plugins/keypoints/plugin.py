"""Announces the metrics `pck` and `landmarks`. Never imports torch."""

from collections.abc import Iterator

from instax3d.plugin import Kind, MetricInfo, PluginSpec, hookimpl

_FRAMES = "frames of a turn within 40 degrees of the front"
_PCK = (
    "share of five keypoints (MTCNN's, unless another detector is chosen) found within {} of the longer side of the "
    "box around the fitted head's projected landmarks, in " + _FRAMES + "; a face that is not found counts as wrong"
)
_ERROR = "mean distance of the landmarks of brows, nose, eyes and mouth, in % of the distance of the outer eye corners"
PCK = (
    MetricInfo(name="pck", description=_PCK.format(0.1), unit="%", better="higher", decimals=1),
    MetricInfo(name="pck_05", description=_PCK.format(0.05), unit="%", better="higher", decimals=1),
    MetricInfo(name="pck_02", description=_PCK.format(0.02), unit="%", better="higher", decimals=1),
    MetricInfo(name="pck_faces", description=f"share of the {_FRAMES} in which a face is found", better="higher"),
)
LANDMARKS = (
    MetricInfo(
        name="landmarks",
        description=f"{_ERROR}: found in {_FRAMES}, against the fitted head's, projected",
        unit="%",
        better="lower",
    ),
    MetricInfo(
        name="landmarks_photo",
        description=f"{_ERROR}: found from the photo's camera, against those found in the photo",
        unit="%",
        better="lower",
    ),
    MetricInfo(
        name="landmarks_test",
        description=f"{_ERROR}: found from a capture's held-out cameras, against those found in its frames",
        unit="%",
        better="lower",
    ),
    MetricInfo(
        name="landmarks_faces",
        description="share of the frames of these three in which a face is found, of those that should show one",
        better="higher",
    ),
)


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """Both metrics; with ``detector: dlib`` `pck` needs no third-party assets either."""
    yield PluginSpec(
        kind=Kind.METRIC,
        name="pck",
        target="instax3d_plugins.keypoints.metrics:Pck",
        config="instax3d_plugins.keypoints.config:PckConfig",
        summary="Percentage of correct keypoints, by MTCNN, whose weights it needs, or another detector.",
        metric_info=PCK,
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="landmarks",
        target="instax3d_plugins.keypoints.metrics:Landmarks",
        config="instax3d_plugins.keypoints.config:LandmarksConfig",
        summary="Landmark error against the fitted head, the photo and held-out frames.",
        metric_info=LANDMARKS,
    )
