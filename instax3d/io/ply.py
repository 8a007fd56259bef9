"""Gaussians in the standard layout of 3D Gaussian Splatting (Kerbl et al. 2023), which the usual viewers open."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from plyfile import PlyData, PlyElement
from torch import Tensor

from instax3d.errors import PortraitError
from instax3d.types import Gaussians

from .files import atomic

_OPACITY_MARGIN = 1e-6
"""Opacities are kept this far from 0 and 1, whose logits are infinite."""
_MAX_SH_DEGREE = 4
"""As far as gsplat goes."""


def write_ply(path: Path, gaussians: Gaussians) -> None:
    """Write a binary little-endian PLY in one step.

    One float32 property each: ``x y z``, ``nx ny nz`` (zero), ``f_dc_*``, ``f_rest_*`` (all bands of red, then green,
    then blue), ``opacity`` (logit), ``scale_*`` (logarithm), ``rot_*`` (unit quaternion, wxyz).

    Raises:
        OSError: the file cannot be written.
        PortraitError: a Gaussian is not finite.
    """
    n, bands = gaussians.sh.shape[:2]
    opacities = gaussians.opacities.clamp(_OPACITY_MARGIN, 1 - _OPACITY_MARGIN)
    columns = [
        gaussians.means,
        torch.zeros_like(gaussians.means),
        gaussians.sh[:, 0],
        gaussians.sh[:, 1:].transpose(1, 2).flatten(1),
        opacities.logit()[:, None],
        gaussians.scales.clamp(min=torch.finfo(torch.float32).tiny).log(),
        torch.nn.functional.normalize(gaussians.quats, dim=1),
    ]
    values = torch.cat(columns, 1).detach().cpu().float().numpy()
    broken = int((~np.isfinite(values)).any(1).sum())
    if broken:
        raise PortraitError(f"{broken} of {n} Gaussians are not finite; lower the learning rates and make it again")
    layout = np.dtype([(name, "<f4") for name in _properties(bands)])
    vertices = np.ascontiguousarray(values).view(layout)[:, 0]
    element = PlyElement.describe(vertices, "vertex")
    with atomic(path) as temporary:
        PlyData([element], byte_order="<", comments=["3D Gaussians by instax3d"]).write(str(temporary))


def read_ply(path: Path) -> Gaussians:
    """Read Gaussians in the layout that `write_ply` writes, whichever program wrote them; other properties are ignored.

    Raises:
        PortraitError: there is no such file, or it holds something else.
    """
    try:
        vertices = PlyData.read(str(path))["vertex"].data
    except FileNotFoundError:
        raise PortraitError(f"there is no file {path}; make the portrait again") from None
    except Exception as error:
        # For other files plyfile raises whatever its parsing meets, MemoryError for absurd counts included.
        raise PortraitError(f"{path} cannot be read as a PLY of Gaussians ({error}); export it again") from error
    names = vertices.dtype.names or ()
    rest = sum(name.startswith("f_rest_") for name in names)
    bands = rest // 3 + 1
    missing = [name for name in _properties(bands) if name not in names and name not in ("nx", "ny", "nz")]
    if missing:
        raise PortraitError(
            f"{path} is not in the layout of 3D Gaussian Splatting: it lacks {', '.join(missing[:4])}"
            f"{' and more' if len(missing) > 4 else ''}; export it as an uncompressed splat PLY"
        )
    if rest % 3 or round(bands**0.5) ** 2 != bands or bands > (_MAX_SH_DEGREE + 1) ** 2:
        raise PortraitError(
            f"{path} has {rest} f_rest properties, which match no degree of spherical harmonics up to 4"
        )

    def columns(*names: str) -> Float[Tensor, "n columns"]:
        try:
            return torch.from_numpy(np.stack([vertices[name].astype(np.float32) for name in names], 1))
        except (TypeError, ValueError) as error:
            raise PortraitError(f"{path} holds lists where numbers should be; export it again") from error

    colors = columns(*_color_properties(bands))
    higher = colors[:, 3:].unflatten(1, (3, bands - 1))
    gaussians = Gaussians(
        means=columns("x", "y", "z"),
        quats=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        scales=columns("scale_0", "scale_1", "scale_2").exp(),
        opacities=columns("opacity")[:, 0].sigmoid(),
        sh=torch.cat([colors[:, None, :3], higher.transpose(1, 2)], 1),
    )
    whole = torch.cat(
        [gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities[:, None], gaussians.sh.flatten(1)], 1
    )
    broken = int((~whole.isfinite().all(1) | (gaussians.quats.norm(dim=1) < 1e-8)).sum())
    if broken:
        raise PortraitError(f"{path}: {broken} of {len(gaussians)} Gaussians are not valid numbers; export it again")
    return gaussians


def _color_properties(bands: int) -> list[str]:
    return ["f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{index}" for index in range(3 * (bands - 1)))]


def _properties(bands: int) -> list[str]:
    """Property names in the order of the reference implementation."""
    geometry = ["x", "y", "z", "nx", "ny", "nz"]
    shape = ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    return [*geometry, *_color_properties(bands), *shape]
