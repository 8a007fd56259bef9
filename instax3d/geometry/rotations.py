"""Rotations, triangle frames and spherical harmonics: formulas that plugins share."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

SH_C0 = 0.28209479177387814
"""The constant spherical harmonic; color = 0.5 + SH_C0 * sh[0] + …"""


def rgb_to_sh(rgb: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """The constant spherical-harmonics coefficient of a color in [0, 1]."""
    return (rgb - 0.5) / SH_C0


def quat_multiply(a: Float[Tensor, "*batch 4"], b: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Hamilton product, wxyz: the rotation b followed by the rotation a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def quat_to_matrix(quats: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of wxyz quaternions, which are normalized first."""
    w, x, y, z = functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    matrices: Tensor = torch.stack(rows, -1).unflatten(-1, (3, 3))
    return matrices


def matrix_to_quat(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit wxyz quaternions with w >= 0. Differentiable everywhere: each row divides by its largest component."""
    m = rotations
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    # Row i of this symmetric matrix is 4 q_i q (Shepperd's method).
    outer = torch.stack(
        [
            1 + xx + yy + zz, wx, wy, wz,
            wx, 1 + xx - yy - zz, xy, xz,
            wy, xy, 1 - xx + yy - zz, yz,
            wz, xz, yz, 1 - xx - yy + zz,
        ],
        -1,
    ).unflatten(-1, (4, 4))  # fmt: skip
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = outer.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4))[..., 0, :]
    quats = functional.normalize(row, dim=-1)
    return torch.where(quats[..., :1] < 0, -quats, quats)


def triangle_frames(
    vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"]
) -> tuple[Float[Tensor, "faces 3"], Float[Tensor, "faces 3 3"], Float[Tensor, "faces"]]:
    """Center, rotation and scale of each triangle: mu_tri, R_tri and s_tri of the paper's Eq. 6.

    The columns of the rotation are the first edge, the normal, and their cross product (right-handed); the scale is
    the mean of the first edge's length and the height over it. Degenerate triangles get a finite frame.
    """
    a, b, c = vertices[faces].unbind(1)
    edge, other = b - a, c - a
    tangent = functional.normalize(edge, dim=-1)
    normal = functional.normalize(torch.linalg.cross(edge, other), dim=-1)
    across = torch.linalg.cross(tangent, normal)
    height = (across * other).sum(-1).abs()
    return (a + b + c) / 3, torch.stack([tangent, normal, across], -1), (edge.norm(dim=-1) + height) / 2


def barycentric_samples(count: int, per_face: int, generator: torch.Generator) -> Float[Tensor, "samples 3"]:
    """Uniform random barycentric weights, ``per_face`` for each of ``count`` triangles (square-root rule)."""
    u, v = torch.rand(2, count * per_face, generator=generator)
    root = u.sqrt()
    return torch.stack([1 - root, root * (1 - v), root * v], -1)
