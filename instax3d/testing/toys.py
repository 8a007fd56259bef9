"""Small data to test every contract with, in the project's world and units (meters)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from instax3d.types import Cameras, Face, Gaussians, HeadMesh, Photo, Views

_RADIUS = 0.1


def toy_cameras(count: int = 4, size: int = 32, distance: float = 0.6) -> Cameras:
    """Cameras on a circle of radius ``distance`` (meters) about the origin, the first in front (+z).

    In images of ``size`` x ``size`` pixels, a ball of 10 cm radius at the origin fills half the width.
    """
    viewmats, focal = [], 0.25 * size * distance / _RADIUS
    for index in range(count):
        angle = 2 * math.pi * index / count
        back = torch.tensor([math.sin(angle), 0.0, math.cos(angle)])
        down = torch.tensor([0.0, -1.0, 0.0])
        rotation = torch.stack([torch.linalg.cross(down, -back), down, -back])
        viewmat = torch.eye(4)
        viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ (distance * back)
        viewmats.append(viewmat)
    K = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    return Cameras(torch.stack(viewmats), K.repeat(count, 1, 1), size, size)


def _ball_colors(directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    return 0.5 + 0.4 * directions


def toy_gaussians(count: int = 40, seed: int = 0, sh_degree: int = 0) -> Gaussians:
    """Random Gaussians in a ball of 10 cm radius about the origin."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return Gaussians(
        means=functional.normalize(normal(count, 3), dim=-1) * _RADIUS * torch.rand(count, 1, generator=generator),
        quats=normal(count, 4),
        scales=0.02 * torch.exp(0.3 * normal(count, 3)),
        opacities=torch.sigmoid(normal(count)),
        sh=0.5 * normal(count, (sh_degree + 1) ** 2, 3),
    )


def toy_mesh(rings: int = 8, spokes: int = 12) -> HeadMesh:
    """A closed ball of 10 cm radius, faces counter-clockwise from outside, its first 68 vertices as landmarks.

    It has 2 + (``rings`` - 1) * ``spokes`` vertices.
    """
    rows = [torch.tensor([[0.0, 1.0, 0.0]])]
    for ring in range(1, rings):
        polar = torch.tensor(math.pi * ring / rings)
        turn = torch.arange(spokes) * 2 * math.pi / spokes
        rows.append(torch.stack([polar.sin() * turn.sin(), polar.cos().expand(spokes), polar.sin() * turn.cos()], 1))
    rows.append(torch.tensor([[0.0, -1.0, 0.0]]))
    vertices = torch.cat(rows) * _RADIUS
    last = len(vertices) - 1
    faces = []
    for spoke in range(spokes):
        right = (spoke + 1) % spokes
        faces.append([0, 1 + spoke, 1 + right])
        for ring in range(rings - 2):
            upper, lower = 1 + ring * spokes, 1 + (ring + 1) * spokes
            faces += [[upper + spoke, lower + spoke, lower + right], [upper + spoke, lower + right, upper + right]]
        faces.append([last, last - spokes + right, last - spokes + spoke])
    return HeadMesh(vertices, torch.tensor(faces), landmarks=vertices[:68].clone())


def toy_views(count: int = 4, size: int = 32) -> Views:
    """Exact images of a colored ball of 10 cm radius about the origin, on white, from `toy_cameras`."""
    cameras = toy_cameras(count, size)
    axis = torch.arange(size) + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    images, alphas = [], []
    for viewmat, K, center in zip(cameras.viewmats, cameras.Ks, cameras.centers):
        rays = functional.normalize(pixels @ torch.linalg.inv(K).T @ viewmat[:3, :3], dim=-1)
        along = rays @ center
        under_root = along**2 - (center @ center - _RADIUS**2)
        hit = under_root > 0
        points = center + (-along - under_root.clamp_min(0).sqrt())[:, None] * rays
        colors = torch.where(hit[:, None], _ball_colors(points / _RADIUS), 1.0)
        images.append(colors.T.reshape(3, size, size).clamp(0, 1))
        alphas.append(hit.float().reshape(1, size, size))
    alpha = torch.stack(alphas)
    return Views(torch.stack(images), alpha, cameras, torch.ones_like(alpha), photo_index=0)


def toy_photo() -> Photo:
    """A real face in 256 x 256 pixels: NASA's portrait of Eileen Collins that comes with scikit-image.

    Its landmarks are not those of the face: they lie on an ellipse around it.
    """
    from skimage.data import astronaut

    image = torch.from_numpy(astronaut()[:256, 96:352].copy()).permute(2, 0, 1).float() / 255
    angle = torch.linspace(0, 2 * math.pi, 69)[:68]
    landmarks = torch.stack([128 + 30 * angle.sin(), 110 + 40 * angle.cos()], 1)
    return Photo(image, None, Face((90.0, 65.0, 165.0, 150.0), 1.0, landmarks), name="toy")
