"""The renderer plugin ``cpu``."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from typing import Any

from jaxtyping import Float
from torch import Tensor

from instax3d.interfaces import Renderer
from instax3d.types import Cameras, Gaussians, Render

from .autograd import DepthMode, Rasterised, Settings, rasterise
from .config import CpuConfig
from .projection import CONIC, DEPTH, OPACITY


def describe(result: Rasterised, settings: Settings) -> dict[str, Any]:
    """What densification strategies read of a rendering, under gsplat's names; all but ``means2d`` are without gradient."""
    records = result.records.detach()
    return {
        "batch_ids": None,
        "camera_ids": None,
        "gaussian_ids": None,
        "radii": result.radii,
        "means2d": result.means2d,
        "depths": records[..., DEPTH],
        "conics": records[..., CONIC : CONIC + 3],
        "opacities": records[..., OPACITY],
        "width": settings.width,
        "height": settings.height,
        "n_batches": 1,
        "n_cameras": len(records),
    }


class CpuRenderer(Renderer[CpuConfig]):
    """Draws on the CPU with the kernels of this package; the expected depth is differentiable too."""

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, background: Float[Tensor, "3"], absgrad: bool = False
    ) -> Render:
        """See `Renderer.render`; ``absgrad`` makes no difference, since it costs next to nothing here.

        Raises:
            RenderError: a tensor is not on the CPU, or the Gaussians touch too many tiles.
        """
        settings = Settings(
            cameras.width,
            cameras.height,
            degree=gaussians.sh_degree,
            depth=DepthMode.EXPECTED,
            antialiased=self.config.antialiased,
        )
        result = rasterise(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            gaussians.sh,
            cameras.viewmats,
            cameras.Ks,
            background.expand(len(cameras), 3),
            settings,
        )
        assert result.depth is not None
        return Render(result.image, result.alpha[:, None], result.depth[:, None], describe(result, settings))
