"""Moves a portrait's Gaussians with the triangles of its head."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.errors import PortraitError
from instax3d.geometry.proximity import ProximityQuery
from instax3d.geometry.rotations import matrix_to_quat, quat_multiply, quat_to_matrix, triangle_frames
from instax3d.geometry.spherical_harmonics import rotate_sh
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.types import Gaussians, HeadMesh, Rig

Turn = Sequence[float]
"""Axis-angle of a joint: x, y, z, degrees."""
EYES = ("eye_left", "eye_right")


def nearest_faces(mesh: HeadMesh, positions: Float[Tensor, "n 3"]) -> Int[Tensor, "n"]:
    """The triangle nearest to each position: the binding of Gaussians that were made without one."""
    query = ProximityQuery(mesh.vertices.double().numpy(), mesh.faces.numpy())
    return torch.from_numpy(query.closest(positions.double().numpy())[2]).long()


NEAR, FAR = 1.0, 2.0
SPREAD = 0.5
LEVELS = 7

def follow(gaussians, binding, faces, before, after):
    changed = (before != after).any(1)
    if not bool(changed.any()):
        return gaussians
    rest, posed = (triangle_frames(v, faces) for v in (before, after))
    c0, c1 = rest[0], posed[0]
    turn = matrix_to_quat(posed[1] @ rest[1].transpose(1, 2))
    grow = (posed[2] / rest[2]).log()
    motion = torch.cat([c0, c1, turn, grow[:, None]], 1)
    local = motion[binding]
    away = (gaussians.means - c0[binding]).norm(dim=1)
    near = away / rest[2][binding]
    share = ((near - NEAR) / (FAR - NEAR)).clamp(0, 1)
    share = share * share * (3 - 2 * share)
    # per vertex
    n = len(before)
    flat = faces.flatten()
    area = torch.linalg.cross(before[faces[:, 1]] - before[faces[:, 0]], before[faces[:, 2]] - before[faces[:, 0]]).norm(dim=1)
    weight = torch.zeros(n).index_add(0, flat, area.repeat_interleave(3)).clamp_min(1e-20)
    mean = torch.zeros(n, 5).index_add(0, flat, (motion[:, 6:] * area[:, None]).repeat_interleave(3, 0)) / weight[:, None]
    field = torch.cat([before, after, mean], 1)
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = torch.unique(torch.cat([edges, edges.flip(1)]), dim=0).numpy()
    import scipy.sparse as sp, numpy as np
    step = sp.csr_matrix((np.ones(len(edges), np.float32), edges.T), shape=(n, n))
    step = (sp.diags_array(0.5 / np.maximum(step.sum(1), 1).ravel().astype(np.float32)) @ step + sp.eye_array(n, dtype=np.float32) * 0.5).tocsr()
    length = (before[edges[:, 0]] - before[edges[:, 1]]).norm(dim=1).mean()
    bary = 1.0 / 3
    level = (2 * torch.log2((SPREAD * away / length).clamp_min(1e-6)) + 1).clamp(0, LEVELS - 1)
    result = local.clone()
    smooth = torch.zeros_like(local)
    steps = 0
    for k in range(LEVELS):
        target = 2 ** k - 1 if k else 0
        while steps < target:
            field = torch.from_numpy(step @ field.numpy())
            steps += 1
        weight_k = (1 - (level - k).abs()).clamp_min(0)
        use = weight_k > 0
        smooth[use] += weight_k[use, None] * field[faces[binding[use]]].mean(1)
    blended = torch.where(share[:, None] > 0, local + share[:, None] * (smooth - local), local)
    c0, c1, turn, grow = blended.split([3, 3, 4, 1], 1)
    moved = changed[faces].any(1)[binding] | ((share > 0) & (c0 != c1).any(1))
    c0, c1, turn, grow = (x[moved] for x in (c0, c1, turn, grow))
    turn = torch.nn.functional.normalize(turn, dim=1); grow = grow.exp()
    R = quat_to_matrix(turn)
    means = grow * torch.einsum("nij,nj->ni", R, gaussians.means[moved] - c0) + c1

    def put(whole, part):
        out = whole.clone(); out[moved] = part; return out

    return Gaussians(put(gaussians.means, means), put(gaussians.quats, quat_multiply(turn, gaussians.quats[moved])),
        put(gaussians.scales, gaussians.scales[moved] * grow), gaussians.opacities,
        put(gaussians.sh, rotate_sh(gaussians.sh[moved], R)))
