"""How well a portrait shows what it was made from, and what was held out."""

from collections.abc import Mapping

from instax3d.interfaces import Metric
from instax3d.plugin import PluginConfig
from instax3d.splats.photometric import psnr, ssim
from instax3d.types import EvaluationContext


class Fidelity(Metric[PluginConfig]):
    """PSNR and SSIM, each the mean over views of the figure of each; PSNR of a view is at most 100 dB."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        views, rendered = context.views, context.rendered
        found = {
            "psnr_views": float(psnr(rendered, views.images).mean()),
            "ssim_views": float(ssim(rendered, views.images).mean()),
        }
        if views.photo_index is not None:
            photo = [views.photo_index]
            found["psnr_photo"] = float(psnr(rendered[photo], views.images[photo]))
        if context.test_images is not None and context.test_rendered is not None:
            found["psnr_test"] = float(psnr(context.test_rendered, context.test_images).mean())
            found["ssim_test"] = float(ssim(context.test_rendered, context.test_images).mean())
        return found
