"""Kernels that project 3D Gaussians into a camera, and the backward of that projection.

EWA splatting as in 3D Gaussian Splatting (Kerbl et al. 2023, section 4) with gsplat's conventions: pinhole, the
Jacobian taken at a center clamped to 1.3 times the half field of view, ``eps2d`` added to the 2D covariance, extents
that know the opacity (StopThePop, arXiv 2402.00525, section B.2). Color is evaluated from spherical harmonics here.

Each projected Gaussian is one record of 16 float32, one cache line; the slots are named below. Its falloff is kept as

    exp(-(u u / var_u + dy dy / var_y) / 2),  u = dx + shear dy,

with var_y the variance along y, var_u that along x for given y, and shear = -cov_xy / var_y: a sum of squares, which
does not cancel on needles as the usual a dx dx + 2 b dx dy + c dy dy does.

Kernels keep inf and NaN exact (no ``nnan`` or ``ninf``): a Gaussian that any of them reaches fails the one test before
its record is written, and is culled.
"""

import math
from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

RECORD = 16
X, Y = 0, 1
"""Center in pixels. (The gradient of a center is not in its record but in that of ``means2d``.)"""
FALLOFF_U, SHEAR, FALLOFF_Y = 2, 3, 4
"""log2(e) / 2 over var_u, shear, log2(e) / 2 over var_y. Gradients here are those of 1 / var_u, shear, 1 / var_y."""
LOG2_OPACITY = 5
RED = 6
"""First of three color channels."""
DEPTH = 9
EXTENT_X, EXTENT_Y = 10, 11
"""Half sizes of the box outside which alpha < 1/255, pixels."""
CONIC = 12
"""First of the three entries of the inverse 2D covariance, which only users read."""
OPACITY = 15
"""Opacity after the antialiasing compensation."""

MAX_DEGREE = 3
"""Of the spherical harmonics."""
PLAIN_COLORS, NO_COLORS = -1, -2
"""Values of ``degree`` besides the degree of the spherical harmonics."""

CHUNK = 1024
"""Gaussians a thread takes at a time. Fixed, so that sums over chunks do not depend on the number of threads."""


class Splats(NamedTuple):
    """Gaussians in the world, float32."""

    means: NDArray[np.float32]
    """[N, 3]"""
    quats: NDArray[np.float32]
    """[N, 4] wxyz, of any length."""
    scales: NDArray[np.float32]
    """[N, 3]"""
    opacities: NDArray[np.float32]
    """[N]"""
    colors: NDArray[np.float32]
    """[N, K, 3] Coefficients of spherical harmonics; colors [N, 1, 3] with PLAIN_COLORS; unread with NO_COLORS."""


class Camera(NamedTuple):
    """One camera, float32."""

    viewmat: NDArray[np.float32]
    """[4, 4] World to camera."""
    center: NDArray[np.float32]
    """[3] Where it stands in the world."""
    K: NDArray[np.float32]
    """[3, 3]"""
    width: int
    height: int


class Rules(NamedTuple):
    """How to project; floats are np.float32."""

    degree: int
    """Of the spherical harmonics, or one of PLAIN_COLORS and NO_COLORS."""
    near: Any
    far: Any
    radius_clip: Any
    eps2d: Any
    antialiased: bool


_f4 = np.float32
_ZERO, _HALF, _ONE, _TWO = _f4(0), _f4(0.5), _f4(1), _f4(2)
_THREE, _FOUR, _SIX, _EIGHT = _f4(3), _f4(4), _f4(6), _f4(8)
_HALF_LOG2_E = _f4(0.5 * math.log2(math.e))
_ALPHA_MIN = _f4(1 / 255)
_LOG_255 = _f4(math.log(255))
_EXTENT_MAX = _f4(3.33**2)
_CLAMP_MARGIN = _f4(0.15)
_HUGE = _f4(1e15)
_MAX_RADIUS = _f4(1 << 30)
_COMPENSATION_EPS = _f4(1e-6)

# real spherical harmonics in the order and signs of 3DGS, as polynomials of the unit direction
_SH0 = _f4(0.28209479177387814)
_SH1 = _f4(0.4886025119029199)
_SH2_0, _SH2_1, _SH2_2 = _f4(1.0925484305920792), _f4(0.31539156525252005), _f4(0.5462742152960396)
_SH3_0, _SH3_1, _SH3_2 = _f4(0.5900435899266435), _f4(2.890611442640554), _f4(0.4570457994644658)
_SH3_3, _SH3_4 = _f4(0.3731763325901154), _f4(1.445305721320277)

# fast maths without the assumption that there is no NaN and no inf
_FLAGS = {"contract", "nsz", "arcp", "reassoc", "afn"}
# Helpers are inlined, and take arrays and tuples of numbers: a call, or an array taken out of a tuple, costs more per
# Gaussian than the arithmetic.


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _sum(s, a, t, b):
    """The vector s a + t b."""
    return s * a[0] + t * b[0], s * a[1] + t * b[1], s * a[2] + t * b[2]


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _row(matrix, i):
    """First three entries of row i of an array."""
    return matrix[i, 0], matrix[i, 1], matrix[i, 2]


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _times(row, matrix):
    """A row times a matrix of three rows."""
    a, b, c = matrix
    return (
        row[0] * a[0] + row[1] * b[0] + row[2] * c[0],
        row[0] * a[1] + row[1] * b[1] + row[2] * c[1],
        row[0] * a[2] + row[1] * b[2] + row[2] * c[2],
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _direction(point, center):
    """Unit vector from ``center`` to ``point``, and one over their distance."""
    x, y, z = point[0] - center[0], point[1] - center[1], point[2] - center[2]
    inverse = _ONE / math.sqrt(x * x + y * y + z * z)
    return (x * inverse, y * inverse, z * inverse), inverse


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _sh_basis(degree, direction, basis):
    """Values of the spherical harmonics up to ``degree`` into ``basis[0]`` [16]."""
    x, y, z = direction
    basis[0, 0] = _SH0
    if degree >= 1:
        basis[0, 1] = -_SH1 * y
        basis[0, 2] = _SH1 * z
        basis[0, 3] = -_SH1 * x
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        basis[0, 4] = _SH2_0 * x * y
        basis[0, 5] = -_SH2_0 * y * z
        basis[0, 6] = _SH2_1 * (_TWO * zz - xx - yy)
        basis[0, 7] = -_SH2_0 * x * z
        basis[0, 8] = _SH2_2 * (xx - yy)
        if degree >= 3:
            basis[0, 9] = -_SH3_0 * y * (_THREE * xx - yy)
            basis[0, 10] = _SH3_1 * x * y * z
            basis[0, 11] = -_SH3_2 * y * (_FOUR * zz - xx - yy)
            basis[0, 12] = _SH3_3 * z * (_TWO * zz - _THREE * xx - _THREE * yy)
            basis[0, 13] = -_SH3_2 * x * (_FOUR * zz - xx - yy)
            basis[0, 14] = _SH3_4 * z * (xx - yy)
            basis[0, 15] = -_SH3_0 * x * (xx - _THREE * yy)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _sh_slopes(degree, direction, basis):
    """Derivatives of the polynomials of `_sh_basis` by x, y and z into ``basis[1]``, ``basis[2]`` and ``basis[3]``."""
    x, y, z = direction
    basis[1, 1], basis[2, 1], basis[3, 1] = _ZERO, -_SH1, _ZERO
    basis[1, 2], basis[2, 2], basis[3, 2] = _ZERO, _ZERO, _SH1
    basis[1, 3], basis[2, 3], basis[3, 3] = -_SH1, _ZERO, _ZERO
    if degree >= 2:
        basis[1, 4], basis[2, 4], basis[3, 4] = _SH2_0 * y, _SH2_0 * x, _ZERO
        basis[1, 5], basis[2, 5], basis[3, 5] = _ZERO, -_SH2_0 * z, -_SH2_0 * y
        basis[1, 6], basis[2, 6], basis[3, 6] = -_TWO * _SH2_1 * x, -_TWO * _SH2_1 * y, _FOUR * _SH2_1 * z
        basis[1, 7], basis[2, 7], basis[3, 7] = -_SH2_0 * z, _ZERO, -_SH2_0 * x
        basis[1, 8], basis[2, 8], basis[3, 8] = _TWO * _SH2_2 * x, -_TWO * _SH2_2 * y, _ZERO
    if degree >= 3:
        xx, yy, zz = x * x, y * y, z * z
        xy, xz, yz = x * y, x * z, y * z
        basis[1, 9], basis[2, 9], basis[3, 9] = -_SIX * _SH3_0 * xy, -_THREE * _SH3_0 * (xx - yy), _ZERO
        basis[1, 10], basis[2, 10], basis[3, 10] = _SH3_1 * yz, _SH3_1 * xz, _SH3_1 * xy
        basis[1, 11] = _TWO * _SH3_2 * xy
        basis[2, 11] = -_SH3_2 * (_FOUR * zz - xx - _THREE * yy)
        basis[3, 11] = -_EIGHT * _SH3_2 * yz
        basis[1, 12] = -_SIX * _SH3_3 * xz
        basis[2, 12] = -_SIX * _SH3_3 * yz
        basis[3, 12] = _SH3_3 * (_SIX * zz - _THREE * xx - _THREE * yy)
        basis[1, 13] = -_SH3_2 * (_FOUR * zz - _THREE * xx - yy)
        basis[2, 13] = _TWO * _SH3_2 * xy
        basis[3, 13] = -_EIGHT * _SH3_2 * xz
        basis[1, 14], basis[2, 14], basis[3, 14] = _TWO * _SH3_4 * xz, -_TWO * _SH3_4 * yz, _SH3_4 * (xx - yy)
        basis[1, 15], basis[2, 15], basis[3, 15] = -_THREE * _SH3_0 * (xx - yy), _SIX * _SH3_0 * xy, _ZERO


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _rotation(quats, i):
    """Rotation matrix (three rows) of quaternion i, the unit quaternion, and one over its length."""
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    inverse = _ONE / math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    rows = (
        (_ONE - _TWO * (y * y + z * z), _TWO * (x * y - w * z), _TWO * (x * z + w * y)),
        (_TWO * (x * y + w * z), _ONE - _TWO * (x * x + z * z), _TWO * (y * z - w * x)),
        (_TWO * (x * z - w * y), _TWO * (y * z + w * x), _ONE - _TWO * (x * x + y * y)),
    )
    return rows, (w, x, y, z), inverse


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _rotation_backward(unit, inverse, g):
    """Gradient of a quaternion from ``g`` (three rows), that of its rotation matrix."""
    w, x, y, z = unit
    (g00, g01, g02), (g10, g11, g12), (g20, g21, g22) = g
    gw = _TWO * (x * (g21 - g12) + y * (g02 - g20) + z * (g10 - g01))
    gx = _TWO * (-_TWO * x * (g11 + g22) + y * (g10 + g01) + z * (g20 + g02) + w * (g21 - g12))
    gy = _TWO * (x * (g10 + g01) - _TWO * y * (g00 + g22) + z * (g21 + g12) + w * (g02 - g20))
    gz = _TWO * (x * (g20 + g02) + y * (g21 + g12) - _TWO * z * (g00 + g11) + w * (g10 - g01))
    along = gw * w + gx * x + gy * y + gz * z
    return (
        (gw - along * w) * inverse,
        (gx - along * x) * inverse,
        (gy - along * y) * inverse,
        (gz - along * z) * inverse,
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _lens(camera):
    """A camera as numbers: the rows of its rotation, its translation, fx, fy, cx, cy, and the bounds of x/z and y/z."""
    viewmat, K = camera.viewmat, camera.K
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    width, height = _f4(camera.width), _f4(camera.height)
    margin_x, margin_y = _CLAMP_MARGIN * width / fx, _CLAMP_MARGIN * height / fy
    return (
        (_row(viewmat, 0), _row(viewmat, 1), _row(viewmat, 2)),
        (viewmat[0, 3], viewmat[1, 3], viewmat[2, 3]),
        (fx, fy, cx, cy),
        (-cx / fx - margin_x, (width - cx) / fx + margin_x, -cy / fy - margin_y, (height - cy) / fy + margin_y),
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _camera_point(rotation, translation, mean):
    """A point of the world in camera axes."""
    return (
        _dot(rotation[0], mean) + translation[0],
        _dot(rotation[1], mean) + translation[1],
        _dot(rotation[2], mean) + translation[2],
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _image_axes(rotation, intrinsics, bounds, point):
    """Jacobian of the projection times the camera's rotation: how pixel x and pixel y grow along the world's axes.

    Also f / z, x/z and y/z as clamped for the Jacobian, and for each, 1 where it was not clamped, else 0.
    """
    z_inverse = _ONE / point[2]
    u, v = point[0] * z_inverse, point[1] * z_inverse
    clamped_u, clamped_v = min(bounds[1], max(bounds[0], u)), min(bounds[3], max(bounds[2], v))
    fx_z, fy_z = intrinsics[0] * z_inverse, intrinsics[1] * z_inverse
    return (
        _sum(fx_z, rotation[0], -fx_z * clamped_u, rotation[2]),
        _sum(fy_z, rotation[1], -fy_z * clamped_v, rotation[2]),
        (fx_z, fy_z),
        (clamped_u, clamped_v),
        (_f4(clamped_u == u), _f4(clamped_v == v)),
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _scaled(rotation, scale):
    """Rotation matrix times the diagonal matrix of the scales."""
    a, b, c = rotation
    s0, s1, s2 = scale
    return (a[0] * s0, a[1] * s1, a[2] * s2), (b[0] * s0, b[1] * s1, b[2] * s2), (c[0] * s0, c[1] * s1, c[2] * s2)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _determinants(bx, by, eps2d):
    """Determinant of the 2D covariance without and with ``eps2d``; bx and by: the Gaussian's axes in the image.

    The covariance is B B^T, so by Lagrange's identity its determinant is |bx x by|^2, without cancellation.
    """
    n0, n1, n2 = bx[1] * by[2] - bx[2] * by[1], bx[2] * by[0] - bx[0] * by[2], bx[0] * by[1] - bx[1] * by[0]
    bare = n0 * n0 + n1 * n1 + n2 * n2
    return bare, bare + eps2d * (_dot(bx, bx) + _dot(by, by) + eps2d)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _color(colors, i, degree, mean, center, basis):
    """Color of Gaussian i as seen from ``center``."""
    if degree == NO_COLORS:
        return _ZERO, _ZERO, _ZERO
    if degree == PLAIN_COLORS:
        return colors[i, 0, 0], colors[i, 0, 1], colors[i, 0, 2]
    if degree > 0:
        direction, _ = _direction(mean, center)
        _sh_basis(degree, direction, basis)
    red, green, blue = _HALF, _HALF, _HALF
    for k in range((degree + 1) * (degree + 1)):
        red += basis[0, k] * colors[i, k, 0]
        green += basis[0, k] * colors[i, k, 1]
        blue += basis[0, k] * colors[i, k, 2]
    # comparisons, not max(), so that NaN is kept and seen later
    return _ZERO if red < _ZERO else red, _ZERO if green < _ZERO else green, _ZERO if blue < _ZERO else blue


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _project_chunk(first, last, splats, camera, rules, records, means2d, radii):
    """Gaussians ``first`` to ``last`` of `project`."""
    means, quats, scales, opacities, colors = splats
    degree, near, far, radius_clip, eps2d, antialiased = rules
    width, height = _f4(camera.width), _f4(camera.height)
    view, translation, intrinsics, bounds = _lens(camera)
    fx, fy, cx, cy = intrinsics
    center = (camera.center[0], camera.center[1], camera.center[2])
    basis = np.full((1, 16), _SH0, np.float32)
    for i in range(first, last):
        radii[i, 0] = 0
        radii[i, 1] = 0
        means2d[i, 0] = _ZERO
        means2d[i, 1] = _ZERO
        for k in range(RECORD):
            records[i, k] = _ZERO

        mean = _row(means, i)
        point = _camera_point(view, translation, mean)
        z = point[2]
        # all tests are written so that NaN fails them
        if not ((z >= near) & (z <= far) & (z > _ZERO)):
            continue
        rotation, _, _ = _rotation(quats, i)
        shape = _scaled(rotation, _row(scales, i))
        axis_x, axis_y, _, _, _ = _image_axes(view, intrinsics, bounds, point)
        bx, by = _times(axis_x, shape), _times(axis_y, shape)
        bare, det = _determinants(bx, by, eps2d)
        opacity = opacities[i]
        if antialiased:
            opacity *= math.sqrt(bare / det)
        if not ((det > _ZERO) & (opacity >= _ALPHA_MIN)):
            continue
        var_x, cov, var_y = _dot(bx, bx) + eps2d, _dot(bx, by), _dot(by, by) + eps2d
        reach = min(_TWO * (math.log(opacity) + _LOG_255), _EXTENT_MAX)
        extent_x, extent_y = math.sqrt(reach * var_x), math.sqrt(reach * var_y)
        radius_x, radius_y = np.ceil(extent_x), np.ceil(extent_y)
        if (radius_x <= radius_clip) & (radius_y <= radius_clip):
            continue
        x, y = fx * point[0] / z + cx, fy * point[1] / z + cy
        if not ((x + radius_x > _ZERO) & (x - radius_x < width) & (y + radius_y > _ZERO) & (y - radius_y < height)):
            continue
        red, green, blue = _color(colors, i, degree, mean, center, basis)
        a, b, c = var_y / det, -cov / det, var_x / det
        size, light = abs(x) + abs(y) + extent_x + extent_y, abs(red) + abs(green) + abs(blue)
        if not ((size < _HUGE) & (light < _HUGE) & (opacity < _HUGE) & (a + abs(b) + c < _HUGE)):
            continue

        # clipped, since a float beyond int32 has no integer
        radii[i, 0] = np.int32(min(radius_x, _MAX_RADIUS))
        radii[i, 1] = np.int32(min(radius_y, _MAX_RADIUS))
        means2d[i, 0] = x
        means2d[i, 1] = y
        records[i, X] = x
        records[i, Y] = y
        records[i, FALLOFF_U] = _HALF_LOG2_E * a
        records[i, SHEAR] = -cov / var_y
        records[i, FALLOFF_Y] = _HALF_LOG2_E / var_y
        records[i, LOG2_OPACITY] = math.log2(opacity)
        records[i, RED] = red
        records[i, RED + 1] = green
        records[i, RED + 2] = blue
        records[i, DEPTH] = z
        records[i, EXTENT_X] = extent_x
        records[i, EXTENT_Y] = extent_y
        records[i, CONIC] = a
        records[i, CONIC + 1] = b
        records[i, CONIC + 2] = c
        records[i, OPACITY] = opacity


@njit(parallel=True, fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def project(splats, camera, rules, records, means2d, radii):
    """Project all Gaussians into one camera.

    Outputs: records [N, 16], means2d [N, 2], radii int32 [N, 2]; all zero where the Gaussian is culled.
    """
    n = splats.means.shape[0]
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        _project_chunk(chunk * CHUNK, min(n, (chunk + 1) * CHUNK), splats, camera, rules, records, means2d, radii)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True, forceinline=True)
@no_type_check
def _color_backward(colors, i, degree, mean, center, records, grad_records, basis, grad_colors):
    """Add the gradient of Gaussian i's coefficients; returns that of its mean through the direction of view."""
    if degree == NO_COLORS:
        return _ZERO, _ZERO, _ZERO
    if degree == PLAIN_COLORS:
        for c in range(3):
            grad_colors[i, 0, c] += grad_records[i, RED + c]
        return _ZERO, _ZERO, _ZERO
    # no gradient through a channel clamped at 0
    red = grad_records[i, RED] if records[i, RED] > _ZERO else _ZERO
    green = grad_records[i, RED + 1] if records[i, RED + 1] > _ZERO else _ZERO
    blue = grad_records[i, RED + 2] if records[i, RED + 2] > _ZERO else _ZERO
    gx, gy, gz = _ZERO, _ZERO, _ZERO
    if degree > 0:
        direction, inverse = _direction(mean, center)
        _sh_basis(degree, direction, basis)
        _sh_slopes(degree, direction, basis)
        for k in range(1, (degree + 1) * (degree + 1)):
            g = red * colors[i, k, 0] + green * colors[i, k, 1] + blue * colors[i, k, 2]
            gx += g * basis[1, k]
            gy += g * basis[2, k]
            gz += g * basis[3, k]
        # through the normalization of the direction
        along = _dot((gx, gy, gz), direction)
        gx, gy, gz = _sum(inverse, (gx, gy, gz), -inverse * along, direction)
    for k in range((degree + 1) * (degree + 1)):
        grad_colors[i, k, 0] += basis[0, k] * red
        grad_colors[i, k, 1] += basis[0, k] * green
        grad_colors[i, k, 2] += basis[0, k] * blue
    return gx, gy, gz


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _project_chunk_backward(
    first, last, splats, camera, rules, records, radii, grad_records, grad_means2d, add, add_colors, grads, grad_view
):
    """Gaussians ``first`` to ``last`` of `project_backward`."""
    means, quats, scales, opacities, colors = splats
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors = grads
    degree, _, _, _, eps2d, antialiased = rules
    view, translation, intrinsics, bounds = _lens(camera)
    center = (camera.center[0], camera.center[1], camera.center[2])
    basis = np.full((4, 16), _SH0, np.float32)
    for k in range(15):
        grad_view[k] = _ZERO
    for i in range(first, last):
        if not add:
            grad_opacities[i] = _ZERO
            for k in range(3):
                grad_means[i, k] = _ZERO
                grad_scales[i, k] = _ZERO
            for k in range(4):
                grad_quats[i, k] = _ZERO
        if not add_colors:
            for k in range(grad_colors.shape[1]):
                for c in range(3):
                    grad_colors[i, k, c] = _ZERO
        if radii[i, 0] == 0:
            continue
        mean = _row(means, i)
        through_color = _color_backward(colors, i, degree, mean, center, records, grad_records, basis, grad_colors)

        # the forward once more
        point = _camera_point(view, translation, mean)
        rotation, unit, inverse_norm = _rotation(quats, i)
        scale = _row(scales, i)
        shape = _scaled(rotation, scale)
        axis_x, axis_y, (fx_z, fy_z), (u, v), (free_u, free_v) = _image_axes(view, intrinsics, bounds, point)
        bx, by = _times(axis_x, shape), _times(axis_y, shape)
        bare, det = _determinants(bx, by, eps2d)
        inverse_var_y = _ONE / (_dot(by, by) + eps2d)
        shear = -_dot(bx, by) * inverse_var_y

        # falloff -> covariance, whose gradient is (k00, k01; k01, k11): var_u = det / var_y = var_x - cov cov / var_y
        inverse_var_u = records[i, CONIC]
        grad_var_u = -grad_records[i, FALLOFF_U] * inverse_var_u * inverse_var_u
        grad_shear = grad_records[i, SHEAR] * inverse_var_y
        k00 = grad_var_u
        k01 = grad_var_u * shear - _HALF * grad_shear
        k11 = (grad_var_u * shear - grad_shear) * shear - grad_records[i, FALLOFF_Y] * inverse_var_y * inverse_var_y

        grad_opacity = grad_records[i, OPACITY]
        if antialiased:
            compensation = math.sqrt(bare / det)
            g = _HALF * grad_opacity * opacities[i] / (compensation + _COMPENSATION_EPS)
            missing = _ONE - compensation * compensation
            k00 += g * (missing * records[i, CONIC] - eps2d / det)
            k01 += g * missing * records[i, CONIC + 1]
            k11 += g * (missing * records[i, CONIC + 2] - eps2d / det)
            grad_opacity *= compensation
        grad_opacities[i] += grad_opacity

        # covariance = (bx, by) (bx, by)^T and b = axis . shape
        grad_bx, grad_by = _sum(_TWO * k00, bx, _TWO * k01, by), _sum(_TWO * k01, bx, _TWO * k11, by)
        grad_axis_x = (_dot(grad_bx, shape[0]), _dot(grad_bx, shape[1]), _dot(grad_bx, shape[2]))
        grad_axis_y = (_dot(grad_by, shape[0]), _dot(grad_by, shape[1]), _dot(grad_by, shape[2]))

        # shape = rotation . diag(scale)
        g0 = _sum(axis_x[0], grad_bx, axis_y[0], grad_by)
        g1 = _sum(axis_x[1], grad_bx, axis_y[1], grad_by)
        g2 = _sum(axis_x[2], grad_bx, axis_y[2], grad_by)
        grad_quat = _rotation_backward(unit, inverse_norm, _scaled((g0, g1, g2), scale))
        for k in range(3):
            grad_scales[i, k] += rotation[0][k] * g0[k] + rotation[1][k] * g1[k] + rotation[2][k] * g2[k]
        for k in range(4):
            grad_quats[i, k] += grad_quat[k]

        # center and Jacobian -> camera point; the Jacobian's last column is -f (x/z) / z, and x/z may be clamped
        z_inverse = _ONE / point[2]
        grad_x, grad_y = grad_means2d[i, 0], grad_means2d[i, 1]
        j00, j02 = _dot(grad_axis_x, view[0]), _dot(grad_axis_x, view[2])
        j11, j12 = _dot(grad_axis_y, view[1]), _dot(grad_axis_y, view[2])
        gx = fx_z * (grad_x - free_u * z_inverse * j02)
        gy = fy_z * (grad_y - free_v * z_inverse * j12)
        gz = grad_records[i, DEPTH] - z_inverse * (
            fx_z * (point[0] * grad_x + j00 - (_ONE + free_u) * u * j02)
            + fy_z * (point[1] * grad_y + j11 - (_ONE + free_v) * v * j12)
        )
        for k in range(3):
            grad_means[i, k] += through_color[k] + view[0][k] * gx + view[1][k] * gy + view[2][k] * gz
            grad_view[k] += fx_z * grad_axis_x[k] + gx * mean[k]
            grad_view[4 + k] += fy_z * grad_axis_y[k] + gy * mean[k]
            grad_view[8 + k] += gz * mean[k] - fx_z * u * grad_axis_x[k] - fy_z * v * grad_axis_y[k]
            grad_view[12 + k] -= through_color[k]
        grad_view[3] += gx
        grad_view[7] += gy
        grad_view[11] += gz


@njit(parallel=True, fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def project_backward(
    splats, camera, rules, records, radii, grad_records, grad_means2d, add, add_colors, grads, grad_views
):
    """Gradients of the inputs of `project` from those of its records and means2d.

    ``grads`` is a `Splats` of outputs. ``add`` adds to what it holds (for the second camera and later) instead of
    overwriting; ``add_colors`` says the same of its colors. grad_views [chunks, 15] gets, per chunk of Gaussians, the
    gradient of the view matrix's upper three rows (row by row) and of the camera center.
    """
    n = splats.means.shape[0]
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        _project_chunk_backward(
            chunk * CHUNK, min(n, (chunk + 1) * CHUNK), splats, camera, rules, records, radii, grad_records,
            grad_means2d, add, add_colors, grads, grad_views[chunk],
        )  # fmt: skip
