"""The simplest correct implementation of each kind, to test another kind against."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from instax3d.geometry.rotations import SH_C0, quat_to_matrix, rgb_to_sh
from instax3d.interfaces import Densifier, LandmarkDetector, Loss, Renderer, Representation, ViewGenerator
from instax3d.plugin import LossConfig, PluginConfig
from instax3d.types import (
    Cameras,
    Capture,
    DensifyReport,
    DensifyStep,
    Face,
    Gaussians,
    HeadMesh,
    LossStep,
    Photo,
    Render,
    Views,
)

from .toys import toy_views

_EPS2D, _NEAR, _ALPHA_MAX, _ALPHA_MIN, _T_MIN = 0.3, 0.01, 0.999, 1 / 255, 1e-4


class SphereViews(ViewGenerator[PluginConfig]):
    """The views of `toy_views`, whatever the photo."""

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())

    def generate(self, source: Photo | Capture, *, seed: int) -> Views:
        """`toy_views`."""
        return toy_views()


class BlobGaussians(Representation[PluginConfig]):
    """Vanilla 3DGS: one unbound, gray Gaussian per vertex of the mesh."""

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())

    def initialize(self, mesh: HeadMesh, views: Views, *, seed: int) -> None:
        """Gaussians of 2 cm and opacity 0.5 on the mesh's vertices."""
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
        """The Gaussians, which do not follow ``vertices``."""
        splats = self.splats
        scales, opacities = splats["scales"].exp(), splats["opacities"].sigmoid()
        return Gaussians(splats["means"], splats["quats"], scales, opacities, splats["sh0"])

    def learning_rates(self) -> Mapping[str, float]:
        """Adam's initial learning rates."""
        return {"means": 1e-3, "quats": 1e-2, "scales": 1e-2, "opacities": 5e-2, "sh0": 5e-2}


class IdleDensifier(Densifier[PluginConfig]):
    """Changes nothing."""

    def __init__(self, config: PluginConfig | None = None) -> None:
        super().__init__(config or PluginConfig())

    def before_backward(self, step: DensifyStep) -> None:
        """Nothing."""

    def after_step(self, step: DensifyStep) -> DensifyReport:
        """Nothing was born, nothing died."""
        return DensifyReport()


class ColorLoss(Loss[LossConfig]):
    """The mean absolute error of the colors, each pixel by its confidence."""

    def __init__(self, config: LossConfig | None = None) -> None:
        super().__init__(config or LossConfig())

    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        """One scalar, ``color``."""
        error = (step.render.image - step.view.image).abs()
        return {"color": (error if step.view.confidence is None else step.view.confidence * error).mean()}


class FakeDetector(LandmarkDetector[PluginConfig]):
    """Finds the faces that it was made with, highest score first, in every image."""

    def __init__(self, faces: list[Face] | None = None) -> None:
        super().__init__(PluginConfig())
        self.faces = faces or []

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        """The faces, whatever the image."""
        return list(self.faces)

    def descriptor(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "features"]:
        """The mean color."""
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
        """One image per camera; see `Renderer.render`."""
        projections = [_project(gaussians, viewmat, K) for viewmat, K in zip(cameras.viewmats, cameras.Ks)]
        # Drawn from the stacked centers, so that backward reaches what densifiers look at.
        means2d = torch.stack([projection.means2d for projection in projections])
        if absgrad:
            means2d.absgrad = torch.zeros_like(means2d)  # type: ignore[attr-defined]
        views = [
            _composite(gaussians, projection, means2d, view, cameras, background, absgrad=absgrad)
            for view, projection in enumerate(projections)
        ]
        image, alpha, depth = (torch.stack(part) for part in zip(*views))
        info = {
            "means2d": means2d,
            "radii": torch.stack([projection.radii() for projection in projections]),
            "gaussian_ids": None,
            "width": cameras.width,
            "height": cameras.height,
            "n_cameras": len(cameras),
        }
        return Render(image, alpha, depth, info)


@dataclass(frozen=True, eq=False)
class _Projection:
    """The Gaussians in one view."""

    means2d: Float[Tensor, "n 2"]
    """Centers, pixels."""
    depth: Float[Tensor, "n"]
    visible: Bool[Tensor, "n"]
    """Whether they lie in front of the near plane."""
    covariance: Float[Tensor, "n 2 2"]
    """Of the blurred splats, square pixels."""

    def radii(self) -> Int[Tensor, "n 2"]:
        """Half sizes of the splats in pixels; 0 where culled."""
        return (3.33 * self.covariance.diagonal(dim1=1, dim2=2).sqrt()).ceil().int() * self.visible[:, None]


def _project(g: Gaussians, viewmat: Float[Tensor, "4 4"], K: Float[Tensor, "3 3"]) -> _Projection:
    """EWA splatting: the covariance by the projection's Jacobian at each center."""
    rotation = viewmat[:3, :3]
    x, y, z = (g.means @ rotation.T + viewmat[:3, 3]).unbind(-1)
    visible = z > _NEAR
    z = torch.where(visible, z, torch.ones_like(z))
    zero = torch.zeros_like(z)
    J = torch.stack([K[0, 0] / z, zero, -K[0, 0] * x / z**2, zero, K[1, 1] / z, -K[1, 1] * y / z**2], -1)
    spread = J.reshape(-1, 2, 3) @ rotation @ quat_to_matrix(g.quats) * g.scales[:, None]
    covariance = spread @ spread.transpose(1, 2) + _EPS2D * torch.eye(2)
    means2d = torch.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], -1)
    return _Projection(means2d, z, visible, covariance)


def _composite(
    g: Gaussians,
    projection: _Projection,
    means2d: Float[Tensor, "views n 2"],
    view: int,
    cameras: Cameras,
    background: Float[Tensor, "3"],
    *,
    absgrad: bool,
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "1 h w"], Float[Tensor, "1 h w"]]:
    """Image, alpha and depth of one view, front to back. With ``absgrad`` backward adds to ``means2d.absgrad``."""
    axis_y = torch.arange(cameras.height) + 0.5
    axis_x = torch.arange(cameras.width) + 0.5
    pixels = torch.stack(torch.meshgrid(axis_x, axis_y, indexing="xy"), -1).reshape(-1, 1, 2)
    order = projection.depth.argsort()
    offset = pixels - means2d[view][order]
    if absgrad and offset.requires_grad:

        def add_absolute(gradient: Tensor) -> None:
            means2d.absgrad[view, order] += gradient.abs().sum(0)  # type: ignore[attr-defined]

        offset.register_hook(add_absolute)
    inverse = torch.linalg.inv(projection.covariance)
    power = 0.5 * torch.einsum("pni,nij,pnj->pn", offset, inverse[order], offset)
    opacity = g.opacities[order] * projection.visible[order]
    alpha = (opacity * torch.exp(-power)).clamp_max(_ALPHA_MAX)
    alpha = torch.where(alpha >= _ALPHA_MIN, alpha, 0.0)
    after = torch.cumprod(1 - alpha, 1)
    alpha = torch.where(after > _T_MIN, alpha, 0.0)
    before = torch.cat([torch.ones_like(after[:, :1]), torch.cumprod(1 - alpha, 1)[:, :-1]], 1)
    weights = alpha * before
    colors = (0.5 + SH_C0 * g.sh[:, 0]).clamp_min(0)[order]
    total = weights.sum(1)
    image = weights @ colors + (1 - total)[:, None] * background
    depth = (weights @ projection.depth[order][:, None])[:, 0] / total.clamp_min(1e-10)
    size = (cameras.height, cameras.width)
    return image.T.reshape(3, *size), total.reshape(1, *size), depth.reshape(1, *size)
