"""Real spherical harmonics in gsplat's order and signs, and their rotation."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_GOLDEN = (1 + math.sqrt(5)) / 2


def sh_basis(degree: int, directions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch bands"]:
    """The basis up to a degree for unit directions; (degree + 1)^2 values, l by l, m from -l to l.

    Real harmonics with the Condon-Shortley phase, orthonormal on the sphere, by the recurrences of the associated
    Legendre polynomials (Sloan, Stupid Spherical Harmonics Tricks, 2008, appendix A1).
    """
    x, y, z = directions.unbind(-1)
    # cos(m phi) and sin(m phi) times sin(theta)^m, which are polynomials in x and y
    cosines, sines = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(degree):
        cosine, sine = cosines[-1], sines[-1]
        cosines.append(x * cosine - y * sine)
        sines.append(x * sine + y * cosine)
    legendre: dict[tuple[int, int], Tensor] = {}
    for m in range(degree + 1):
        legendre[m, m] = torch.full_like(x, (-1) ** m * math.prod(range(1, 2 * m, 2)))
        for l in range(m + 1, degree + 1):  # noqa: E741 - the degree is l everywhere
            before = (l + m - 1) * legendre[l - 2, m] if l > m + 1 else 0.0
            legendre[l, m] = ((2 * l - 1) * z * legendre[l - 1, m] - before) / (l - m)
    values = []
    for l in range(degree + 1):  # noqa: E741
        for m in range(-l, l + 1):
            order = abs(m)
            ratio = math.factorial(l - order) / math.factorial(l + order)
            scale = math.sqrt((2 * l + 1) / (4 * math.pi) * ratio * (2 if m else 1))
            values.append(scale * legendre[l, order] * (sines if m < 0 else cosines)[order])
    return torch.stack(values, -1)


def rotate_sh(
    sh: Float[Tensor, "n bands channels"], rotations: Float[Tensor, "n 3 3"]
) -> Float[Tensor, "n bands channels"]:
    """Coefficients of the functions turned with their objects: seen from R d, they are what they were from d.

    Exact: the bands of one degree turn among themselves, by the matrix that maps their values at fixed directions to
    those at the directions turned back.
    """
    degree = math.isqrt(sh.shape[1]) - 1
    if degree < 1:
        return sh
    directions = _spread_directions(2 * (degree + 1) ** 2).to(rotations)
    here = sh_basis(degree, directions)
    back = sh_basis(degree, directions @ rotations)  # rows: R^T d
    parts = [sh[:, :1]]
    for l in range(1, degree + 1):  # noqa: E741
        band = slice(l * l, (l + 1) ** 2)
        turn = torch.linalg.pinv(here[:, band]) @ back[:, :, band]
        parts.append(turn @ sh[:, band])
    return torch.cat(parts, 1)


def _spread_directions(count: int) -> Float[Tensor, "count 3"]:
    """Unit directions spread evenly over the sphere, on a Fibonacci spiral."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * index / count, 2 * math.pi * index / _GOLDEN
    around = torch.stack([turn.cos(), turn.sin()], 1) * (1 - z**2).sqrt()[:, None]
    return functional.normalize(torch.cat([around, z[:, None]], 1), dim=1)
