"""``report.html`` of one portrait: photo, turntable, metrics with definitions, view by view, licenses, settings."""

from pathlib import Path

from instax3d.errors import PortraitError
from instax3d.io.files import write_text
from instax3d.io.images import to_uint8
from instax3d.portrait.layout import REPORT, SHEET
from instax3d.portrait.licenses import parts
from instax3d.portrait.portrait import Portrait
from instax3d.splats.photometric import psnr, ssim
from instax3d.stages.evaluation import Evaluation
from instax3d.types import EvaluationContext

from .html import as_svg, fill
from .jpeg_url import as_jpeg_url, file_as_jpeg_url
from .metric_info import known_metrics


def write_report(folder: Path, portrait: Portrait, context: EvaluationContext, evaluation: Evaluation) -> Path:
    """Write the report into the portrait's folder.

    Raises:
        PortraitError: the turntable cannot be read, or the report cannot be written.
    """
    views, rendered = context.views, context.rendered
    photo = None if views.photo_index is None else as_jpeg_url(to_uint8(views.images[views.photo_index]).numpy())
    text = fill(
        "portrait.html.j2",
        title=folder.absolute().name,
        photo=photo,
        turntable=_turntable(folder / SHEET),
        metrics=[
            (metric, evaluation.metrics[metric.name]) for metric in known_metrics() if metric.name in evaluation.metrics
        ],
        missing=evaluation.missing,
        plot=_by_view(psnr(rendered, views.images).tolist(), ssim(rendered, views.images).tolist()),
        manifest=portrait.manifest,
        config=portrait.recipe.text,
        parts=list(parts(portrait.manifest)),
    )
    try:
        write_text(folder / REPORT, text)
    except OSError as error:
        raise PortraitError(f"cannot write {folder / REPORT}: {error.strerror or error}") from error
    return folder / REPORT


def _turntable(path: Path) -> str:
    """A contact sheet as a data URL.

    Raises:
        PortraitError: it cannot be read.
    """
    try:
        return file_as_jpeg_url(path)
    except Exception as error:  # Pillow's readers raise whatever their parsing meets
        raise PortraitError(f"cannot read {path} ({error}); make the portrait again") from error


def _by_view(psnrs: list[float], ssims: list[float]) -> str:
    """PSNR and SSIM of each view as an SVG element."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 3), layout="constrained")
    axes = canvas.subplots()
    axes.bar(range(len(psnrs)), psnrs, color="#346")
    axes.set_xlabel("view")
    axes.set_ylabel("PSNR (dB)", color="#346")
    other = axes.twinx()
    other.plot(range(len(ssims)), ssims, color="#c33", marker=".")
    other.set_ylabel("SSIM", color="#c33")
    return as_svg(canvas, "PSNR and SSIM of each view")
