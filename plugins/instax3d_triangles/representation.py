"""Residual triangle Gaussians: every Gaussian is the frame of its triangle plus a learned residual."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from instax3d.geometry import matrix_to_quat, quat_multiply, triangle_frames
from instax3d.start.surface import SurfaceRepresentation, SurfaceStart, from_y_axis
from instax3d.types import Gaussians, HeadMesh

from .config import TrianglesConfig


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


class TriangleGaussians(SurfaceRepresentation[TrianglesConfig]):
    """The paper's representation (Sec. 3.3). ``splats`` holds residuals in local units, and besides gsplat's keys:

    ``binding`` [n] the triangle, ``anchors`` [n, 3] the residual that the geometry constraint holds on to, ``reaches``
    [n] how far from it is free of the constraint, ``limits`` [n] the size that is. Being entries of ``splats`` without
    an optimizer, all four follow clones, splits, removals and relocations.

    Points on the mesh are anchored to the triangle's centre. Hair, clothes and shoulders, which a head mesh lacks,
    start as points on the visual hull of the views, tied to their nearest triangle and anchored where they start.
    """

    fixed = frozenset({"binding", "anchors", "reaches", "limits"})

    def __init__(self, config: TrianglesConfig) -> None:
        super().__init__(config)
        self.register_buffer("vertices", torch.zeros(0, 3))
        self.register_buffer("faces", torch.zeros(0, 3, dtype=torch.int64))
        self._rest: tuple[Tensor, TriangleFrames] | None = None

    def placed(self, start: SurfaceStart, mesh: HeadMesh) -> dict[str, Tensor]:
        self.vertices, self.faces = mesh.vertices.clone(), mesh.faces.clone()
        self._rest = None
        config, points, on_mesh = self.config, start.points, len(start.faces)
        binding = torch.cat([start.faces, self._nearest_faces(points.positions[on_mesh:])])
        centres, rotations, sizes = (part[binding] for part in triangle_frames(self.vertices, self.faces))
        sizes = sizes.clamp_min(1e-6)[:, None]
        means = torch.einsum("nji,nj->ni", rotations, points.positions - centres) / sizes
        scales = start.scales / sizes
        anchors, reaches = means.clone(), torch.full((len(means),), config.position_threshold)
        anchors[:on_mesh] = 0.0
        if not config.hold_hull:
            reaches[on_mesh:] = torch.inf
        return {
            "means": means,
            "quats": from_y_axis(torch.einsum("nji,nj->ni", rotations, points.normals)),
            "scales": scales.log(),
            "binding": binding,
            "anchors": anchors,
            "reaches": reaches,
            "limits": scales.amax(1).clamp_min(config.scale_threshold),
        }

    def _nearest_faces(self, positions: Float[Tensor, "n 3"]) -> Int[Tensor, "n"]:
        centres = triangle_frames(self.vertices, self.faces)[0]
        return torch.from_numpy(cKDTree(centres.numpy()).query(positions.numpy(), workers=-1)[1])

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
        return Gaussians(means, quats, scales, splats["opacities"].sigmoid(), self.harmonics())

    def means_rate(self) -> float:
        return self.config.means_rate

    def regularisation(self) -> Mapping[str, Float[Tensor, ""]]:
        """The geometry constraint: mean over Gaussians of the excess of |dmu - anchor| and of the largest ds."""
        splats, config = self.splats, self.config
        drift = (splats["means"] - splats["anchors"]).norm(dim=-1) - splats["reaches"]
        excess = splats["scales"].amax(1).exp() - splats["limits"]
        return {
            "position": config.position_weight * drift.relu().mean(),
            "scale": config.scale_weight * excess.relu().mean(),
        }
