"""Announces the metrics `fidelity`, `likeness`, `surface` and `cost`."""

from collections.abc import Iterator

from instax3d.plugin import Kind, MetricInfo, PluginSpec, hookimpl

_SSIM = "with 3DGS's window of 11 pixels (Wang et al. 2004)"
_LIKE = "Euclidean distance of the landmark detector's face descriptors; with dlib, below 0.6 is the same person"

FIDELITY = (
    MetricInfo(name="psnr_test", description="mean PSNR over a capture's held-out frames", unit="dB", better="higher"),
    MetricInfo(
        name="ssim_test",
        description=f"mean SSIM over a capture's held-out frames, {_SSIM}",
        better="higher",
        decimals=4,
    ),
    MetricInfo(name="psnr_views", description="mean PSNR over the views it was made from", unit="dB", better="higher"),
    MetricInfo(
        name="ssim_views",
        description=f"mean SSIM over the views it was made from, {_SSIM}",
        better="higher",
        decimals=4,
    ),
    MetricInfo(name="psnr_photo", description="PSNR against the photo, from its camera", unit="dB", better="higher"),
)
LIKENESS = (
    MetricInfo(
        name="identity_front", description=f"from straight in front to the photo: {_LIKE}", better="lower", decimals=3
    ),
    MetricInfo(
        name="identity_photo", description=f"from the photo's camera to the photo: {_LIKE}", better="lower", decimals=3
    ),
    MetricInfo(
        name="identity_turn",
        description=f"mean over the frames of a turn that show a face, to the photo: {_LIKE}",
        better="lower",
        decimals=3,
    ),
    MetricInfo(name="faces_in_turn", description="share of 21 frames of a turn in which a face is found", decimals=2),
)
_ABOVE = "above the chin, in the capture's world"
_MM = "mm by the fitted head's size, or by the option units_per_meter"
SURFACE = (
    MetricInfo(
        name="surface",
        description=f"chamfer distance of the fitted head's skin and the true surface {_ABOVE}: mean of both "
        f"directions' mean distances; {_MM}",
        unit="mm",
        better="lower",
    ),
    MetricInfo(
        name="surface_to_truth",
        description=f"mean distance of the fitted head's skin to the true surface {_ABOVE}; {_MM}",
        unit="mm",
        better="lower",
    ),
    MetricInfo(
        name="surface_from_truth",
        description=f"mean distance of the true surface to the fitted head's skin {_ABOVE}; {_MM}",
        unit="mm",
        better="lower",
    ),
    MetricInfo(
        name="surface_percent",
        description="the chamfer distance `surface` in percent of the true head's height from chin to crown",
        unit="%",
        better="lower",
    ),
    MetricInfo(
        name="surface_gaussians",
        description="chamfer distance of the centers of Gaussians of at least half opacity and the true surface "
        f"{_ABOVE}; {_MM}. The spacing of the centers keeps it above zero",
        unit="mm",
        better="lower",
    ),
    MetricInfo(
        name="surface_gaussians_to_truth",
        description=f"mean distance of these centers to the true surface {_ABOVE}; {_MM}",
        unit="mm",
        better="lower",
    ),
)
COST = (
    MetricInfo(
        name="fps",
        description="frames a second, drawn one after the other from the cameras of the turn, the renderer warm",
        unit="1/s",
        better="higher",
        decimals=0,
    ),
    MetricInfo(name="megabytes", description="size of portrait.ply", unit="MB", better="lower", decimals=1),
    MetricInfo(
        name="peak_memory",
        description="largest resident memory of the process so far",
        unit="MB",
        better="lower",
        decimals=0,
    ),
)


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.METRIC,
        name="fidelity",
        target="instax3d_plugins.measures.fidelity:Fidelity",
        summary="PSNR and SSIM against the views, the photo and held-out frames.",
        metric_info=FIDELITY,
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="likeness",
        target="instax3d_plugins.measures.likeness:Likeness",
        config="instax3d_plugins.measures.config:LikenessConfig",
        summary="Distance of face descriptors to the photo, by the run's landmark detector.",
        metric_info=LIKENESS,
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="surface",
        target="instax3d_plugins.measures.surface:SurfaceDistance",
        config="instax3d_plugins.measures.config:SurfaceConfig",
        summary="Distance of head and Gaussians to a capture's true surface.",
        metric_info=SURFACE,
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="cost",
        target="instax3d_plugins.measures.cost:Cost",
        summary="Frames a second, file size and memory.",
        metric_info=COST,
    )
