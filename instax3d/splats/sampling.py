"""Initial points for Gaussians: on the visual hull of the views, with spacing, and colors sampled from the views."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.ndimage import gaussian_filter, label
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from torch import Tensor
from torch.nn import functional

from instax3d.geometry.rotations import barycentric_samples
from instax3d.types import Cameras, Views


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Oriented points on a surface, in the world."""

    positions: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    """Unit vectors that point outwards."""

    def joined(self, other: "SurfacePoints") -> "SurfacePoints":
        """These points, then the other's."""
        return SurfacePoints(torch.cat([self.positions, other.positions]), torch.cat([self.normals, other.normals]))


def nearest_spacing(positions: Float[Tensor, "n 3"], neighbors: int = 3) -> Float[Tensor, "n"]:
    """Root mean square distance to the nearest ``neighbors`` (3DGS's initial size), in the units of ``positions``."""
    tree = cKDTree(positions.numpy())
    distances = tree.query(positions.numpy(), neighbors + 1, workers=-1)[0][:, 1:]
    return torch.from_numpy(np.sqrt((distances**2).mean(1)).astype(np.float32)).clamp_min(1e-7)


def sample_images(
    images: Float[Tensor, "views channels h w"], pixels: Float[Tensor, "views n 2"]
) -> Float[Tensor, "views channels n"]:
    """Bilinear samples at pixel positions (centers at +0.5); border pixels extend outwards."""
    size = torch.tensor([images.shape[3], images.shape[2]], dtype=pixels.dtype)
    grid = pixels / size * 2 - 1
    return functional.grid_sample(images, grid[:, None], align_corners=False, padding_mode="border")[:, :, 0]


def _inside(pixels: Float[Tensor, "views n 3"], cameras: Cameras) -> Bool[Tensor, "views n"]:
    """Whether each point is in the frame and in front of the camera."""
    x, y, depth = pixels.unbind(-1)
    return (depth > 0) & (x >= 0) & (x < cameras.width) & (y >= 0) & (y < cameras.height)


def visual_hull(views: Views, center: Float[Tensor, "3"], half: float, resolution: int = 96) -> Float[Tensor, "x y z"]:
    """Minimum alpha over the views with each cell of a cube in frame, in [0, 1]; 0 where there are none.

    Args:
        center: of the cube, in the world.
        half: half the cube's side, world units.
        resolution: cells along each side.
    """
    axis = torch.linspace(-half, half, resolution)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3) + center
    hull = torch.ones(len(grid))
    in_frame = torch.zeros(len(grid), dtype=torch.bool)
    for index in range(len(views)):
        camera = views.cameras[index]
        pixels = camera.project(grid)
        inside = _inside(pixels, camera)[0]
        alpha = sample_images(views.alpha[index : index + 1], pixels[..., :2])[0, 0]
        hull = torch.where(inside, torch.minimum(hull, alpha), hull)
        in_frame |= inside
    return torch.where(in_frame, hull, 0.0).reshape(resolution, resolution, resolution)


def hull_surface(
    views: Views,
    mesh_vertices: Float[Tensor, "vertices 3"],
    *,
    limit: int,
    generator: torch.Generator,
    resolution: int = 96,
) -> SurfacePoints:
    """Points on the visual hull of the views where there is no mesh (hair, clothes, shoulders).

    Args:
        limit: maximum number of points, drawn uniformly by area; there are none where no view looks.
        resolution: of the hull, cells along each side of its cube.
    """
    center = (mesh_vertices.amin(0) + mesh_vertices.amax(0)) / 2
    distance = (views.cameras.centers - center).norm(dim=1)
    focal = views.cameras.Ks[:, [0, 1], [0, 1]].amin(1)
    half = float((distance * max(views.cameras.width, views.cameras.height) / 2 / focal).max())
    hull = gaussian_filter(np.pad(visual_hull(views, center, half, resolution).numpy(), 1), 0.7)
    cell = 2 * half / (resolution - 1)
    hull = _parts_at(hull, ((mesh_vertices - center + half) / cell + 1).round().long().numpy())
    empty = SurfacePoints(torch.zeros(0, 3), torch.zeros(0, 3))
    if hull.max() <= 0.5:
        return empty
    corners, faces, _, _ = marching_cubes(hull, 0.5, gradient_direction="ascent")
    triangles = torch.from_numpy(corners[faces].astype(np.float32))
    triangles = (triangles - 1) * cell - half + center
    cross = torch.linalg.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    area = cross.norm(dim=1)
    to_mesh = torch.from_numpy(cKDTree(mesh_vertices.numpy()).query(triangles.mean(1).numpy(), workers=-1)[0]).float()
    visible = _inside(views.cameras.project(triangles.mean(1)), views.cameras).any(0)
    kept = (to_mesh > 1.5 * cell) & visible & (area > 0)
    if not kept.any():
        return empty
    triangles, cross, area = triangles[kept], cross[kept], area[kept]
    # The hull is known no finer than half a cell.
    count = min(limit, int(area.sum() / 2 / (0.5 * cell) ** 2))
    sampled = torch.multinomial(area, count, replacement=True, generator=generator)
    weights = barycentric_samples(count, 1, generator)
    positions = (triangles[sampled] * weights[..., None]).sum(1)
    normals = functional.normalize(cross[sampled], dim=-1)
    return SurfacePoints(positions, _outwards(normals, positions, hull, center, half, cell))


def _parts_at(hull: Float[ndarray, "x y z"], cells: Int[ndarray, "n 3"]) -> Float[ndarray, "x y z"]:
    """The hull without its connected parts that hold none of the cells: few views leave ghosts away from the head."""
    parts, _ = label(hull > 0.5)
    inside = cells[((cells >= 0) & (cells < hull.shape[0])).all(1)]
    kept = np.setdiff1d(parts[tuple(inside.T)], [0])
    return np.where(np.isin(parts, [0, *kept]), hull, 0.0)


def _outwards(
    normals: Float[Tensor, "n 3"],
    positions: Float[Tensor, "n 3"],
    hull: Float[ndarray, "x y z"],
    center: Float[Tensor, "3"],
    half: float,
    cell: float,
) -> Float[Tensor, "n 3"]:
    """The normals, flipped where needed to point to where the hull is emptier.

    ``hull`` is padded by one cell; ``cell`` and ``half``: its cells' and half its cube's side, world units.
    """

    def value(points: Tensor) -> Tensor:
        index = ((points - center + half) / cell + 1).round().long().clamp(0, hull.shape[0] - 1)
        return torch.from_numpy(hull)[index[:, 0], index[:, 1], index[:, 2]]

    inward = value(positions + 2 * cell * normals) > value(positions - 2 * cell * normals)
    return torch.where(inward[:, None], -normals, normals)


def colors_from_views(points: SurfacePoints, views: Views, fallback: float = 0.6) -> Float[Tensor, "n 3"]:
    """An initial color for each point, sRGB in [0, 1]: the mean over the views that it faces.

    Views are weighted by the fourth power of the cosine, squared alpha and confidence.

    Occlusion is ignored, as this is only a start. Points that no view faces become ``fallback`` gray.
    """
    total = torch.zeros(len(points.positions), 3)
    weight_sum = torch.zeros(len(points.positions), 1)
    for index in range(len(views)):
        camera = views.cameras[index]
        pixels = camera.project(points.positions)
        towards = functional.normalize(camera.centers - points.positions, dim=-1)
        cosine = (points.normals * towards).sum(-1).clamp_min(0)
        samples = torch.cat([views.images[index], views.alpha[index], views.confidence[index]])[None]
        color = sample_images(samples, pixels[..., :2])[0].T
        weight = (cosine**4 * color[:, 3] ** 2 * _inside(pixels, camera)[0] * color[:, 4])[:, None]
        total += weight * color[:, :3]
        weight_sum += weight
    return torch.where(weight_sum > 1e-4, total / weight_sum.clamp_min(1e-4), fallback).clamp(0, 1)
