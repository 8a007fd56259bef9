"""Initializes Gaussians on the fitted mesh and, where there is none, on the visual hull of the views."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from instax3d.geometry.rotations import barycentric_samples, rgb_to_sh, triangle_frames
from instax3d.interfaces import Representation
from instax3d.splats.sampling import SurfacePoints, colors_from_views, hull_surface, nearest_spacing
from instax3d.types import HeadMesh, Views

from .options import InitOptions

C = TypeVar("C", bound=InitOptions)

_SPREAD, _THICKNESS = 0.75, 0.25
"""Standard deviation of an initial Gaussian in distances to its neighbors, and along the normal relative to that: it
reaches about to its neighbors and lies flat on the surface."""
_GRAY = 0.5


@dataclass(frozen=True, eq=False)
class SurfaceStart:
    """Initial Gaussians, in the world."""

    points: SurfacePoints
    faces: Int[Tensor, "on_mesh"]
    """The triangle of each point on the mesh; these come first, points on the hull follow."""
    scales: Float[Tensor, "n 3"]
    """Standard deviations; the middle one is along the normal."""


def init_on_surface(
    mesh: HeadMesh, views: Views, *, points_per_face: int, hull_points: int, generator: torch.Generator
) -> SurfaceStart:
    """``points_per_face`` uniform random points on each triangle, and at most ``hull_points`` on the visual hull where
    there is no mesh; on all of the hull if there are none on the mesh.

    Raises:
        ValueError: there are no points at all.
    """
    faces = torch.arange(len(mesh.faces)).repeat_interleave(points_per_face)
    weights = barycentric_samples(len(mesh.faces), points_per_face, generator)
    positions = (mesh.vertices[mesh.faces[faces]] * weights[..., None]).sum(1)
    points = SurfacePoints(positions, triangle_frames(mesh.vertices, mesh.faces)[1][:, :, 1][faces])
    if hull_points:
        reach = mesh.vertices if points_per_face else mesh.vertices.mean(0, keepdim=True)
        points = points.joined(hull_surface(views, reach, limit=hull_points, generator=generator))
    if not len(points.positions):
        raise ValueError("there are no initial Gaussians: points_per_face and hull_points give none; raise one of them")
    spread = nearest_spacing(points.positions)[:, None] * _SPREAD
    return SurfaceStart(points, faces, spread * torch.tensor([1.0, _THICKNESS, 1.0]))


def from_y_axis(directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4"]:
    """Shortest rotations (wxyz) of the y axis, along which an initial Gaussian is thin, to unit directions."""
    y = directions[:, 1]
    quats = torch.stack([1 + y, directions[:, 2], torch.zeros_like(y), -directions[:, 0]], -1)
    half_turn = torch.tensor([0.0, 1.0, 0.0, 0.0])
    return torch.where((y < -0.9999)[:, None], half_turn, functional.normalize(quats, dim=-1))


class SurfaceRepresentation(Representation[C]):
    """A representation that is initialized on the surface and has gsplat's parameters, in units of its own."""

    def initialize(self, mesh: HeadMesh, views: Views, *, seed: int) -> None:
        """Fill ``splats`` with Gaussians on the mesh and the visual hull.

        Raises:
            ValueError: the options give no points at all.
        """
        config = self.config
        generator = torch.Generator().manual_seed(seed)
        start = init_on_surface(
            mesh, views, points_per_face=config.points_per_face, hull_points=config.hull_points, generator=generator
        )
        count, bands = len(start.scales), (config.sh_degree + 1) ** 2
        gray = torch.full((count, 3), _GRAY)
        colors = colors_from_views(start.points, views) if config.colors_from_views else gray
        appearance = {
            "opacities": torch.full((count,), config.initial_opacity).logit(),
            "sh0": rgb_to_sh(colors)[:, None],
            "shN": torch.zeros(count, bands - 1, 3),
        }
        for name, value in (self.init_geometry(start, mesh) | appearance).items():
            trained = value.is_floating_point() and value.numel() > 0 and name not in self.fixed
            self.splats[name] = nn.Parameter(value.contiguous(), requires_grad=trained)

    fixed: frozenset[str] = frozenset()
    """Entries of ``splats`` that are not trained but follow clones, splits and removals."""

    @abc.abstractmethod
    def init_geometry(self, start: SurfaceStart, mesh: HeadMesh) -> dict[str, Tensor]:
        """``means``, ``quats`` and ``scales`` (logarithms) in the representation's units, and its own entries."""

    @abc.abstractmethod
    def means_rate(self) -> float:
        """Adam's initial learning rate of the means, in their units."""

    def harmonics(self) -> Float[Tensor, "n bands 3"]:
        """The spherical harmonics of `Gaussians`."""
        splats = self.splats
        return torch.cat([splats["sh0"], splats["shN"]], 1) if splats["shN"].shape[1] else splats["sh0"]

    def learning_rates(self) -> Mapping[str, float]:
        """Adam's initial learning rates of the trained entries of ``splats``."""
        config = self.config
        rates = {
            "means": self.means_rate(),
            "quats": config.quats_rate,
            "scales": config.scales_rate,
            "opacities": config.opacities_rate,
            "sh0": config.sh_rate,
            "shN": config.sh_rate / 20,
        }
        return {name: rate for name, rate in rates.items() if self.splats[name].requires_grad}
