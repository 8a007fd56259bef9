"""`rasterization` with the signature of gsplat 1.5.3, on the CPU."""

from typing import Any

import torch
from torch import Tensor

from instax3d.errors import RenderError

from .autograd import DepthMode, Projected, RasterSettings, composite, composite_features, project
from .binning import TILE
from .projection import CONIC, DEPTH, MAX_DEGREE, NO_COLORS, OPACITY, PLAIN_COLORS

_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")


def describe(scene: Projected) -> dict[str, Any]:
    """gsplat's ``meta`` in its unpacked layout; everything but ``means2d`` is without gradient."""
    settings, records = scene.settings, scene.records.detach()
    tiles_x, tiles_y = settings.tiles
    return {
        "batch_ids": None,
        "camera_ids": None,
        "gaussian_ids": None,
        "radii": scene.radii,
        "means2d": scene.means2d,
        "depths": records[..., DEPTH],
        "conics": records[..., CONIC : CONIC + 3],
        "opacities": records[..., OPACITY],
        "tile_width": tiles_x,
        "tile_height": tiles_y,
        "width": settings.width,
        "height": settings.height,
        "tile_size": TILE,
        "n_batches": 1,
        "n_cameras": len(records),
    }


def _refuse_unsupported(options: dict[str, tuple[Any, Any]]) -> None:
    """Raise for the first option (name: given, the only supported value) that is not at its supported value."""
    for name, (value, supported) in options.items():
        if value != supported:
            raise RenderError(
                f"The CPU rasterization does not support {name}={value!r}: "
                f"leave it at {supported!r}, or use gsplat on CUDA"
            )


def _expect(name: str, tensor: Tensor, *shapes: tuple[int, ...]) -> None:
    """Raise unless the tensor is floating and has one of the shapes (-1: any length)."""
    fits = any(tensor.ndim == len(shape) and all(b in (-1, a) for a, b in zip(tensor.shape, shape)) for shape in shapes)
    if not (fits and tensor.is_floating_point()):
        expected = " or ".join(str(list(shape)).replace("-1", "any") for shape in shapes)
        raise RenderError(f"{name} must be floating and {expected}, but is {tensor.dtype} {list(tensor.shape)}")


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = False,
    tile_size: int = TILE,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    segmented: bool = False,
    covars: Tensor | None = None,
    with_ut: bool = False,
    with_eval3d: bool = False,
    radial_coeffs: Tensor | None = None,
    tangential_coeffs: Tensor | None = None,
    thin_prism_coeffs: Tensor | None = None,
    ftheta_coeffs: Any = None,
    rolling_shutter: Any = None,
    viewmats_rs: Tensor | None = None,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Draw N Gaussians into C cameras: gsplat's ``rasterization`` for tensors on the CPU.

    Differences from gsplat 1.5.3: the layout is always that of ``packed=False``, which is the default here; ``meta``
    has no lists of tile intersections; gradients flow to ``means2d`` but not to the other entries of ``meta``;
    ``channel_chunk`` has no effect, since any number of channels is drawn at once. Gaussians with NaN or inf anywhere
    are not drawn and get zero gradients. Work and results are float32; gradients come in the inputs' dtypes.

    Args:
        means: Centers [N, 3].
        quats: Rotations, wxyz, of any length [N, 4].
        scales: Standard deviations along the axes [N, 3].
        opacities: In [0, 1] [N].
        colors: Features [N, D] or [C, N, D]; with ``sh_degree`` spherical harmonics [N, K, 3] or [C, N, K, 3].
        viewmats: World to camera, OpenCV axes [C, 4, 4].
        Ks: Intrinsics in pixels [C, 3, 3]; the only tensor without gradient.
        width: Of the images, pixels.
        height: Of the images, pixels.
        near_plane: Gaussians nearer than this are not drawn.
        far_plane: Gaussians farther than this are not drawn.
        radius_clip: Gaussians with both radii at most this are not drawn, pixels.
        eps2d: Added to the diagonal of each 2D covariance, square pixels.
        sh_degree: 0 to 3 and at most what K allows, or None where ``colors`` are features.
        packed: Only False.
        tile_size: Only 16.
        backgrounds: [C, D], black if None; without depth.
        render_mode: Colors (RGB), accumulated depth (D), expected depth (ED), or colors and depth, depth last.
        sparse_grad: Only False.
        absgrad: No effect: ``meta["means2d"].absgrad`` is always there after backward, as it costs next to nothing.
        rasterize_mode: "antialiased" dims Gaussians by what ``eps2d`` added to them (Mip-Splatting).
        channel_chunk: No effect.
        distributed, camera_model, segmented, covars, with_ut, with_eval3d, radial_coeffs, tangential_coeffs,
        thin_prism_coeffs, ftheta_coeffs, rolling_shutter, viewmats_rs: Only their defaults.

    Returns:
        Images [C, height, width, X], alphas [C, height, width, 1], and gsplat's ``meta``.

    Raises:
        RenderError: an option that is not supported, a tensor of the wrong shape or not on the CPU.
    """
    _refuse_unsupported(
        {
            "packed": (packed, False),
            "tile_size": (tile_size, TILE),
            "sparse_grad": (sparse_grad, False),
            "distributed": (distributed, False),
            "camera_model": (camera_model, "pinhole"),
            "segmented": (segmented, False),
            "with_ut": (with_ut, False),
            "with_eval3d": (with_eval3d, False),
            "ftheta_coeffs": (ftheta_coeffs, None),
            "rolling_shutter": (getattr(rolling_shutter, "name", rolling_shutter) or "GLOBAL", "GLOBAL"),
        }
    )
    for name, tensor in (
        ("covars", covars),
        ("radial_coeffs", radial_coeffs),
        ("tangential_coeffs", tangential_coeffs),
        ("thin_prism_coeffs", thin_prism_coeffs),
        ("viewmats_rs", viewmats_rs),
    ):
        if tensor is not None:
            raise RenderError(f"The CPU rasterization does not support {name}: leave it at None, or use gsplat on CUDA")
    if render_mode not in _MODES:
        raise RenderError(f"render_mode must be one of {', '.join(_MODES)}, but is {render_mode!r}")
    if rasterize_mode not in ("classic", "antialiased"):
        raise RenderError(f"rasterize_mode must be classic or antialiased, but is {rasterize_mode!r}")
    if width < 1 or height < 1:
        raise RenderError(f"width and height must be at least 1, but are {width} and {height}")
    if means.ndim != 2 or viewmats.ndim != 3:
        raise RenderError(
            f"means must be [N, 3] and viewmats [C, 4, 4] without batch dimensions, "
            f"but are {list(means.shape)} and {list(viewmats.shape)}"
        )
    n, cameras = len(means), len(viewmats)
    _expect("means", means, (n, 3))
    _expect("quats", quats, (n, 4))
    _expect("scales", scales, (n, 3))
    _expect("opacities", opacities, (n,))
    _expect("viewmats", viewmats, (cameras, 4, 4))
    _expect("Ks", Ks, (cameras, 3, 3))
    if sh_degree is None:
        _expect("colors", colors, (n, -1), (cameras, n, -1))
        channels = colors.shape[-1]
    else:
        if not 0 <= sh_degree <= MAX_DEGREE:
            raise RenderError(f"sh_degree must be from 0 to {MAX_DEGREE}, but is {sh_degree}")
        _expect("colors", colors, (n, -1, 3), (cameras, n, -1, 3))
        if colors.shape[-2] < (sh_degree + 1) ** 2:
            raise RenderError(
                f"sh_degree={sh_degree} needs {(sh_degree + 1) ** 2} coefficients, but colors has {colors.shape[-2]}"
            )
        channels = 3
    with_colors, with_depth = "RGB" in render_mode, "D" in render_mode
    expected = render_mode.endswith("ED")
    if backgrounds is None or not with_colors:
        backgrounds = means.new_zeros(cameras, channels if with_colors else 0)
    else:
        _expect("backgrounds", backgrounds, (cameras, channels))

    three = with_colors and channels == 3
    settings = RasterSettings(
        width,
        height,
        near=near_plane,
        far=far_plane,
        radius_clip=radius_clip,
        eps2d=eps2d,
        antialiased=rasterize_mode == "antialiased",
        degree=NO_COLORS if not three else PLAIN_COLORS if sh_degree is None else sh_degree,
    )
    coefficients = colors if three else means.new_empty(n, 0, 3)
    if settings.degree == PLAIN_COLORS:
        coefficients = coefficients[..., None, :]
    scene = project(means, quats, scales, opacities, coefficients, viewmats, Ks, settings)
    if three:
        mode = DepthMode.NONE if not with_depth else DepthMode.EXPECTED if expected else DepthMode.ACCUMULATED
        drawn = composite(scene, backgrounds, depth=mode, planar=False)
        image = drawn.image if drawn.depth is None else torch.cat([drawn.image, drawn.depth[..., None]], -1)
        return image, drawn.alpha[..., None], describe(scene)

    features = [colors.expand(cameras, n, channels)] if with_colors else []
    if with_depth:
        features.append(scene.records[..., DEPTH, None])
        backgrounds = torch.cat([backgrounds, backgrounds.new_zeros(cameras, 1)], -1)
    image, alpha = composite_features(scene, torch.cat(features, -1), backgrounds)
    alpha = alpha[..., None]
    if expected:
        image = torch.cat([image[..., :-1], image[..., -1:] / alpha.clamp_min(1e-10)], -1)
    return image, alpha, describe(scene)
