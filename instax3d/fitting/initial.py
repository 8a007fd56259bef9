"""Closed-form initial placement: where landmarks are in space, and where the head must be to show them there."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.types import Cameras


@dataclass(frozen=True, eq=False)
class Placement:
    """A similarity: world = scale * rotation @ head + translation."""

    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]
    """World units."""
    scale: float
    """World units per meter."""


def triangulate(cameras: Cameras, pixels: Float[Tensor, "views n 2"], rounds: int = 8) -> Float[Tensor, "n 3"]:
    """World points seen in two views or more, by the direct linear transform with Cauchy weights against outliers.

    Hartley and Zisserman, Multiple View Geometry, 12.2; reweighted by the reprojection error of the previous round.

    Args:
        pixels: of the same points in every camera.
        rounds: of reweighting.
    """
    projection = (cameras.Ks @ cameras.viewmats[:, :3]).double()
    observed = pixels.double()
    # two equations a view: pixel * third row - first (second) row
    rows = observed[..., None] * projection[:, None, 2:] - projection[:, None, :2]
    weights = torch.ones_like(observed[..., 0])
    points = torch.zeros(observed.shape[1], 3, dtype=torch.float64)
    for _ in range(rounds):
        equations = (rows * weights[..., None, None]).permute(1, 0, 2, 3).flatten(1, 2)
        points = _least_squares(equations[..., :3], -equations[..., 3:])[..., 0]
        homogeneous = torch.cat([points, torch.ones_like(points[:, :1])], 1)
        image = torch.einsum("vij,nj->vni", projection, homogeneous)
        error = (image[..., :2] / image[..., 2:] - observed).norm(dim=-1)
        typical = error.median().clamp_min(1e-6)
        weights = 1 / image[..., 2].abs().clamp_min(1e-9) / (1 + (error / (2 * typical)) ** 2).sqrt()
    return points.float()


def similarity(source: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"], weights: Float[Tensor, "n"]) -> Placement:
    """The similarity that brings ``source`` closest to ``target`` by weighted least squares (Umeyama 1991)."""
    share = (weights / weights.sum())[:, None]
    center, goal = (share * source).sum(0), (share * target).sum(0)
    a, b = source - center, target - goal
    u, s, vt = torch.linalg.svd((share * b).T @ a)
    sign = torch.ones(3)
    sign[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    rotation = u @ torch.diag(sign) @ vt
    scale = float((s * sign).sum() / (share * a**2).sum())
    return Placement(rotation, goal - scale * rotation @ center, scale)


def place_in_space(
    points: Float[Tensor, "n 3"], weights: Float[Tensor, "n"], cameras: Cameras, pixels: Float[Tensor, "views n 2"]
) -> Placement:
    """Where a head must be for its points to appear at these pixels of two views or more.

    Args:
        points: of the head, meters.
        weights: of the points.
    """
    return similarity(points, triangulate(cameras, pixels), weights)


def place_in_view(
    points: Float[Tensor, "n 3"], camera: Cameras, pixels: Float[Tensor, "n 2"], units_per_meter: float = 1.0
) -> Placement:
    """Where a head of known size must be for its points to appear at these pixels of one camera.

    Weak perspective: the affine map from points to pixels is found by least squares and replaced by the closest scaled
    rotation.

    Args:
        points: of the head, meters.
        units_per_meter: of the world.
    """
    K, viewmat = camera.Ks[0], camera.viewmats[0]
    rays = (pixels - K[:2, 2]) / K.diagonal()[:2]
    center, goal = points.mean(0), rays.mean(0)
    affine = _least_squares((points - center).double(), (rays - goal).double()).float().T
    u, s, vt = torch.linalg.svd(affine, full_matrices=False)
    first_two = u @ vt
    rotation = torch.cat([first_two, torch.linalg.cross(first_two[0], first_two[1])[None]])
    depth = units_per_meter / s.mean()
    at_center = torch.cat([goal, torch.ones(1)]) * depth
    in_camera = at_center - units_per_meter * rotation @ center
    return Placement(viewmat[:3, :3].T @ rotation, viewmat[:3, :3].T @ (in_camera - viewmat[:3, 3]), units_per_meter)


def widest_angle(cameras: Cameras, pixels: Float[Tensor, "views 2"]) -> float:
    """The largest angle between two rays through one pixel of each view, degrees."""
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1)
    rays = torch.linalg.solve(cameras.Ks, homogeneous[..., None])
    world = torch.nn.functional.normalize((cameras.viewmats[:, :3, :3].transpose(1, 2) @ rays)[..., 0], dim=1)
    return float(torch.rad2deg((world @ world.T).clamp(-1, 1).min().acos()))


def _least_squares(
    system: Float[Tensor, "*batch m n"], right: Float[Tensor, "*batch m k"]
) -> Float[Tensor, "*batch n k"]:
    """By the normal equations. (``torch.linalg.lstsq`` does not always give the same bits.)"""
    solution: Tensor = torch.linalg.solve(system.mT @ system, system.mT @ right)
    return solution
