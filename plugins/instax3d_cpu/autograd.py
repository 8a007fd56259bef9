"""The torch side of the kernels: what is allocated, what is kept for backward, and where gradients go.

Two autograd nodes, so that the projected centres between them can be asked for their gradient, as gsplat's densification
strategies do: `_Project` turns Gaussians into records and ``means2d``, `_Composite` turns those into images.
"""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float, Int32
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from instax3d.errors import RenderError

from . import binning, compositing, projection
from .notice import announce_compilation

announce_compilation()

_MAX_SLOTS = 2**31 - 1


class DepthMode(IntEnum):
    """What is rendered of the depth."""

    NONE = 0
    ACCUMULATED = 1
    EXPECTED = 2


@dataclass(frozen=True)
class Settings:
    """The numbers of `rasterization` that are the same for all cameras."""

    width: int
    height: int
    near: float = 0.01
    far: float = 1e10
    radius_clip: float = 0.0
    eps2d: float = 0.3
    antialiased: bool = False
    degree: int = 0
    """Of the spherical harmonics, or one of projection.PLAIN_COLOURS and NO_COLOURS."""
    depth: DepthMode = DepthMode.NONE
    planar: bool = True
    """Images [cameras, 3, height, width] if true, else [cameras, height, width, 3]."""

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles in x and in y."""
        return -(-self.width // binning.TILE), -(-self.height // binning.TILE)

    @property
    def strides(self) -> tuple[int, int]:
        """Distance between channels and between pixels of an image."""
        return (self.width * self.height, 1) if self.planar else (1, 3)


@dataclass(frozen=True)
class Bins:
    """The Gaussians of each tile of one camera, nearest first; one slot per Gaussian and tile."""

    order: NDArray[np.int32]
    """[M] Gaussians that are not culled, nearest first."""
    tile_offsets: NDArray[np.int64]
    """[tiles + 1] First slot of each tile."""
    ids: NDArray[np.int32]
    """[slots] The Gaussian of each slot."""
    first_slots: NDArray[np.int64]
    """[M + 1] Where in ``slots`` the slots of each Gaussian of ``order`` begin."""
    slots: NDArray[np.int32]
    """[slots] The slots of each Gaussian one after another; empty where no gradient will be asked for."""


@dataclass(frozen=True)
class Rasterised:
    """Images and what lies behind them."""

    image: Float[Tensor, "views 3 h w"] | Float[Tensor, "views h w 3"]
    alpha: Float[Tensor, "views h w"]
    depth: Float[Tensor, "views h w"] | None
    means2d: Float[Tensor, "views n 2"]
    radii: Int32[Tensor, "views n 2"]
    records: Float[Tensor, "views n 16"]
    """See `projection`."""
    bins: list[Bins]
    """One per camera."""


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().numpy()


def _bin(records: NDArray[np.float32], radii: NDArray[np.int32], settings: Settings, *, for_backward: bool) -> Bins:
    """Sort one camera's records by depth and deal them out to the tiles."""
    tiles_x, tiles_y = settings.tiles
    order = binning.sort_by_depth(records, radii)
    spans = np.empty((len(order), 4), np.int32)
    counts = np.empty((numba.get_num_threads(), tiles_x * tiles_y), np.int64)
    binning.count_tiles(records, order, tiles_x, tiles_y, spans, counts)
    tile_offsets = np.empty(tiles_x * tiles_y + 1, np.int64)
    first_slots = np.empty(len(order) + 1, np.int64)
    total = binning.offsets_of(counts, spans, tile_offsets, first_slots)
    if total > _MAX_SLOTS:
        raise RenderError(
            f"The Gaussians touch {total:,} tiles, more than can be rendered: use fewer or smaller Gaussians or a smaller image"
        )
    ids = np.empty(total, np.int32)
    slots = np.empty(total if for_backward else 0, np.int32)
    binning.fill_tiles(order, spans, counts, first_slots, tiles_x, ids, slots)
    return Bins(order, tile_offsets, ids, first_slots, slots)


class _Project(torch.autograd.Function):
    """Gaussians -> records, means2d and radii of every camera."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colours: Tensor,
        viewmats: Tensor,
        centres: Tensor,
        Ks: Tensor,
        settings: Settings,
    ) -> Any:
        cameras, n = len(viewmats), len(means)
        records = torch.empty(cameras, n, projection.RECORD)
        means2d = torch.empty(cameras, n, 2)
        radii = torch.empty(cameras, n, 2, dtype=torch.int32)
        shared = [_array(t) for t in (means, quats, scales, opacities)]
        for c in range(cameras):
            projection.project(
                *shared,
                _array(colours if colours.ndim == 3 else colours[c]),
                settings.degree,
                _array(viewmats[c]),
                _array(centres[c]),
                _array(Ks[c]),
                settings.width,
                settings.height,
                np.float32(settings.near),
                np.float32(settings.far),
                np.float32(settings.radius_clip),
                np.float32(settings.eps2d),
                settings.antialiased,
                _array(records[c]),
                _array(means2d[c]),
                _array(radii[c]),
            )
        ctx.settings = settings
        ctx.save_for_backward(means, quats, scales, opacities, colours, viewmats, centres, Ks, records, radii)
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        return records, means2d, radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_records: Tensor | None, grad_means2d: Tensor | None, _: Tensor | None) -> Any:
        means, quats, scales, opacities, colours, viewmats, centres, Ks, records, radii = ctx.saved_tensors
        settings: Settings = ctx.settings
        cameras, n = len(viewmats), len(means)
        grad_records = torch.zeros_like(records) if grad_records is None else grad_records.contiguous()
        grad_means2d = torch.zeros(cameras, n, 2) if grad_means2d is None else grad_means2d.contiguous()
        inputs = (means, quats, scales, opacities)
        grads = [torch.empty_like(t) for t in inputs]
        grad_colours = torch.empty_like(colours)
        grad_views = torch.empty(cameras, -(-n // projection.CHUNK), 15)
        per_camera = colours.ndim == 4
        for c in range(cameras):
            projection.project_backward(
                *(_array(t) for t in inputs),
                _array(colours[c] if per_camera else colours),
                settings.degree,
                _array(viewmats[c]),
                _array(centres[c]),
                _array(Ks[c]),
                settings.width,
                settings.height,
                np.float32(settings.eps2d),
                settings.antialiased,
                _array(records[c]),
                _array(radii[c]),
                _array(grad_records[c]),
                _array(grad_means2d[c]),
                c > 0,
                c > 0 and not per_camera,
                *(_array(g) for g in grads),
                _array(grad_colours[c] if per_camera else grad_colours),
                _array(grad_views[c]),
            )
        grad_view = grad_centre = None
        if ctx.needs_input_grad[5] or ctx.needs_input_grad[6]:
            total = grad_views.sum(1)
            grad_view = torch.zeros(cameras, 4, 4)
            grad_view[:, :3] = total[:, :12].reshape(cameras, 3, 4)
            grad_centre = total[:, 12:]
        if settings.degree == projection.NO_COLOURS:
            return *grads, None, grad_view, grad_centre, None, None
        return *grads, grad_colours, grad_view, grad_centre, None, None


class _Composite(torch.autograd.Function):
    """Records and means2d -> image, alpha and, if asked for, depth of every camera."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, means2d: Tensor, backgrounds: Tensor, bins: list[Bins], settings: Settings
    ) -> Any:
        cameras, width, height = len(records), settings.width, settings.height
        image = torch.empty((cameras, 3, height, width) if settings.planar else (cameras, height, width, 3))
        alpha = torch.empty(cameras, height, width)
        depth = None if settings.depth is DepthMode.NONE else torch.empty(cameras, height, width)
        blocks = [np.empty(len(b.ids), np.uint32) for b in bins]
        for c, b in enumerate(bins):
            compositing.composite(
                numba.get_num_threads(),
                np.zeros(1, np.int64),
                _array(records[c]).reshape(-1),
                b.ids,
                b.tile_offsets,
                settings.tiles[0],
                width,
                height,
                _array(backgrounds[c]),
                settings.strides,
                _array(image[c]).reshape(-1),
                _array(alpha[c]).reshape(-1),
                None if depth is None else _array(depth[c]).reshape(-1),
                settings.depth is DepthMode.EXPECTED,
                blocks[c],
            )
        ctx.settings, ctx.bins, ctx.blocks = settings, bins, blocks
        # means2d is saved, though not read, because its `absgrad` is set in backward
        ctx.save_for_backward(records, means2d, image, alpha, depth)
        ctx.set_materialize_grads(False)
        return image, alpha, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor | None, grad_alpha: Tensor | None, grad_depth: Tensor | None) -> Any:
        records, means2d, image, alpha, depth = ctx.saved_tensors
        settings: Settings = ctx.settings
        grad_image = torch.zeros_like(image) if grad_image is None else grad_image.contiguous()
        grad_alpha = None if grad_alpha is None else grad_alpha.contiguous()
        grad_depth = None if grad_depth is None else grad_depth.contiguous()
        grad_records = torch.zeros_like(records)
        grad_means2d, absgrad = torch.zeros_like(means2d), torch.zeros_like(means2d)
        for c, b in enumerate(ctx.bins):
            sums = np.empty((len(b.ids), compositing.GRADIENTS), np.float32)
            compositing.composite_backward(
                numba.get_num_threads(),
                np.zeros(1, np.int64),
                _array(records[c]).reshape(-1),
                b.ids,
                b.tile_offsets,
                settings.tiles[0],
                settings.width,
                settings.height,
                settings.strides,
                _array(image[c]).reshape(-1),
                _array(alpha[c]).reshape(-1),
                None if grad_depth is None else _array(depth[c]).reshape(-1),
                settings.depth is DepthMode.EXPECTED,
                ctx.blocks[c],
                _array(grad_image[c]).reshape(-1),
                np.empty(0, np.float32) if grad_alpha is None else _array(grad_alpha[c]).reshape(-1),
                None if grad_depth is None else _array(grad_depth[c]).reshape(-1),
                sums.reshape(-1),
            )
            compositing.gather_gradients(
                sums,
                b.order,
                b.slots,
                b.first_slots,
                _array(records[c]),
                _array(grad_records[c]),
                _array(grad_means2d[c]),
                _array(absgrad[c]),
            )
        means2d.absgrad = absgrad
        grad_backgrounds = None
        if ctx.needs_input_grad[2]:
            weight = (1 - alpha).unsqueeze(1 if settings.planar else -1)
            grad_backgrounds = (grad_image * weight).sum((2, 3) if settings.planar else (1, 2))
        return grad_records, grad_means2d, grad_backgrounds, None, None


def rasterise(
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
    opacities: Float[Tensor, "n"],
    colours: Float[Tensor, "n k 3"] | Float[Tensor, "views n k 3"],
    viewmats: Float[Tensor, "views 4 4"],
    Ks: Float[Tensor, "views 3 3"],
    backgrounds: Float[Tensor, "views 3"],
    settings: Settings,
) -> Rasterised:
    """Draw Gaussians with three colour channels; differentiable with respect to every tensor but ``Ks``.

    Any floating dtype and memory layout is taken; the work is done in float32, and gradients come in the inputs' dtype.

    Raises:
        RenderError: a tensor is not on the CPU, or the Gaussians touch too many tiles.
    """
    given = (means, quats, scales, opacities, colours, viewmats, Ks, backgrounds)
    for tensor in given:
        if tensor.device.type != "cpu":
            raise RenderError(
                f"The cpu renderer was given a tensor on {tensor.device}: move it to the CPU, or use the gsplat renderer"
            )
    means, quats, scales, opacities, colours, viewmats, Ks, backgrounds = (
        tensor.to(torch.float32).contiguous() for tensor in given
    )
    # only spherical harmonics above degree 0 look at the camera's centre
    centres = torch.linalg.inv_ex(viewmats)[0][:, :3, 3].contiguous() if settings.degree > 0 else viewmats[:, 0, :3]
    for_backward = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    records, means2d, radii = _Project.apply(means, quats, scales, opacities, colours, viewmats, centres, Ks, settings)
    bins = [
        _bin(_array(records[c]), _array(radii[c]), settings, for_backward=for_backward) for c in range(len(viewmats))
    ]
    image, alpha, depth = _Composite.apply(records, means2d, backgrounds, bins, settings)
    return Rasterised(image, alpha, depth, means2d, radii, records, bins)
