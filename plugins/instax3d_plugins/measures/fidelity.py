"""How well a portrait shows what it was made from, and what was held out."""

from collections.abc import Mapping

from instax3d.interfaces import Metric
from instax3d.splats.photometric import psnr, ssim
from instax3d.types import Evidence

from .config import NoOptions


class Fidelity(Metric[NoOptions]):
    """PSNR and SSIM, each the mean over views of the figure of each; PSNR of a view is at most 100 dB."""

    def measure(self, evidence: Evidence) -> Mapping[str, float]:
        views, rendered = evidence.views, evidence.rendered
        found = {
            "psnr_views": float(psnr(rendered, views.images).mean()),
            "ssim_views": float(ssim(rendered, views.images).mean()),
        }
        if views.photo_index is not None:
            photo = [views.photo_index]
            found["psnr_photo"] = float(psnr(rendered[photo], views.images[photo]))
        if evidence.truth is not None and evidence.truth_rendered is not None:
            found["psnr_test"] = float(psnr(evidence.truth_rendered, evidence.truth).mean())
            found["ssim_test"] = float(ssim(evidence.truth_rendered, evidence.truth).mean())
        return found
