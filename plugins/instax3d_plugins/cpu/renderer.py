"""The renderer plugin ``cpu``."""

from jaxtyping import Float
from torch import Tensor

from instax3d.interfaces import Renderer
from instax3d.types import Cameras, Gaussians, Render

from .ahead_of_time import warmup
from .api import describe
from .autograd import DepthMode, RasterSettings, composite, project
from .config import CpuConfig


class CpuRenderer(Renderer[CpuConfig]):
    """Draws on the CPU with the kernels of this package; the expected depth is differentiable too."""

    def warmup(self) -> None:
        """Compile the kernels (`instax3d_plugins.cpu.warmup`)."""
        warmup()

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, background: Float[Tensor, "3"], absgrad: bool = False
    ) -> Render:
        """See `Renderer.render`. The absolute gradients cost next to nothing and are left with or without ``absgrad``.

        Raises:
            RenderError: a tensor is not on the CPU, shapes do not fit, spherical harmonics above degree 3, or the
                Gaussians touch too many tiles.
        """
        settings = RasterSettings(
            cameras.width, cameras.height, degree=gaussians.sh_degree, antialiased=self.config.antialiased
        )
        scene = project(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            gaussians.sh,
            cameras.viewmats,
            cameras.Ks,
            settings,
        )
        drawn = composite(scene, background.expand(len(cameras), 3), depth=DepthMode.EXPECTED, planar=True)
        assert drawn.depth is not None
        return Render(drawn.image, drawn.alpha[:, None], drawn.depth[:, None], describe(scene))
