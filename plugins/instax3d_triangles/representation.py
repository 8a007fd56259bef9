"""Residual triangle Gaussians: every Gaussian is the frame of its triangle plus a learned residual."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from instax3d.geometry import (
    barycentric_samples,
    matrix_to_quat,
    quat_multiply,
    rgb_to_sh,
    triangle_frames,
)
from instax3d.interfaces import Representation
from instax3d.sampling import SurfacePoints, colours_from_views, hull_surface, nearest_spacing
from instax3d.types import Gaussians, HeadMesh, Views

from .config import TrianglesConfig

# A start Gaussian reaches about to its neighbours and is thin along the normal, so that it lies on the surface.
_SPREAD, _THICKNESS = 0.75, 0.25


def bind(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    binding: Int[Tensor, "n"],
    means: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    scales: Float[Tensor, "n 3"],
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 4"], Float[Tensor, "n 3"]]:
    """Eq. 6: mu = s_tri R_tri dmu + mu_tri, R = R_tri dR, s = s_tri ds, for residuals of Gaussians tied to triangles.

    Args:
        binding: the triangle of each Gaussian.
        means, quats, scales: residuals dmu, dR (wxyz) and ds (positive), in the units of the triangle.
    """
    return TriangleFrames.of(vertices, faces, binding).place(means, quats, scales)


class TriangleFrames:
    """The triangle frame of each Gaussian."""

    def __init__(
        self,
        centres: Float[Tensor, "n 3"],
        rotations: Float[Tensor, "n 3 3"],
        quats: Float[Tensor, "n 4"],
        sizes: Float[Tensor, "n"],
    ) -> None:
        self.centres, self.quats, self.sizes = centres, quats, sizes[:, None]
        self.axes = sizes[:, None, None] * rotations

    @classmethod
    def of(
        cls, vertices: Float[Tensor, "vertices 3"], faces: Int[Tensor, "faces 3"], binding: Int[Tensor, "n"]
    ) -> "TriangleFrames":
        """Those of Gaussians tied to the triangles ``binding``."""
        centres, rotations, sizes = triangle_frames(vertices, faces)
        return cls(centres[binding], rotations[binding], matrix_to_quat(rotations)[binding], sizes[binding])

    def place(
        self, means: Float[Tensor, "n 3"], quats: Float[Tensor, "n 4"], scales: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 4"], Float[Tensor, "n 3"]]:
        """Residuals to the world."""
        world = torch.einsum("nij,nj->ni", self.axes, means) + self.centres
        return world, quat_multiply(self.quats, functional.normalize(quats, dim=-1)), self.sizes * scales


class TriangleGaussians(Representation[TrianglesConfig]):
    """The paper's representation (Sec. 3.3). ``splats`` holds residuals in local units, and besides gsplat's keys:

    ``binding`` [n] the triangle, ``anchors`` [n, 3] the start residual that the geometry constraint holds on to (the
    triangle's centre for points on the mesh), ``limits`` [n] the size that is free of it. Being entries of ``splats``
    without an optimizer, all three follow clones, splits and removals.

    Hair, clothes and shoulders, which a head mesh lacks, start as points on the visual hull of the views, tied to
    their nearest triangle with a large anchor (``hull_points``).
    """

    def __init__(self, config: TrianglesConfig) -> None:
        super().__init__(config)
        self.register_buffer("vertices", torch.zeros(0, 3))
        self.register_buffer("faces", torch.zeros(0, 3, dtype=torch.int64))
        self._rest: tuple[Tensor, TriangleFrames] | None = None

    def initialise(self, mesh: HeadMesh, views: Views, *, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.vertices, self.faces = mesh.vertices.clone(), mesh.faces.clone()
        on_mesh, binding = self._mesh_points(generator)
        points = on_mesh
        if self.config.hull_points:
            hull = hull_surface(views, mesh.vertices, limit=self.config.hull_points, generator=generator)
            points = on_mesh.joined(hull)
            binding = torch.cat([binding, self._nearest_faces(hull.positions)])
        colours = colours_from_views(points, views)
        self._set_splats(points, binding, len(on_mesh.positions), colours)

    def _mesh_points(self, generator: torch.Generator) -> tuple[SurfacePoints, Int[Tensor, "n"]]:
        count, per_face = len(self.faces), self.config.points_per_face
        weights = barycentric_samples(count, per_face, generator)
        binding = torch.arange(count).repeat_interleave(per_face)
        positions = (self.vertices[self.faces[binding]] * weights[..., None]).sum(1)
        normals = triangle_frames(self.vertices, self.faces)[1][:, :, 1]
        return SurfacePoints(positions, normals[binding]), binding

    def _nearest_faces(self, positions: Float[Tensor, "n 3"]) -> Int[Tensor, "n"]:
        from scipy.spatial import cKDTree

        centres = triangle_frames(self.vertices, self.faces)[0]
        return torch.from_numpy(cKDTree(centres.numpy()).query(positions.numpy(), workers=-1)[1])

    def _set_splats(
        self, points: SurfacePoints, binding: Int[Tensor, "n"], on_mesh: int, colours: Float[Tensor, "n 3"]
    ) -> None:
        centres, rotations, sizes = (part[binding] for part in triangle_frames(self.vertices, self.faces))
        sizes = sizes.clamp_min(1e-6)
        residual = torch.einsum("nji,nj->ni", rotations, points.positions - centres) / sizes[:, None]
        world = nearest_spacing(points.positions)[:, None] * _SPREAD * torch.tensor([1.0, _THICKNESS, 1.0])
        local_normals = torch.einsum("nji,nj->ni", rotations, points.normals)
        count, bands = len(binding), (self.config.sh_degree + 1) ** 2
        scales = world / sizes[:, None]
        anchors = residual.clone()
        anchors[:on_mesh] = 0.0
        parameters = {
            "means": residual,
            "quats": _from_y_axis(local_normals),
            "scales": scales.log(),
            "opacities": torch.full((count,), self.config.initial_opacity).logit(),
            "sh0": rgb_to_sh(colours)[:, None],
            "shN": torch.zeros(count, bands - 1, 3),
        }
        for name, value in parameters.items():
            self.splats[name] = nn.Parameter(value.contiguous())
        fixed = {
            "binding": binding,
            "anchors": anchors,
            "limits": scales.amax(1).clamp_min(self.config.scale_threshold),
        }
        for name, value in fixed.items():
            self.splats[name] = nn.Parameter(value, requires_grad=False)
        if bands == 1:
            self.splats["shN"].requires_grad_(False)
        self._rest = None

    def _frames(self) -> TriangleFrames:
        """Frames on the unmoved mesh, kept until the binding or the device changes."""
        binding = self.splats["binding"]
        if self._rest is None or self._rest[0] is not binding or self._rest[1].centres.device != binding.device:
            self._rest = binding, TriangleFrames.of(self.vertices, self.faces, binding)
        return self._rest[1]

    def gaussians(self, vertices: Float[Tensor, "vertices 3"] | None = None) -> Gaussians:
        splats = self.splats
        residuals = splats["means"], splats["quats"], splats["scales"].exp()
        if vertices is None:
            means, quats, scales = self._frames().place(*residuals)
        else:
            means, quats, scales = bind(vertices, self.faces, splats["binding"], *residuals)
        sh = torch.cat([splats["sh0"], splats["shN"]], 1) if splats["shN"].shape[1] else splats["sh0"]
        return Gaussians(means, quats, scales, splats["opacities"].sigmoid(), sh)

    def learning_rates(self) -> Mapping[str, float]:
        config = self.config
        rates = {
            "means": config.means_rate,
            "quats": config.quats_rate,
            "scales": config.scales_rate,
            "opacities": config.opacities_rate,
            "sh0": config.sh_rate,
            "shN": config.sh_rate / 20,
        }
        return {name: rate for name, rate in rates.items() if self.splats[name].requires_grad}

    def regularisation(self) -> Mapping[str, Float[Tensor, ""]]:
        """The geometry constraint: mean over Gaussians of the excess of |dmu - anchor| and of the largest ds."""
        splats, config = self.splats, self.config
        drift = (splats["means"] - splats["anchors"]).norm(dim=-1) - config.position_threshold
        excess = splats["scales"].amax(1).exp() - splats["limits"]
        return {
            "position": config.position_weight * drift.relu().mean(),
            "scale": config.scale_weight * excess.relu().mean(),
        }


def _from_y_axis(directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4"]:
    """Shortest rotations that take the y axis (a triangle frame's normal) to unit directions, as wxyz quaternions."""
    y = directions[:, 1]
    quats = torch.stack([1 + y, directions[:, 2], torch.zeros_like(y), -directions[:, 0]], -1)
    half_turn = torch.tensor([0.0, 1.0, 0.0, 0.0])
    return torch.where((y < -0.9999)[:, None], half_turn, functional.normalize(quats, dim=-1))
