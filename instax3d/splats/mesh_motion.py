"""Gaussians that move with the triangles of a mesh: near it exactly by Eq. 6 of the paper, smoothly away from it."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array, eye_array
from torch import Tensor
from torch.nn import functional

from instax3d.geometry.mesh import unique_edges
from instax3d.geometry.proximity import ProximityQuery
from instax3d.geometry.rotations import matrix_to_quat, quat_multiply, quat_to_matrix, triangle_frames
from instax3d.geometry.spherical_harmonics import rotate_sh
from instax3d.types import Gaussians

_NEAR, _FAR = 1.0, 2.0
"""Distances from the triangle's center, in the scale of its frame (see `triangle_frames`), up to which a Gaussian moves
with its triangle alone, and from which on with the smoothed motion alone. Within 1 the geometry constraint of
`triangles` holds what starts on the mesh."""
_SPREAD = 0.5
"""Standard deviation of the smoothing in distances from the mesh."""
_LEVELS = 7
"""Each but the first smooths with twice the variance of the one before; the last over about six edges."""


def nearest_faces(
    vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], positions: Float[Tensor, "n 3"]
) -> Int[Tensor, "n"]:
    """The triangle nearest to each position: the binding of Gaussians that were made without one."""
    query = ProximityQuery(vertices.double().numpy(), faces.numpy())
    return torch.from_numpy(query.closest(positions.double().numpy())[2]).long()


def move_with_mesh(
    gaussians: Gaussians,
    binding: Int[Tensor, "n"],
    faces: Int[Tensor, "faces 3"],
    before: Float[Tensor, "vertices 3"],
    after: Float[Tensor, "vertices 3"],
) -> Gaussians:
    """Gaussians moved with their triangles, as a mesh moves from ``before`` to ``after``.

    Each is turned, scaled and shifted from the frame of its triangle to that frame's new place, its spherical
    harmonics turned as well. Neighboring triangles turn differently, which would tear apart what stands far from
    them (hair, clothes): that moves with the motion averaged over the mesh as far around as it stands away. What is
    bound to triangles that do not move keeps its bits.

    Args:
        binding: the triangle of each Gaussian.
    """
    changed = (before != after).any(1)
    if not bool(changed.any()):
        return gaussians
    motion = _motion_of_triangles(faces, before, after)
    own = motion[binding]
    away = (gaussians.means - own[:, :3]).norm(dim=1)
    sizes = _positive(triangle_frames(before, faces)[2])[binding]
    share = _smoothstep((away / sizes - _NEAR) / (_FAR - _NEAR))
    far = share > 0
    smooth = _smoothed(motion, faces, before, after, binding[far], away[far])
    own[far] += share[far, None] * (smooth - own[far])
    moved = changed[faces].any(1)[binding]
    origin, target, quats, growth = own[moved].split([3, 3, 4, 1], 1)
    quats, growth = functional.normalize(quats, dim=1), growth.exp()
    turn = quat_to_matrix(quats)
    means = growth * torch.einsum("nij,nj->ni", turn, gaussians.means[moved] - origin) + target
    return Gaussians(
        _replaced(gaussians.means, moved, means),
        _replaced(gaussians.quats, moved, quat_multiply(quats, gaussians.quats[moved])),
        _replaced(gaussians.scales, moved, gaussians.scales[moved] * growth),
        gaussians.opacities,
        _replaced(gaussians.sh, moved, rotate_sh(gaussians.sh[moved], turn)),
    )


def _motion_of_triangles(
    faces: Int[Tensor, "faces 3"], before: Float[Tensor, "vertices 3"], after: Float[Tensor, "vertices 3"]
) -> Float[Tensor, "faces 11"]:
    """Center before and after, turn as a quaternion, and logarithm of the growth of each triangle."""
    (origin, here, size), (target, there, larger) = (triangle_frames(vertices, faces) for vertices in (before, after))
    growth = (_positive(larger) / _positive(size)).log()
    quats = matrix_to_quat(there @ here.transpose(1, 2))
    # of each quaternion and its negative, which mean the same, the one nearer to the others', so that they average
    mean = torch.linalg.eigh(quats.T @ quats)[1][:, -1]
    quats = torch.where((quats @ mean < 0)[:, None], -quats, quats)
    return torch.cat([origin, target, quats, growth[:, None]], 1)


def _smoothed(
    motion: Float[Tensor, "faces 11"],
    faces: Int[Tensor, "faces 3"],
    before: Float[Tensor, "vertices 3"],
    after: Float[Tensor, "vertices 3"],
    binding: Int[Tensor, "n"],
    away: Float[Tensor, "n"],
) -> Float[Tensor, "n 11"]:
    """The motion around each triangle of ``binding``, averaged as far along the mesh as ``away`` says.

    The average of frames (of centers, quaternions, logarithms of growth) is a frame again: nothing shears.
    """
    corners = before[faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    corner = (faces.flatten().numpy(), np.arange(3 * len(faces)) // 3)
    around = coo_array((areas.repeat_interleave(3).numpy(), corner), shape=(len(before), len(faces))).tocsr()
    turns = around @ motion[:, 6:].numpy() / np.maximum(around.sum(1), 1e-20)[:, None]
    field = np.concatenate([before.numpy(), after.numpy(), turns], 1).astype(np.float32)
    step, length = _averaging(faces, before)
    # a step adds half the variance of the edges' lengths
    level = (2 * (_SPREAD * away / length).clamp_min(1e-6).log2() + 1).clamp(0, _LEVELS - 1)
    result = motion.new_zeros(len(binding), motion.shape[1])
    for number in range(_LEVELS):
        weight = (1 - (level - number).abs()).clamp_min(0)
        used = weight > 0
        at_corners = torch.from_numpy(field)[faces[binding[used]]]
        result[used] += weight[used, None] * at_corners.mean(1)
        if number + 1 < _LEVELS:
            for _ in range(2**number):  # 1, 3, 7, … steps in all
                field = step @ field
    return result


def _averaging(faces: Int[Tensor, "faces 3"], vertices: Float[Tensor, "vertices 3"]) -> tuple[csr_array, float]:
    """The matrix that takes each vertex halfway to the mean of its neighbors, and the mean length of an edge."""
    edges, _ = unique_edges(faces.numpy())
    both, count = np.concatenate([edges, edges[:, ::-1]]), len(vertices)
    degree = np.bincount(both[:, 0], minlength=count)
    shares = (0.5 / degree[both[:, 0]]).astype(np.float32)
    neighbors = coo_array((shares, both.T), shape=(count, count))
    stay = eye_array(count, dtype=np.float32) * 0.5
    length = float((vertices[edges[:, 0]] - vertices[edges[:, 1]]).norm(dim=1).mean())
    return (neighbors + stay).tocsr(), length


def _positive(sizes: Float[Tensor, "faces"]) -> Float[Tensor, "faces"]:
    """Sizes of triangles that can be divided by, also where triangles are degenerate."""
    return sizes.clamp_min(max(1e-3 * float(sizes.mean()), 1e-12))


def _smoothstep(t: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def _replaced(whole: Tensor, where: Tensor, part: Tensor) -> Tensor:
    result = whole.clone()
    result[where] = part
    return result
