"""The same rasterization in plain torch, of any float dtype: slow, short, and what the kernels are tested against."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .binning import TILE

ALPHA_MIN, ALPHA_MAX, STOP = 1 / 255, 0.999, 1e-4


def spherical_harmonics(degree: int, directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n k"]:
    """Real spherical harmonics of unit directions, in the order and signs of 3DGS."""
    x, y, z = directions.unbind(-1)
    one, xx, yy, zz = torch.ones_like(x), x * x, y * y, z * z
    values = [0.28209479177387814 * one]
    if degree >= 1:
        values += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        values += [1.0925484305920792 * x * y, -1.0925484305920792 * y * z]
        values += [0.31539156525252005 * (2 * zz - xx - yy), -1.0925484305920792 * x * z]
        values += [0.5462742152960396 * (xx - yy)]
    if degree >= 3:
        values += [-0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z]
        values += [-0.4570457994644658 * y * (4 * zz - xx - yy)]
        values += [0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy)]
        values += [-0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy)]
        values += [-0.5900435899266435 * x * (xx - 3 * yy)]
    return torch.stack(values, -1)


def rotation_matrices(quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Of quaternions wxyz of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, -1).reshape(-1, 3, 3)


@dataclass(eq=False)
class ReferenceRender:
    """One camera's images, and its projected centers with the sum of their absolute gradients after backward."""

    image: Float[Tensor, "h w d"]
    alpha: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]
    """Accumulated."""
    means2d: Float[Tensor, "n 2"]
    absgrad: Float[Tensor, "n 2"]
    visible: Bool[Tensor, "n"]


@dataclass(frozen=True)
class _Rules:
    """Options of the projection, as in `rasterization`."""

    antialiased: bool
    near: float
    far: float
    radius_clip: float
    eps2d: float


@dataclass(frozen=True, eq=False)
class _Projected:
    """Gaussians as one camera sees them."""

    means2d: Float[Tensor, "n 2"]
    conics: Float[Tensor, "n 2 2"]
    opacities: Float[Tensor, "n"]
    depths: Float[Tensor, "n"]
    extents: Float[Tensor, "n 2"]
    """Half widths and heights of the boxes that hold every pixel they are drawn to; without gradient."""
    visible: Bool[Tensor, "n"]


def rasterize(
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
    opacities: Float[Tensor, "n"],
    colors: Float[Tensor, "n d"] | Float[Tensor, "n k 3"],
    viewmat: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
    width: int,
    height: int,
    *,
    background: Float[Tensor, "d"] | None = None,
    sh_degree: int | None = None,
    antialiased: bool = False,
    near: float = 0.01,
    far: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
) -> ReferenceRender:
    """Draw Gaussians into one camera; arguments as in `rasterization`, gradients by torch's autograd."""
    rules = _Rules(antialiased, near, far, radius_clip, eps2d)
    projected = _project(means, quats, scales, opacities, viewmat, K, width, height, rules)
    if projected.means2d.requires_grad:
        projected.means2d.retain_grad()
    if sh_degree is not None:
        colors = _view_dependent(colors, means, viewmat, sh_degree)
    if background is None:
        background = colors.new_zeros(colors.shape[-1])
    values = torch.cat([colors, projected.depths[:, None]], -1)
    order = torch.argsort(projected.depths.detach(), stable=True)
    order = order[projected.visible[order]]

    absgrad = torch.zeros_like(projected.means2d)
    image_rows = []
    for top in range(0, height, TILE):
        row = []
        for left in range(0, width, TILE):
            box = (top, left, min(height, top + TILE), min(width, left + TILE))
            row.append(_tile(box, projected, values, order, absgrad))
        image_rows.append(torch.cat(row, 1))
    channels = torch.cat(image_rows, 0)
    color, depth, transmittance = channels[..., :-2], channels[..., -2], channels[..., -1]
    return ReferenceRender(
        color + transmittance[..., None] * background,
        1 - transmittance,
        depth,
        projected.means2d,
        absgrad,
        projected.visible,
    )


def _project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    rules: _Rules,
) -> _Projected:
    """EWA splatting (Zwicker et al. 2001) with 3DGS's clamped Jacobian and gsplat's culling."""
    rotation = viewmat[:3, :3]
    points = means @ rotation.T + viewmat[:3, 3]
    x, y, z = points.unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    u = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    v = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * u / z, zero, fy / z, -fy * v / z], -1).reshape(-1, 2, 3)
    axes = jacobian @ rotation @ (rotation_matrices(quats) * scales[:, None])
    covariance = axes @ axes.transpose(1, 2)
    blurred = covariance + rules.eps2d * torch.eye(2, dtype=means.dtype, device=means.device)
    determinant = torch.linalg.det(blurred)
    conics = torch.linalg.inv(blurred)
    if rules.antialiased:
        opacities = opacities * (torch.linalg.det(covariance) / determinant).clamp_min(0).sqrt()
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)

    reach = (2 * (255 * opacities.detach().clamp_min(1e-30)).log()).clamp(0, 3.33**2)
    extents = (reach[:, None] * blurred.detach().diagonal(dim1=1, dim2=2)).sqrt()
    radii = extents.ceil()
    size = torch.tensor([width, height], dtype=means.dtype, device=means.device)
    inside = ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
    visible = inside & (z >= rules.near) & (z <= rules.far) & (opacities >= ALPHA_MIN)
    visible &= (radii > rules.radius_clip).any(-1)
    return _Projected(means2d, conics, opacities, z, extents, visible)


def _view_dependent(coefficients: Tensor, means: Tensor, viewmat: Tensor, degree: int) -> Tensor:
    """[n, 3] colors from coefficients [n, k, 3] for the directions in which the camera sees the Gaussians."""
    center = torch.linalg.inv(viewmat)[:3, 3]
    basis = spherical_harmonics(degree, torch.nn.functional.normalize(means - center, dim=-1))
    return ((basis[..., None] * coefficients[:, : basis.shape[1]]).sum(1) + 0.5).clamp_min(0)


def _tile(
    box: tuple[int, int, int, int], projected: _Projected, values: Tensor, order: Tensor, absgrad: Tensor
) -> Tensor:
    """Composite front to back the pixels from ``top, left`` to before ``bottom, right``.

    Args:
        box: top, left, bottom, right.
        projected: all Gaussians.
        values: [n, d] what is drawn of each Gaussian.
        order: the visible Gaussians, nearest first.
        absgrad: [n, 2] where backward adds the magnitudes of the centers' gradients per pixel.

    Returns [rows, columns, d + 1], the transmittance last.
    """
    top, left, bottom, right = box
    means2d, extents, conics = projected.means2d, projected.extents, projected.conics
    low, high = means2d.detach() - extents, means2d.detach() + extents
    touched = (low[:, 0] < right) & (high[:, 0] > left) & (low[:, 1] < bottom) & (high[:, 1] > top)
    ids = order[touched[order]]
    pixel_y, pixel_x = torch.meshgrid(
        torch.arange(top, bottom, dtype=means2d.dtype, device=means2d.device) + 0.5,
        torch.arange(left, right, dtype=means2d.dtype, device=means2d.device) + 0.5,
        indexing="ij",
    )
    pixels = torch.stack([pixel_x, pixel_y], -1).reshape(-1, 1, 2)
    centers = means2d[ids].expand(len(pixels), -1, -1)
    if centers.requires_grad:
        centers.register_hook(partial(_add_absolute, absgrad, ids))
    d = pixels - centers
    a, b, c = conics[ids, 0, 0], conics[ids, 0, 1], conics[ids, 1, 1]
    squared = a * d[..., 0] ** 2 + 2 * b * d[..., 0] * d[..., 1] + c * d[..., 1] ** 2
    alpha = (projected.opacities[ids] * torch.exp(-0.5 * squared)).clamp_max(ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha, 0)
    remaining = torch.cumprod(1 - alpha, 1)
    alpha = torch.where(remaining > STOP, alpha, 0)
    transmittance = torch.cumprod(torch.cat([alpha.new_ones(len(alpha), 1), 1 - alpha], 1), 1)
    color = (alpha * transmittance[:, :-1]) @ values[ids]
    return torch.cat([color, transmittance[:, -1:]], -1).reshape(bottom - top, right - left, -1)


def _add_absolute(total: Tensor, ids: Tensor, grad: Tensor) -> None:
    """Add to the rows ``ids`` of ``total`` the sums of a gradient's magnitudes over its first axis, the pixels."""
    total.index_add_(0, ids, grad.abs().sum(0))
