"""The simplest honest implementation of each kind, to try another kind against."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from instax3d.geometry.rotations import SH_C0, quat_to_matrix, rgb_to_sh
from instax3d.interfaces import Densifier, LandmarkDetector, Renderer, Representation, ViewGenerator
from instax3d.plugin import PluginConfig
from instax3d.types import Cameras, Capture, DensifyReport, DensifyStep, Face, Gaussians, HeadMesh, Photo, Render, Views

from .toys import toy_views

_EPS2D, _NEAR, _ALPHA_MAX, _ALPHA_MIN, _T_MIN = 0.3, 0.01, 0.999, 1 / 255, 1e-4


class SphereViews(ViewGenerator[PluginConfig]):
    """Views of a colored ball, whatever the photo."""

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())

    def generate(self, source: Photo | Capture, *, seed: int) -> Views:
        return toy_views()


class BlobGaussians(Representation[PluginConfig]):
    """Plain 3DGS: one free Gaussian per vertex of the mesh."""

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())

    def initialize(self, mesh: HeadMesh, views: Views, *, seed: int) -> None:
        count = len(mesh.vertices)
        values = {
            "means": mesh.vertices.clone(),
            "quats": torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
            "scales": torch.full((count, 3), 0.02).log(),
            "opacities": torch.full((count,), 0.5).logit(),
            "sh0": rgb_to_sh(torch.full((count, 1, 3), 0.5)),
        }
        for name, value in values.items():
            self.splats[name] = nn.Parameter(value)

    def gaussians(self, vertices: Float[Tensor, "vertices 3"] | None = None) -> Gaussians:
        s = self.splats
        return Gaussians(s["means"], s["quats"], s["scales"].exp(), s["opacities"].sigmoid(), s["sh0"])

    def learning_rates(self) -> Mapping[str, float]:
        return {"means": 1e-3, "quats": 1e-2, "scales": 1e-2, "opacities": 5e-2, "sh0": 5e-2}


class IdleDensifier(Densifier[PluginConfig]):
    """Changes nothing."""

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())

    def before_backward(self, step: DensifyStep) -> None: ...

    def after_step(self, step: DensifyStep) -> DensifyReport:
        return DensifyReport()


class FakeDetector(LandmarkDetector[PluginConfig]):
    """Finds what it is told to find."""

    def __init__(self, faces: list[Face] | None = None) -> None:
        super().__init__(PluginConfig())
        self.faces = faces or []

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        return list(self.faces)

    def descriptor(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "features"]:
        return image.float().mean((0, 1)) / 255


class DenseRenderer(Renderer[PluginConfig]):
    """Gaussian splatting by the book in plain torch: every Gaussian on every pixel. Slow, for images of some 64 pixels.

    The reference that `RendererSuite` compares with. gsplat's semantics: 0.3 pixels of blur, alpha at most 0.999 and
    at least 1/255, a pixel stops before its transmittance falls to 1e-4. Spherical harmonics of degree 0 only.
    """

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())

    def render(
        self, gaussians: Gaussians, cameras: Cameras, *, background: Float[Tensor, "3"], absgrad: bool = False
    ) -> Render:
        if absgrad:
            raise NotImplementedError("DenseRenderer gives no absolute gradients")
        drawn = [
            self._draw(gaussians, viewmat, K, cameras, background) for viewmat, K in zip(cameras.viewmats, cameras.Ks)
        ]
        image, alpha, depth, means2d, radii = (torch.stack(part) for part in zip(*drawn))
        info = {
            "means2d": means2d,
            "radii": radii,
            "gaussian_ids": None,
            "width": cameras.width,
            "height": cameras.height,
            "n_cameras": len(cameras),
        }
        return Render(image, alpha, depth, info)

    def _draw(
        self, g: Gaussians, viewmat: Tensor, K: Tensor, cameras: Cameras, background: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        rotation = viewmat[:3, :3]
        x, y, z = (g.means @ rotation.T + viewmat[:3, 3]).unbind(-1)
        shown = z > _NEAR
        z = torch.where(shown, z, torch.ones_like(z))
        zero = torch.zeros_like(z)
        J = torch.stack([K[0, 0] / z, zero, -K[0, 0] * x / z**2, zero, K[1, 1] / z, -K[1, 1] * y / z**2], -1)
        spread = J.reshape(-1, 2, 3) @ rotation @ quat_to_matrix(g.quats) * g.scales[:, None]
        covariance = spread @ spread.transpose(1, 2) + _EPS2D * torch.eye(2)
        inverse = torch.linalg.inv(covariance)
        means2d = torch.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], -1)
        axis_y = torch.arange(cameras.height) + 0.5
        axis_x = torch.arange(cameras.width) + 0.5
        pixels = torch.stack(torch.meshgrid(axis_x, axis_y, indexing="xy"), -1).reshape(-1, 1, 2)
        order = z.argsort()
        offset = pixels - means2d[order]
        power = 0.5 * torch.einsum("pni,nij,pnj->pn", offset, inverse[order], offset)
        opacity = g.opacities[order] * shown[order]
        alpha = (opacity * torch.exp(-power)).clamp_max(_ALPHA_MAX)
        alpha = torch.where(alpha >= _ALPHA_MIN, alpha, 0.0)
        after = torch.cumprod(1 - alpha, 1)
        alpha = torch.where(after > _T_MIN, alpha, 0.0)
        before = torch.cat([torch.ones_like(after[:, :1]), torch.cumprod(1 - alpha, 1)[:, :-1]], 1)
        weights = alpha * before
        colors = (0.5 + SH_C0 * g.sh[:, 0]).clamp_min(0)[order]
        coverage = weights.sum(1)
        image = weights @ colors + (1 - coverage)[:, None] * background
        depth = (weights @ z[order][:, None])[:, 0] / coverage.clamp_min(1e-10)
        size = (cameras.height, cameras.width)
        radius = (3.33 * covariance.diagonal(dim1=1, dim2=2).sqrt()).ceil().int() * shown[:, None]
        return image.T.reshape(3, *size), coverage.reshape(1, *size), depth.reshape(1, *size), means2d, radius
