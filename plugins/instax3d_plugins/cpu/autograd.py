"""The torch side of the kernels: what is allocated, what is saved for backward, and where gradients go.

There is an autograd node for the projection and one for the compositing, so that the projected centers between them can
be asked for their gradient, as gsplat's densification strategies do.
"""

import functools
import math
import os
from collections.abc import Sequence
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
from instax3d.geometry.numba_threads import start_numba_threads

from . import binning, compositing, projection
from .notice import announce_compilation

announce_compilation()

_MAX_SLOTS = 2**31 - 1
_FORWARD_BYTES = 8
"""Memory per slot: its Gaussian and its set of blocks."""
_BACKWARD_BYTES = _FORWARD_BYTES + 4 + 4 * compositing.COLOR_PLACE
"""Also its place and its sums."""


class DepthMode(IntEnum):
    """What is drawn of the depth along with three color channels."""

    NONE = 0
    ACCUMULATED = 1
    EXPECTED = 2


@dataclass(frozen=True)
class RasterSettings:
    """Options that are the same for all cameras."""

    width: int
    height: int
    near: float = 0.01
    far: float = 1e10
    radius_clip: float = 0.0
    eps2d: float = 0.3
    antialiased: bool = False
    degree: int = 0
    """Of the spherical harmonics, or one of projection.PLAIN_COLORS and NO_COLORS."""

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles in x and in y."""
        return -(-self.width // binning.TILE), -(-self.height // binning.TILE)

    @property
    def rules(self) -> projection.Rules:
        """For the projection kernels."""
        near, far, clip, eps2d = (np.float32(x) for x in (self.near, self.far, self.radius_clip, self.eps2d))
        return projection.Rules(self.degree, near, far, clip, eps2d, self.antialiased)


@dataclass(frozen=True)
class Bins:
    """The Gaussians of each tile of one camera, nearest first; one slot per Gaussian and tile."""

    tile_offsets: NDArray[np.int64]
    """[tiles + 1] First slot of each tile."""
    ids: NDArray[np.int32]
    """[slots] The Gaussian of each slot."""
    places: NDArray[np.int32]
    """[slots] A numbering in which a Gaussian's slots are neighbors; empty where no gradient is needed."""
    first_places: NDArray[np.int64]
    """[N + 1] The first place of each Gaussian."""


@dataclass(frozen=True, eq=False)
class Projected:
    """Gaussians as the cameras see them."""

    settings: RasterSettings
    records: Float[Tensor, "views n 16"]
    """See `projection`."""
    means2d: Float[Tensor, "views n 2"]
    """Centers in pixels. Non-leaf: call ``retain_grad`` for ``.grad``; backward always leaves ``.absgrad``."""
    radii: Int32[Tensor, "views n 2"]
    bins: list[Bins]
    """One per camera."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Images of three color channels."""

    image: Float[Tensor, "views _ _ _"]
    """[views, 3, h, w], or [views, h, w, 3]."""
    alpha: Float[Tensor, "views h w"]
    depth: Float[Tensor, "views h w"] | None


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().numpy()


def _flat(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().numpy().reshape(-1)


@functools.cache
def _physical_memory() -> float:
    """Bytes of memory of this machine; infinite where the system does not report it."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _bin(
    records: NDArray[np.float32], radii: NDArray[np.int32], settings: RasterSettings, *, for_backward: bool
) -> Bins:
    """Sort one camera's records by depth and bin them into tiles."""
    tiles_x, tiles_y = settings.tiles
    spans = np.empty((len(records), 4), np.int32)
    first_places = np.empty(len(records) + 1, np.int64)
    binning.find_spans(records, radii, tiles_x, tiles_y, spans, first_places)
    binning.number_places(first_places)
    total = int(first_places[-1])
    needed = total * (_BACKWARD_BYTES if for_backward else _FORWARD_BYTES)
    if total > _MAX_SLOTS or needed > _physical_memory():
        raise RenderError(
            f"The Gaussians touch {total:,} tiles of 16x16 pixels, which takes {needed / 2**30:.0f} GiB: "
            "use fewer or smaller Gaussians, or a smaller image"
        )
    order = binning.sort_by_depth(records, radii)
    counts = np.empty((numba.get_num_threads(), tiles_x * tiles_y), np.int64)
    binning.count_tiles(order, spans, tiles_x, counts)
    tile_offsets = np.empty(tiles_x * tiles_y + 1, np.int64)
    binning.number_tiles(counts, tile_offsets)
    ids = np.empty(total, np.int32)
    places = np.empty(total if for_backward else 0, np.int32)
    binning.fill_tiles(order, spans, counts, first_places, tiles_x, ids, places)
    return Bins(tile_offsets, ids, places, first_places)


def _splats(tensors: Sequence[Tensor], camera: int) -> projection.Splats:
    """Kernel arguments from means, quats, scales, opacities and colors, which may differ from camera to camera."""
    means, quats, scales, opacities, colors = tensors
    colors = colors[camera] if colors.ndim == 4 else colors
    return projection.Splats(_array(means), _array(quats), _array(scales), _array(opacities), _array(colors))


def _camera(viewmats: Tensor, centers: Tensor, Ks: Tensor, camera: int, settings: RasterSettings) -> projection.Camera:
    return projection.Camera(
        _array(viewmats[camera]), _array(centers[camera]), _array(Ks[camera]), settings.width, settings.height
    )


class _Project(torch.autograd.Function):
    """Gaussians -> records, means2d and radii of every camera."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        viewmats: Tensor,
        centers: Tensor,
        Ks: Tensor,
        settings: RasterSettings,
    ) -> Any:
        cameras, n = len(viewmats), len(means)
        splats = (means, quats, scales, opacities, colors)
        records = torch.empty(cameras, n, projection.RECORD)
        means2d = torch.empty(cameras, n, 2)
        radii = torch.empty(cameras, n, 2, dtype=torch.int32)
        for c in range(cameras):
            projection.project(
                _splats(splats, c),
                _camera(viewmats, centers, Ks, c, settings),
                settings.rules,
                *(_array(t[c]) for t in (records, means2d, radii)),
            )
        ctx.settings = settings
        ctx.save_for_backward(*splats, viewmats, centers, Ks, records, radii)
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        return records, means2d, radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_records: Tensor | None, grad_means2d: Tensor | None, _: Tensor | None) -> Any:
        *splats, viewmats, centers, Ks, records, radii = ctx.saved_tensors
        settings: RasterSettings = ctx.settings
        cameras, n = len(viewmats), len(splats[0])
        grad_records = torch.zeros_like(records) if grad_records is None else grad_records.contiguous()
        grad_means2d = torch.zeros(cameras, n, 2) if grad_means2d is None else grad_means2d.contiguous()
        grads = tuple(torch.empty_like(t) for t in splats)
        grad_views = torch.empty(cameras, -(-n // projection.CHUNK), 15)
        for c in range(cameras):
            projection.project_backward(
                _splats(splats, c),
                _camera(viewmats, centers, Ks, c, settings),
                settings.rules,
                *(_array(t[c]) for t in (records, radii, grad_records, grad_means2d)),
                c > 0,
                c > 0 and splats[4].ndim == 3,
                _splats(grads, c),
                _array(grad_views[c]),
            )
        total = grad_views.sum(1)
        grad_viewmats = torch.zeros(cameras, 4, 4)
        grad_viewmats[:, :3] = total[:, :12].reshape(cameras, 3, 4)
        return *grads, grad_viewmats, total[:, 12:], None, None


def _tiles(records: Tensor, bins: Bins, blocks: NDArray[np.uint32], settings: RasterSettings) -> compositing.Tiles:
    return compositing.Tiles(_flat(records), bins.ids, bins.tile_offsets, blocks, bins.places, settings.tiles[0])


def _image(camera: int, color: Tensor, alpha: Tensor | None) -> compositing.Image:
    """Kernel arguments: image and alpha, or their gradients, of one camera."""
    return compositing.Image(_flat(color[camera]), np.empty(0, np.float32) if alpha is None else _flat(alpha[camera]))


def _plane(camera: int, depth: Tensor | None) -> NDArray[Any] | None:
    return None if depth is None else _flat(depth[camera])


def _contiguous(grad: Tensor | None) -> Tensor | None:
    return None if grad is None else grad.contiguous()


class _Backward:
    """Shared by the two compositing nodes: from sums per slot to gradients of records and centers."""

    def __init__(self, records: Tensor, means2d: Tensor) -> None:
        self.records = records
        self.grad_records = torch.empty_like(records)
        self.grad_means2d, self.absgrad = torch.empty_like(means2d), torch.empty_like(means2d)

    def gather(self, camera: int, bins: Bins, sums: Tensor, channels: int, grad_colors: Tensor, column: int) -> None:
        compositing.gather_gradients(
            _flat(sums),
            sums.shape[1],
            channels,
            bins.first_places,
            *(_array(t[camera]) for t in (self.records, self.grad_records, self.grad_means2d, self.absgrad)),
            _array(grad_colors[camera]),
            column,
        )


class _Composite(torch.autograd.Function):
    """Records and means2d -> image, alpha and, if asked for, depth of every camera."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, means2d: Tensor, backgrounds: Tensor, scene: Projected, mode: DepthMode, planar: bool
    ) -> Any:
        settings = scene.settings
        cameras, width, height = len(records), settings.width, settings.height
        image = torch.empty((cameras, 3, height, width) if planar else (cameras, height, width, 3))
        alpha = torch.empty(cameras, height, width)
        depth = None if mode is DepthMode.NONE else torch.empty(cameras, height, width)
        ctx.frame = compositing.Frame(width, height, *((width * height, 1) if planar else (1, 3)))
        ctx.tiles = [_tiles(records[c], b, np.empty(len(b.ids), np.uint32), settings) for c, b in enumerate(scene.bins)]
        for c, tiles in enumerate(ctx.tiles):
            compositing.composite(
                numba.get_num_threads(),
                np.zeros(1, np.int64),
                tiles,
                ctx.frame,
                _array(backgrounds[c]),
                _image(c, image, alpha),
                _plane(c, depth),
                mode is DepthMode.EXPECTED,
            )
        ctx.bins, ctx.mode, ctx.planar = scene.bins, mode, planar
        # means2d is saved, though not read, because its `absgrad` is set in backward
        ctx.save_for_backward(records, means2d, image, alpha, depth)
        ctx.set_materialize_grads(False)
        return image, alpha, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor | None, grad_alpha: Tensor | None, grad_depth: Tensor | None) -> Any:
        records, means2d, image, alpha, depth = ctx.saved_tensors
        grad_image = torch.zeros_like(image) if grad_image is None else grad_image.contiguous()
        grad_alpha, grad_depth = _contiguous(grad_alpha), _contiguous(grad_depth)
        result = _Backward(records, means2d)
        for c, (tiles, bins) in enumerate(zip(ctx.tiles, ctx.bins)):
            sums = torch.empty(len(bins.ids), compositing.COLOR_PLACE)
            compositing.composite_backward(
                numba.get_num_threads(),
                np.zeros(1, np.int64),
                tiles,
                ctx.frame,
                _image(c, image, alpha),
                _image(c, grad_image, grad_alpha),
                _plane(c, None if grad_depth is None else depth),
                _plane(c, grad_depth),
                ctx.mode is DepthMode.EXPECTED,
                _flat(sums),
            )
            # red, green, blue and depth are neighbors in a record
            result.gather(c, bins, sums, 4, result.grad_records, projection.RED)
        means2d.absgrad = result.absgrad
        grad_backgrounds = None
        if ctx.needs_input_grad[2]:
            through = (1 - alpha).unsqueeze(1 if ctx.planar else -1)
            grad_backgrounds = (grad_image * through).sum((2, 3) if ctx.planar else (1, 2))
        return result.grad_records, result.grad_means2d, grad_backgrounds, None, None, None


class _CompositeFeatures(torch.autograd.Function):
    """Records, means2d and features [cameras, N, D] -> image [cameras, H, W, D] and alpha."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, means2d: Tensor, features: Tensor, backgrounds: Tensor, scene: Projected
    ) -> Any:
        settings = scene.settings
        cameras, width, height, channels = len(records), settings.width, settings.height, features.shape[-1]
        image, alpha = torch.empty(cameras, height, width, channels), torch.empty(cameras, height, width)
        ctx.frame = compositing.Frame(width, height, 1, channels)
        ctx.tiles = [_tiles(records[c], b, np.empty(len(b.ids), np.uint32), settings) for c, b in enumerate(scene.bins)]
        for c, tiles in enumerate(ctx.tiles):
            compositing.composite_features(
                numba.get_num_threads(),
                np.zeros(1, np.int64),
                tiles,
                ctx.frame,
                _flat(features[c]),
                _array(backgrounds[c]),
                _image(c, image, alpha),
            )
        ctx.bins = scene.bins
        ctx.save_for_backward(records, means2d, features, image, alpha)
        ctx.set_materialize_grads(False)
        return image, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor | None, grad_alpha: Tensor | None) -> Any:
        records, means2d, features, image, alpha = ctx.saved_tensors
        channels = features.shape[-1]
        grad_image = torch.zeros_like(image) if grad_image is None else grad_image.contiguous()
        grad_alpha = _contiguous(grad_alpha)
        grad_features = torch.empty_like(features)
        result = _Backward(records, means2d)
        for c, (tiles, bins) in enumerate(zip(ctx.tiles, ctx.bins)):
            sums = torch.empty(len(bins.ids), compositing.MOMENTS + channels)
            compositing.composite_features_backward(
                numba.get_num_threads(),
                np.zeros(1, np.int64),
                tiles,
                ctx.frame,
                _flat(features[c]),
                channels,
                _image(c, image, alpha),
                _image(c, grad_image, grad_alpha),
                _flat(sums),
            )
            result.gather(c, bins, sums, channels, grad_features, 0)
        means2d.absgrad = result.absgrad
        grad_backgrounds = (grad_image * (1 - alpha)[..., None]).sum((1, 2)) if ctx.needs_input_grad[3] else None
        return result.grad_records, result.grad_means2d, grad_features, grad_backgrounds, None


def _float32(tensor: Tensor) -> Tensor:
    """The tensor as kernels need it; its gradient returns in the dtype and layout of the input.

    Raises:
        RenderError: it is not on the CPU.
    """
    if tensor.device.type != "cpu":
        raise RenderError(
            f"The cpu renderer was given a tensor on {tensor.device}: move it to the CPU, or use the gsplat renderer"
        )
    return tensor.to(torch.float32).contiguous()


def _check_shapes(tensors: Sequence[Tensor], degree: int) -> None:
    """Kernels do not check bounds, so this does.

    Raises:
        RenderError: a tensor's shape does not match the others, or the degree.
    """
    n, views = len(tensors[0]), len(tensors[5])
    shapes = ((n, 3), (n, 4), (n, 3), (n,), None, (views, 4, 4), (views, 3, 3))
    colors = tensors[4]
    bands = 1 if degree == projection.PLAIN_COLORS else 0 if degree == projection.NO_COLORS else (degree + 1) ** 2
    fits = all(shape is None or tuple(tensor.shape) == shape for tensor, shape in zip(tensors, shapes))
    fits &= tuple(colors.shape[:-2]) in ((n,), (views, n)) and colors.shape[-2] >= bands and colors.shape[-1] == 3
    if not fits or degree > projection.MAX_DEGREE:
        raise RenderError(
            f"The cpu renderer draws means [N, 3], quats [N, 4], scales [N, 3], opacities [N] and colors [N, K, 3] of "
            f"degree at most {projection.MAX_DEGREE} into viewmats [C, 4, 4] and Ks [C, 3, 3], but was given "
            f"{', '.join(str(list(t.shape)) for t in tensors)}"
        )


def project(
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
    opacities: Float[Tensor, "n"],
    colors: Float[Tensor, "n k 3"] | Float[Tensor, "views n k 3"],
    viewmats: Float[Tensor, "views 4 4"],
    Ks: Float[Tensor, "views 3 3"],
    settings: RasterSettings,
) -> Projected:
    """Project Gaussians into cameras and bin them into tiles; differentiable except in ``Ks``.

    ``colors`` are coefficients of spherical harmonics, or colors (k = 1) with PLAIN_COLORS, or unread with
    NO_COLORS. Any floating dtype and memory layout is accepted.

    Raises:
        RenderError: a tensor is not on the CPU, shapes do not fit, or the Gaussians touch too many tiles.
    """
    start_numba_threads()
    _check_shapes((means, quats, scales, opacities, colors, viewmats, Ks), settings.degree)
    inputs = [_float32(t) for t in (means, quats, scales, opacities, colors, viewmats)]
    view = inputs[5]
    # only spherical harmonics above degree 0 look at the camera's center
    centers = torch.linalg.inv_ex(view)[0][:, :3, 3].contiguous() if settings.degree > 0 else view[:, 0, :3]
    records, means2d, radii = _Project.apply(*inputs, centers, _float32(Ks), settings)
    for_backward = torch.is_grad_enabled()
    bins = [_bin(_array(r), _array(s), settings, for_backward=for_backward) for r, s in zip(records, radii)]
    return Projected(settings, records, means2d, radii, bins)


def composite(scene: Projected, backgrounds: Float[Tensor, "views 3"], *, depth: DepthMode, planar: bool) -> Drawn:
    """Draw the records' colors, ``planar`` [views, 3, h, w] or [views, h, w, 3], and their depth if asked for."""
    return Drawn(*_Composite.apply(scene.records, scene.means2d, _float32(backgrounds), scene, depth, planar))


def composite_features(
    scene: Projected, features: Float[Tensor, "views n d"], backgrounds: Float[Tensor, "views d"]
) -> tuple[Float[Tensor, "views h w d"], Float[Tensor, "views h w"]]:
    """Draw any number of channels; returns the image and alpha."""
    image, alpha = _CompositeFeatures.apply(
        scene.records, scene.means2d, _float32(features), _float32(backgrounds), scene
    )
    return image, alpha
