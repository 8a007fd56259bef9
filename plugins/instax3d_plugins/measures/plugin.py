"""Announces the metrics `fidelity`, `likeness`, `surface` and `cost`."""

from collections.abc import Iterator

from instax3d.plugin import Figure, Kind, PluginSpec, hookimpl

_SSIM = "with 3DGS's window of 11 pixels (Wang et al. 2004)"
_LIKE = "Euclidean distance of the landmark detector's face descriptors; with dlib, below 0.6 is the same person"

FIDELITY = (
    Figure(name="psnr_test", meaning="mean PSNR over a capture's held-out frames", unit="dB", better="higher"),
    Figure(
        name="ssim_test", meaning=f"mean SSIM over a capture's held-out frames, {_SSIM}", better="higher", decimals=4
    ),
    Figure(name="psnr_views", meaning="mean PSNR over the views it was made from", unit="dB", better="higher"),
    Figure(
        name="ssim_views", meaning=f"mean SSIM over the views it was made from, {_SSIM}", better="higher", decimals=4
    ),
    Figure(name="psnr_photo", meaning="PSNR against the photo, from its camera", unit="dB", better="higher"),
)
LIKENESS = (
    Figure(name="identity_front", meaning=f"from straight in front to the photo: {_LIKE}", better="lower", decimals=3),
    Figure(name="identity_photo", meaning=f"from the photo's camera to the photo: {_LIKE}", better="lower", decimals=3),
    Figure(
        name="identity_turn",
        meaning=f"mean over the frames of a turn that show a face, to the photo: {_LIKE}",
        better="lower",
        decimals=3,
    ),
    Figure(name="faces_in_turn", meaning="share of 21 frames of a turn in which a face is found", decimals=2),
)
_ABOVE = "above the chin, in the capture's world"
_MM = "mm by the fitted head's size, or by the option units_per_meter"
SURFACE = (
    Figure(
        name="surface",
        meaning=f"chamfer distance of the fitted head's skin and the true surface {_ABOVE}: mean of both directions' "
        f"mean distances; {_MM}",
        unit="mm",
        better="lower",
    ),
    Figure(
        name="surface_to_truth",
        meaning=f"mean distance of the fitted head's skin to the true surface {_ABOVE}; {_MM}",
        unit="mm",
        better="lower",
    ),
    Figure(
        name="surface_from_truth",
        meaning=f"mean distance of the true surface to the fitted head's skin {_ABOVE}; {_MM}",
        unit="mm",
        better="lower",
    ),
    Figure(
        name="surface_percent",
        meaning="the chamfer distance `surface` in percent of the true head's height from chin to crown",
        unit="%",
        better="lower",
    ),
    Figure(
        name="surface_gaussians",
        meaning="chamfer distance of the centers of Gaussians of at least half opacity and the true surface "
        f"{_ABOVE}; {_MM}. The spacing of the centers keeps it above zero",
        unit="mm",
        better="lower",
    ),
    Figure(
        name="surface_gaussians_to_truth",
        meaning=f"mean distance of these centers to the true surface {_ABOVE}; {_MM}",
        unit="mm",
        better="lower",
    ),
)
COST = (
    Figure(
        name="fps",
        meaning="frames a second, drawn one after the other from the cameras of the turn, the renderer warm",
        unit="1/s",
        better="higher",
        decimals=0,
    ),
    Figure(name="megabytes", meaning="size of portrait.ply", unit="MB", better="lower", decimals=1),
    Figure(
        name="peak_memory",
        meaning="largest resident memory of the process so far",
        unit="MB",
        better="lower",
        decimals=0,
    ),
)
_OPTIONS = "instax3d_plugins.measures.config:NoOptions"


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.METRIC,
        name="fidelity",
        api=1,
        target="instax3d_plugins.measures.fidelity:Fidelity",
        config=_OPTIONS,
        summary="PSNR and SSIM against the views, the photo and held-out frames.",
        figures=FIDELITY,
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="likeness",
        api=1,
        target="instax3d_plugins.measures.likeness:Likeness",
        config="instax3d_plugins.measures.config:LikenessConfig",
        summary="Distance of face descriptors to the photo, by the run's landmark detector.",
        figures=LIKENESS,
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="surface",
        api=1,
        target="instax3d_plugins.measures.surface:SurfaceDistance",
        config="instax3d_plugins.measures.config:SurfaceConfig",
        summary="Distance of head and Gaussians to a capture's true surface.",
        figures=SURFACE,
    )
    yield PluginSpec(
        kind=Kind.METRIC,
        name="cost",
        api=1,
        target="instax3d_plugins.measures.cost:Cost",
        config=_OPTIONS,
        summary="Frames a second, file size and memory.",
        figures=COST,
    )
