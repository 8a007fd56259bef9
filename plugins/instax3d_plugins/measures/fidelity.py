"""How well a portrait reproduces its views, the photo and held-out frames."""

from collections.abc import Mapping

from instax3d.interfaces import Metric
from instax3d.plugin import PluginConfig
from instax3d.splats.photometric import psnr, ssim
from instax3d.types import EvaluationContext


class Fidelity(Metric[PluginConfig]):
    """PSNR and SSIM, means over views; PSNR of a view is at most 100 dB."""

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        views, rendered = context.views, context.rendered
        figures = {
            "psnr_views": float(psnr(rendered, views.images).mean()),
            "ssim_views": float(ssim(rendered, views.images).mean()),
        }
        if views.photo_index is not None:
            photo = [views.photo_index]
            figures["psnr_photo"] = float(psnr(rendered[photo], views.images[photo]))
        if context.test_images is not None and context.test_rendered is not None:
            figures["psnr_test"] = float(psnr(context.test_rendered, context.test_images).mean())
            figures["ssim_test"] = float(ssim(context.test_rendered, context.test_images).mean())
        return figures
