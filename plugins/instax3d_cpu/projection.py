"""Kernels that project 3D Gaussians into a camera, and the backward of that projection.

EWA splatting as in 3D Gaussian Splatting (Kerbl et al. 2023, section 4) with gsplat's conventions: pinhole, the
Jacobian taken at a centre clamped to 1.3 times the half field of view, ``eps2d`` added to the 2D covariance, extents
that know the opacity (StopThePop, arXiv 2402.00525, section B.2). Colour is evaluated from spherical harmonics here.

Each projected Gaussian is one record of 16 float32, one cache line; the slots are named below. Gradients of a record
use the same slots. Kernels keep inf and NaN arithmetic exact (no ``nnan``/``ninf``): a Gaussian that any of them
reaches fails the one test before its record is written, and is culled.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

RECORD = 16
X, Y = 0, 1
"""Centre in pixels."""
QXX, QXY, QYY = 2, 3, 4
"""Exponent of the falloff in base 2: ``QXX dx dx + QXY dx dy + QYY dy dy``."""
LOG2_OPACITY = 5
RED = 6
"""First of three colour channels."""
DEPTH = 9
EXTENT_X, EXTENT_Y = 10, 11
"""Half sizes of the box outside which alpha < 1/255, pixels."""
CONIC = 12
"""First of the three entries a, b, c of the inverse 2D covariance."""
OPACITY = 15
"""Opacity after the antialiasing compensation."""

PLAIN_COLOURS, NO_COLOURS = -1, -2
"""Values of ``degree`` besides the degree of the spherical harmonics."""

CHUNK = 1024
"""Gaussians a thread takes at a time. Fixed, so that sums over chunks do not depend on the number of threads."""

_f4 = np.float32
_ZERO, _HALF, _ONE, _TWO = _f4(0), _f4(0.5), _f4(1), _f4(2)
_LOG2_E = _f4(math.log2(math.e))
_ALPHA_MIN = _f4(1 / 255)
_LOG_255 = _f4(math.log(255))
_EXTENT_MAX = _f4(3.33**2)
_CLAMP_MARGIN = _f4(0.15)
_HUGE = _f4(1e15)
_COMPENSATION_EPS = _f4(1e-6)

# real spherical harmonics (without the Condon-Shortley phase), as polynomials of the unit direction
_SH0 = _f4(0.28209479177387814)
_SH1 = _f4(0.4886025119029199)
_SH2 = (_f4(1.0925484305920792), _f4(0.31539156525252005), _f4(0.5462742152960396))
_SH3 = (
    _f4(0.5900435899266435),
    _f4(2.890611442640554),
    _f4(0.4570457994644658),
    _f4(0.3731763325901154),
    _f4(1.445305721320277),
)
_THREE, _FOUR, _FIVE, _SIX, _EIGHT = _f4(3), _f4(4), _f4(5), _f4(6), _f4(8)

# fast maths without the assumption that there is no NaN and no inf
_FLAGS = {"contract", "nsz", "arcp", "reassoc", "afn"}


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _sh_basis(degree, x, y, z, basis):
    """Basis functions at the unit direction (x, y, z) into ``basis[0]`` [16]."""
    basis[0, 0] = _SH0
    if degree >= 1:
        basis[0, 1] = -_SH1 * y
        basis[0, 2] = _SH1 * z
        basis[0, 3] = -_SH1 * x
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        basis[0, 4] = _SH2[0] * x * y
        basis[0, 5] = -_SH2[0] * y * z
        basis[0, 6] = _SH2[1] * (_TWO * zz - xx - yy)
        basis[0, 7] = -_SH2[0] * x * z
        basis[0, 8] = _SH2[2] * (xx - yy)
        if degree >= 3:
            basis[0, 9] = -_SH3[0] * y * (_THREE * xx - yy)
            basis[0, 10] = _SH3[1] * x * y * z
            basis[0, 11] = -_SH3[2] * y * (_FOUR * zz - xx - yy)
            basis[0, 12] = _SH3[3] * z * (_TWO * zz - _THREE * xx - _THREE * yy)
            basis[0, 13] = -_SH3[2] * x * (_FOUR * zz - xx - yy)
            basis[0, 14] = _SH3[4] * z * (xx - yy)
            basis[0, 15] = -_SH3[0] * x * (xx - _THREE * yy)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _sh_gradients(degree, x, y, z, basis):
    """Derivatives of the basis polynomials by x, y, z into ``basis[1]``, ``basis[2]``, ``basis[3]`` [16]."""
    for axis in range(1, 4):
        for k in range(4):
            basis[axis, k] = _ZERO
    basis[2, 1] = -_SH1
    basis[3, 2] = _SH1
    basis[1, 3] = -_SH1
    if degree >= 2:
        basis[1, 4], basis[2, 4], basis[3, 4] = _SH2[0] * y, _SH2[0] * x, _ZERO
        basis[1, 5], basis[2, 5], basis[3, 5] = _ZERO, -_SH2[0] * z, -_SH2[0] * y
        basis[1, 6], basis[2, 6], basis[3, 6] = -_TWO * _SH2[1] * x, -_TWO * _SH2[1] * y, _FOUR * _SH2[1] * z
        basis[1, 7], basis[2, 7], basis[3, 7] = -_SH2[0] * z, _ZERO, -_SH2[0] * x
        basis[1, 8], basis[2, 8], basis[3, 8] = _TWO * _SH2[2] * x, -_TWO * _SH2[2] * y, _ZERO
    if degree >= 3:
        xx, yy, zz = x * x, y * y, z * z
        xy, xz, yz = x * y, x * z, y * z
        basis[1, 9], basis[2, 9], basis[3, 9] = -_SIX * _SH3[0] * xy, -_THREE * _SH3[0] * (xx - yy), _ZERO
        basis[1, 10], basis[2, 10], basis[3, 10] = _SH3[1] * yz, _SH3[1] * xz, _SH3[1] * xy
        basis[1, 11] = _TWO * _SH3[2] * xy
        basis[2, 11] = -_SH3[2] * (_FOUR * zz - xx - _THREE * yy)
        basis[3, 11] = -_EIGHT * _SH3[2] * yz
        basis[1, 12] = -_SIX * _SH3[3] * xz
        basis[2, 12] = -_SIX * _SH3[3] * yz
        basis[3, 12] = _SH3[3] * (_SIX * zz - _THREE * xx - _THREE * yy)
        basis[1, 13] = -_SH3[2] * (_FOUR * zz - _THREE * xx - yy)
        basis[2, 13] = _TWO * _SH3[2] * xy
        basis[3, 13] = -_EIGHT * _SH3[2] * xz
        basis[1, 14], basis[2, 14], basis[3, 14] = _TWO * _SH3[4] * xz, -_TWO * _SH3[4] * yz, _SH3[4] * (xx - yy)
        basis[1, 15], basis[2, 15], basis[3, 15] = -_THREE * _SH3[0] * (xx - yy), _SIX * _SH3[0] * xy, _ZERO


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _rotation(quats, i):
    """Rotation matrix of quaternion i (row by row), the unit quaternion, and one over its length."""
    w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    inverse_norm = _ONE / math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * inverse_norm, x * inverse_norm, y * inverse_norm, z * inverse_norm
    return (
        (_ONE - _TWO * (y * y + z * z), _TWO * (x * y - w * z), _TWO * (x * z + w * y)),
        (_TWO * (x * y + w * z), _ONE - _TWO * (x * x + z * z), _TWO * (y * z - w * x)),
        (_TWO * (x * z - w * y), _TWO * (y * z + w * x), _ONE - _TWO * (x * x + y * y)),
        (w, x, y, z),
        inverse_norm,
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _camera_point(view, means, i):
    """Mean i in camera axes."""
    a, b, c = means[i, 0], means[i, 1], means[i, 2]
    return (
        view[0, 0] * a + view[0, 1] * b + view[0, 2] * c + view[0, 3],
        view[1, 0] * a + view[1, 1] * b + view[1, 2] * c + view[1, 3],
        view[2, 0] * a + view[2, 1] * b + view[2, 2] * c + view[2, 3],
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _frustum(K, width, height):
    """Bounds of x/z and y/z (negative x, positive x, negative y, positive y) to which the Jacobian's centre is clamped."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    w, h = _f4(width), _f4(height)
    margin_x, margin_y = _CLAMP_MARGIN * w / fx, _CLAMP_MARGIN * h / fy
    return cx / fx + margin_x, (w - cx) / fx + margin_x, cy / fy + margin_y, (h - cy) / fy + margin_y


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _image_axes(view, K, bounds, x, y, z):
    """Jacobian times world-to-camera rotation (two rows), the non-zero entries of the Jacobian, and the clamped x/z, y/z."""
    fx, fy = K[0, 0], K[1, 1]
    inverse_z = _ONE / z
    u = min(bounds[1], max(-bounds[0], x * inverse_z))
    v = min(bounds[3], max(-bounds[2], y * inverse_z))
    j00, j02, j11, j12 = fx * inverse_z, -fx * u * inverse_z, fy * inverse_z, -fy * v * inverse_z
    return (
        (j00 * view[0, 0] + j02 * view[2, 0], j00 * view[0, 1] + j02 * view[2, 1], j00 * view[0, 2] + j02 * view[2, 2]),
        (j11 * view[1, 0] + j12 * view[2, 0], j11 * view[1, 1] + j12 * view[2, 1], j11 * view[1, 2] + j12 * view[2, 2]),
        (j00, j02, j11, j12),
        (u, v),
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _splat_axes(axes_x, axes_y, r0, r1, r2, s0, s1, s2):
    """Image-plane images (two rows of 3) of the Gaussian's three scaled axes; their Gram matrix is the 2D covariance."""
    rows = (
        (r0[0] * s0, r0[1] * s1, r0[2] * s2),
        (r1[0] * s0, r1[1] * s1, r1[2] * s2),
        (r2[0] * s0, r2[1] * s1, r2[2] * s2),
    )
    return (
        (
            axes_x[0] * rows[0][0] + axes_x[1] * rows[1][0] + axes_x[2] * rows[2][0],
            axes_x[0] * rows[0][1] + axes_x[1] * rows[1][1] + axes_x[2] * rows[2][1],
            axes_x[0] * rows[0][2] + axes_x[1] * rows[1][2] + axes_x[2] * rows[2][2],
        ),
        (
            axes_y[0] * rows[0][0] + axes_y[1] * rows[1][0] + axes_y[2] * rows[2][0],
            axes_y[0] * rows[0][1] + axes_y[1] * rows[1][1] + axes_y[2] * rows[2][1],
            axes_y[0] * rows[0][2] + axes_y[1] * rows[1][2] + axes_y[2] * rows[2][2],
        ),
        rows,
    )


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _determinants(bx, by, eps2d):
    """Determinant of the 2D covariance before and after ``eps2d``.

    By Lagrange's identity det(B B^T) = |bx x by|^2: no cancellation, unlike a c - b b on needles.
    """
    n0, n1, n2 = bx[1] * by[2] - bx[2] * by[1], bx[2] * by[0] - bx[0] * by[2], bx[0] * by[1] - bx[1] * by[0]
    bare = n0 * n0 + n1 * n1 + n2 * n2
    return bare, bare + eps2d * (_dot(bx, bx) + _dot(by, by) + eps2d)


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _project_chunk(
    chunk, means, quats, scales, opacities, colours, degree, view, centre, K, width, height, near, far, radius_clip, eps2d,
    antialiased, records, means2d, radii,):  # fmt: skip
    """One chunk of `project`."""
    n = means.shape[0]
    bounds = _frustum(K, width, height)
    image_width, image_height = _f4(width), _f4(height)
    basis = np.empty((1, 16), np.float32)
    for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
        radii[i, 0] = 0
        radii[i, 1] = 0
        means2d[i, 0] = _ZERO
        means2d[i, 1] = _ZERO
        for k in range(RECORD):
            records[i, k] = _ZERO

        x, y, z = _camera_point(view, means, i)
        # written so that NaN fails it
        if not ((z >= near) & (z <= far) & (z > _ZERO)):
            continue
        r0, r1, r2, _, _ = _rotation(quats, i)
        axes_x, axes_y, _, _ = _image_axes(view, K, bounds, x, y, z)
        bx, by, _ = _splat_axes(axes_x, axes_y, r0, r1, r2, scales[i, 0], scales[i, 1], scales[i, 2])
        bare, det = _determinants(bx, by, eps2d)
        opacity = opacities[i]
        if antialiased:
            opacity *= math.sqrt(bare / det)
        if not ((det > _ZERO) & (opacity >= _ALPHA_MIN)):
            continue
        var_x, var_y = _dot(bx, bx) + eps2d, _dot(by, by) + eps2d
        reach = min(_TWO * (math.log(opacity) + _LOG_255), _EXTENT_MAX)
        extent_x, extent_y = math.sqrt(reach * var_x), math.sqrt(reach * var_y)
        radius_x, radius_y = np.ceil(extent_x), np.ceil(extent_y)
        if (radius_x <= radius_clip) & (radius_y <= radius_clip):
            continue
        px, py = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
        if not (
            (px + radius_x > _ZERO)
            & (px - radius_x < image_width)
            & (py + radius_y > _ZERO)
            & (py - radius_y < image_height)
        ):
            continue
        conic_a, conic_b, conic_c = var_y / det, -_dot(bx, by) / det, var_x / det

        red, green, blue = _ZERO, _ZERO, _ZERO
        if degree == PLAIN_COLOURS:
            red, green, blue = colours[i, 0, 0], colours[i, 0, 1], colours[i, 0, 2]
        elif degree >= 0:
            if degree > 0:
                dx, dy, dz = means[i, 0] - centre[0], means[i, 1] - centre[1], means[i, 2] - centre[2]
                norm = math.sqrt(dx * dx + dy * dy + dz * dz)
                _sh_basis(degree, dx / norm, dy / norm, dz / norm, basis)
            else:
                basis[0, 0] = _SH0
            red, green, blue = _HALF, _HALF, _HALF
            for k in range((degree + 1) * (degree + 1)):
                red += basis[0, k] * colours[i, k, 0]
                green += basis[0, k] * colours[i, k, 1]
                blue += basis[0, k] * colours[i, k, 2]
            # a comparison, not max(): NaN must reach the test below
            red = _ZERO if red < _ZERO else red
            green = _ZERO if green < _ZERO else green
            blue = _ZERO if blue < _ZERO else blue

        size = abs(px) + abs(py) + extent_x + extent_y
        light = abs(red) + abs(green) + abs(blue)
        if not ((size < _HUGE) & (light < _HUGE) & (opacity < _HUGE) & (conic_a + abs(conic_b) + conic_c < _HUGE)):
            continue
        # clipped, since a float beyond int32 has no integer
        radii[i, 0] = np.int32(min(radius_x, _f4(1 << 30)))
        radii[i, 1] = np.int32(min(radius_y, _f4(1 << 30)))
        means2d[i, 0] = px
        means2d[i, 1] = py
        records[i, X] = px
        records[i, Y] = py
        records[i, QXX] = _HALF * _LOG2_E * conic_a
        records[i, QXY] = _LOG2_E * conic_b
        records[i, QYY] = _HALF * _LOG2_E * conic_c
        records[i, LOG2_OPACITY] = math.log2(opacity)
        records[i, RED] = red
        records[i, RED + 1] = green
        records[i, RED + 2] = blue
        records[i, DEPTH] = z
        records[i, EXTENT_X] = extent_x
        records[i, EXTENT_Y] = extent_y
        records[i, CONIC] = conic_a
        records[i, CONIC + 1] = conic_b
        records[i, CONIC + 2] = conic_c
        records[i, OPACITY] = opacity


@njit(parallel=True, fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def project(
    means, quats, scales, opacities, colours, degree, view, centre, K, width, height, near, far, radius_clip, eps2d,
    antialiased, records, means2d, radii,
):  # fmt: skip
    """Project all Gaussians into one camera.

    Inputs (float32): means [N, 3], quats [N, 4], scales [N, 3], opacities [N], colours [N, K, 3] (spherical harmonics of
    ``degree``, or colours for PLAIN_COLOURS, or anything for NO_COLOURS), view [4, 4], camera centre [3], K [3, 3].
    Outputs: records [N, 16], means2d [N, 2], radii int32 [N, 2]; all zero where the Gaussian is culled.
    """
    for chunk in prange((means.shape[0] + CHUNK - 1) // CHUNK):
        _project_chunk(
            chunk,
            means, quats, scales, opacities, colours, degree, view, centre, K, width, height, near, far, radius_clip, eps2d,
            antialiased, records, means2d, radii,)  # fmt: skip


@njit(fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def _project_chunk_backward(
    chunk,
    means, quats, scales, opacities, colours, degree, view, centre, K, width, height, eps2d, antialiased, records, radii,
    grad_records, grad_means2d, add, add_colours, grad_means, grad_quats, grad_scales, grad_opacities, grad_colours,
    grad_view,):  # fmt: skip
    """One chunk of `project_backward`."""
    n = means.shape[0]
    bands = colours.shape[1]
    used = (degree + 1) * (degree + 1) if degree >= 0 else 0
    bounds = _frustum(K, width, height)
    fx, fy = K[0, 0], K[1, 1]
    basis = np.empty((4, 16), np.float32)
    for k in range(15):
        grad_view[chunk, k] = _ZERO
    for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
        if not add:
            grad_opacities[i] = _ZERO
            for k in range(3):
                grad_means[i, k] = _ZERO
                grad_scales[i, k] = _ZERO
            for k in range(4):
                grad_quats[i, k] = _ZERO
        if (degree != NO_COLOURS) & (not add_colours):
            for k in range(bands):
                for c in range(3):
                    grad_colours[i, k, c] = _ZERO
        if radii[i, 0] == 0:
            continue

        # colour
        gm0, gm1, gm2 = _ZERO, _ZERO, _ZERO
        if degree == PLAIN_COLOURS:
            for c in range(3):
                grad_colours[i, 0, c] += grad_records[i, RED + c]
        elif degree >= 0:
            # no gradient through a channel clamped at 0
            red = grad_records[i, RED] if records[i, RED] > _ZERO else _ZERO
            green = grad_records[i, RED + 1] if records[i, RED + 1] > _ZERO else _ZERO
            blue = grad_records[i, RED + 2] if records[i, RED + 2] > _ZERO else _ZERO
            basis[0, 0] = _SH0
            if degree > 0:
                dx, dy, dz = means[i, 0] - centre[0], means[i, 1] - centre[1], means[i, 2] - centre[2]
                inverse_norm = _ONE / math.sqrt(dx * dx + dy * dy + dz * dz)
                dx, dy, dz = dx * inverse_norm, dy * inverse_norm, dz * inverse_norm
                _sh_basis(degree, dx, dy, dz, basis)
                _sh_gradients(degree, dx, dy, dz, basis)
                for k in range(1, used):
                    g = red * colours[i, k, 0] + green * colours[i, k, 1] + blue * colours[i, k, 2]
                    gm0 += g * basis[1, k]
                    gm1 += g * basis[2, k]
                    gm2 += g * basis[3, k]
                # through the normalisation of the direction
                along = gm0 * dx + gm1 * dy + gm2 * dz
                gm0 = (gm0 - along * dx) * inverse_norm
                gm1 = (gm1 - along * dy) * inverse_norm
                gm2 = (gm2 - along * dz) * inverse_norm
                grad_view[chunk, 12] -= gm0
                grad_view[chunk, 13] -= gm1
                grad_view[chunk, 14] -= gm2
            for k in range(used):
                grad_colours[i, k, 0] += basis[0, k] * red
                grad_colours[i, k, 1] += basis[0, k] * green
                grad_colours[i, k, 2] += basis[0, k] * blue

        # the forward once more
        x, y, z = _camera_point(view, means, i)
        r0, r1, r2, quat, inverse_norm = _rotation(quats, i)
        axes_x, axes_y, jacobian, clamped = _image_axes(view, K, bounds, x, y, z)
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
        bx, by, rows = _splat_axes(axes_x, axes_y, r0, r1, r2, s0, s1, s2)

        # inverse covariance -> covariance: -C G C; the record's b stands for two entries
        ca, cb, cc = records[i, CONIC], records[i, CONIC + 1], records[i, CONIC + 2]
        va, vb, vc = grad_records[i, CONIC], _HALF * grad_records[i, CONIC + 1], grad_records[i, CONIC + 2]
        p00, p01, p10, p11 = ca * va + cb * vb, ca * vb + cb * vc, cb * va + cc * vb, cb * vb + cc * vc
        k00, k01, k11 = -(p00 * ca + p01 * cb), -(p00 * cb + p01 * cc), -(p10 * cb + p11 * cc)

        grad_opacity = grad_records[i, OPACITY]
        if antialiased:
            bare, det = _determinants(bx, by, eps2d)
            compensation = math.sqrt(bare / det)
            g = _HALF * grad_opacity * opacities[i] / (compensation + _COMPENSATION_EPS)
            loss = _ONE - compensation * compensation
            k00 += g * (loss * ca - eps2d / det)
            k01 += g * loss * cb
            k11 += g * (loss * cc - eps2d / det)
            grad_opacity *= compensation
        grad_opacities[i] += grad_opacity

        # covariance = B B^T, B = axes . rows
        dx0, dx1, dx2 = (
            _TWO * (k00 * bx[0] + k01 * by[0]), _TWO * (k00 * bx[1] + k01 * by[1]), _TWO * (k00 * bx[2] + k01 * by[2])
        )  # fmt: skip
        dy0, dy1, dy2 = (
            _TWO * (k01 * bx[0] + k11 * by[0]), _TWO * (k01 * bx[1] + k11 * by[1]), _TWO * (k01 * bx[2] + k11 * by[2])
        )  # fmt: skip
        ex = (
            dx0 * rows[0][0] + dx1 * rows[0][1] + dx2 * rows[0][2],
            dx0 * rows[1][0] + dx1 * rows[1][1] + dx2 * rows[1][2],
            dx0 * rows[2][0] + dx1 * rows[2][1] + dx2 * rows[2][2],
        )
        ey = (
            dy0 * rows[0][0] + dy1 * rows[0][1] + dy2 * rows[0][2],
            dy0 * rows[1][0] + dy1 * rows[1][1] + dy2 * rows[1][2],
            dy0 * rows[2][0] + dy1 * rows[2][1] + dy2 * rows[2][2],
        )

        # axes = J . view rotation
        g00 = ex[0] * view[0, 0] + ex[1] * view[0, 1] + ex[2] * view[0, 2]
        g02 = ex[0] * view[2, 0] + ex[1] * view[2, 1] + ex[2] * view[2, 2]
        g11 = ey[0] * view[1, 0] + ey[1] * view[1, 1] + ey[2] * view[1, 2]
        g12 = ey[0] * view[2, 0] + ey[1] * view[2, 1] + ey[2] * view[2, 2]
        inverse_z = _ONE / z
        inverse_z2 = inverse_z * inverse_z
        gpx, gpy = grad_means2d[i, 0], grad_means2d[i, 1]
        gx, gy = fx * inverse_z * gpx, fy * inverse_z * gpy
        gz = -(fx * x * gpx + fy * y * gpy) * inverse_z2 - fx * inverse_z2 * g00 - fy * inverse_z2 * g11
        gz += grad_records[i, DEPTH]
        u, v = clamped
        # d J02 / d z counts once where x/z is clamped, twice where it is not
        gz += fx * u * inverse_z2 * g02 + fy * v * inverse_z2 * g12
        if (u > -bounds[0]) & (u < bounds[1]):
            gx -= fx * inverse_z2 * g02
            gz += fx * u * inverse_z2 * g02
        if (v > -bounds[2]) & (v < bounds[3]):
            gy -= fy * inverse_z2 * g12
            gz += fy * v * inverse_z2 * g12
        grad_means[i, 0] += gm0 + view[0, 0] * gx + view[1, 0] * gy + view[2, 0] * gz
        grad_means[i, 1] += gm1 + view[0, 1] * gx + view[1, 1] * gy + view[2, 1] * gz
        grad_means[i, 2] += gm2 + view[0, 2] * gx + view[1, 2] * gy + view[2, 2] * gz

        j00, j02, j11, j12 = jacobian
        for k in range(3):
            grad_view[chunk, k] += j00 * ex[k] + gx * means[i, k]
            grad_view[chunk, 4 + k] += j11 * ey[k] + gy * means[i, k]
            grad_view[chunk, 8 + k] += j02 * ex[k] + j12 * ey[k] + gz * means[i, k]
        grad_view[chunk, 3] += gx
        grad_view[chunk, 7] += gy
        grad_view[chunk, 11] += gz

        # rows = R . diag(scales)
        q00, q01, q02 = (
            axes_x[0] * dx0 + axes_y[0] * dy0,
            axes_x[0] * dx1 + axes_y[0] * dy1,
            axes_x[0] * dx2 + axes_y[0] * dy2,
        )
        q10, q11, q12 = (
            axes_x[1] * dx0 + axes_y[1] * dy0,
            axes_x[1] * dx1 + axes_y[1] * dy1,
            axes_x[1] * dx2 + axes_y[1] * dy2,
        )
        q20, q21, q22 = (
            axes_x[2] * dx0 + axes_y[2] * dy0,
            axes_x[2] * dx1 + axes_y[2] * dy1,
            axes_x[2] * dx2 + axes_y[2] * dy2,
        )
        grad_scales[i, 0] += r0[0] * q00 + r1[0] * q10 + r2[0] * q20
        grad_scales[i, 1] += r0[1] * q01 + r1[1] * q11 + r2[1] * q21
        grad_scales[i, 2] += r0[2] * q02 + r1[2] * q12 + r2[2] * q22
        q00, q10, q20 = q00 * s0, q10 * s0, q20 * s0
        q01, q11, q21 = q01 * s1, q11 * s1, q21 * s1
        q02, q12, q22 = q02 * s2, q12 * s2, q22 * s2
        w, a, b, c = quat
        gw = _TWO * (a * (q21 - q12) + b * (q02 - q20) + c * (q10 - q01))
        ga = _TWO * (-_TWO * a * (q11 + q22) + b * (q10 + q01) + c * (q20 + q02) + w * (q21 - q12))
        gb = _TWO * (a * (q10 + q01) - _TWO * b * (q00 + q22) + c * (q21 + q12) + w * (q02 - q20))
        gc = _TWO * (a * (q20 + q02) + b * (q21 + q12) - _TWO * c * (q00 + q11) + w * (q10 - q01))
        along = gw * w + ga * a + gb * b + gc * c
        grad_quats[i, 0] += (gw - along * w) * inverse_norm
        grad_quats[i, 1] += (ga - along * a) * inverse_norm
        grad_quats[i, 2] += (gb - along * b) * inverse_norm
        grad_quats[i, 3] += (gc - along * c) * inverse_norm


@njit(parallel=True, fastmath=_FLAGS, error_model="numpy", cache=True)
@no_type_check
def project_backward(
    means, quats, scales, opacities, colours, degree, view, centre, K, width, height, eps2d, antialiased, records, radii,
    grad_records, grad_means2d, add, add_colours, grad_means, grad_quats, grad_scales, grad_opacities, grad_colours,
    grad_view,
):  # fmt: skip
    """Gradients of the inputs of `project` from those of its records and means2d.

    ``add`` adds to what grad_means, grad_quats, grad_scales and grad_opacities hold (for the second camera and later)
    instead of overwriting; ``add_colours`` says the same of grad_colours. grad_view [chunks, 15] gets, per chunk of
    Gaussians, the gradient of the view matrix's upper three rows (row by row) and of the camera centre.
    """
    for chunk in prange((means.shape[0] + CHUNK - 1) // CHUNK):
        _project_chunk_backward(
            chunk,
            means, quats, scales, opacities, colours, degree, view, centre, K, width, height, eps2d, antialiased, records, radii,
            grad_records, grad_means2d, add, add_colours, grad_means, grad_quats, grad_scales, grad_opacities, grad_colours,
            grad_view,)  # fmt: skip
