"""The renderer plugin ``gsplat``."""

from gsplat import rasterization
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import RenderError
from instax3d.interfaces import Renderer
from instax3d.types import Cameras, Gaussians, Render

from .config import GsplatConfig
from .probe import require_kernels


class GsplatRenderer(Renderer[GsplatConfig]):
    """Renders on an NVIDIA GPU with gsplat's ``rasterization``; the expected depth is differentiable too.

    Raises:
        RenderError: there is no GPU, or its kernels cannot be built; the message names the missing piece.
    """

    device_type = "cuda"

    def __init__(self, config: GsplatConfig) -> None:
        super().__init__(config)
        require_kernels()

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, background: Float[Tensor, "3"], absgrad: bool = False
    ) -> Render:
        """See `Renderer.render`.

        Raises:
            RenderError: the Gaussians are not on a GPU.
        """
        if gaussians.means.device.type != "cuda":
            raise RenderError(
                f"The gsplat renderer got Gaussians on {gaussians.means.device}: move them to cuda, or choose "
                "renderer=cpu"
            )
        image, alpha, info = rasterization(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            gaussians.sh,
            cameras.viewmats,
            cameras.Ks,
            cameras.width,
            cameras.height,
            sh_degree=gaussians.sh_degree,
            packed=False,
            backgrounds=background.expand(len(cameras), 3).contiguous(),
            render_mode="RGB+ED",
            absgrad=absgrad,
            rasterize_mode="antialiased" if self.config.antialiased else "classic",
        )
        image, alpha = image.permute(0, 3, 1, 2), alpha.permute(0, 3, 1, 2)
        return Render(image[:, :3], alpha, image[:, 3:], info)
