"""Residual triangle Gaussians: every Gaussian is its triangle's frame plus a learned residual."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from instax3d.geometry.rotations import triangle_frames
from instax3d.splats.initialization.on_surface import SurfaceRepresentation, SurfaceStart, from_y_axis
from instax3d.types import Gaussians, HeadMesh

from .config import TrianglesConfig
from .placement import constraint, frames_of, place


class TriangleGaussians(SurfaceRepresentation[TrianglesConfig]):
    """The paper's representation (Sec. 3.3). ``splats`` holds residuals in local units, and besides gsplat's keys:

    ``binding`` [n] the triangle, ``anchors`` [n, 3] the residual to which the geometry constraint pulls, ``reaches``
    [n] the distance from it without a pull, ``limits`` [n] the size without shrinking. As entries of ``splats``
    without an optimizer, all four follow clones, splits, removals and relocations.

    Points on the mesh are anchored to the triangle's center. Hair, clothes and shoulders, which a head mesh lacks,
    start as points on the visual hull of the views, bound to the nearest triangle and anchored where they start.
    """

    fixed = frozenset({"binding", "anchors", "reaches", "limits"})

    def __init__(self, config: TrianglesConfig) -> None:
        super().__init__(config)
        self.register_buffer("vertices", torch.zeros(0, 3))
        self.register_buffer("faces", torch.zeros(0, 3, dtype=torch.int64))
        self.register_buffer("frames", torch.zeros(0, 0))

    def warmup(self) -> None:
        """Compile the kernels."""
        frames = frames_of(torch.eye(3), torch.tensor([[0, 1, 2]]))
        means, quats, scales = (torch.ones(1, k, requires_grad=True) for k in (3, 4, 3))
        terms = constraint(means, scales, torch.zeros(1, 3), torch.zeros(1), torch.zeros(1))
        outputs = [*place(frames, torch.zeros(1, dtype=torch.int64), means, quats, scales), *terms]
        torch.stack([output.sum() for output in outputs]).sum().backward()

    def init_geometry(self, start: SurfaceStart, mesh: HeadMesh) -> dict[str, Tensor]:
        self.vertices, self.faces = mesh.vertices.clone(), mesh.faces.clone()
        self.frames = frames_of(self.vertices, self.faces)
        config, points, on_mesh = self.config, start.points, len(start.faces)
        binding = torch.cat([start.faces, self._nearest_faces(points.positions[on_mesh:])])
        centers, rotations, sizes = (part[binding] for part in triangle_frames(self.vertices, self.faces))
        sizes = sizes.clamp_min(1e-6)[:, None]
        means = torch.einsum("nji,nj->ni", rotations, points.positions - centers) / sizes
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
        centers = triangle_frames(self.vertices, self.faces)[0]
        return torch.from_numpy(cKDTree(centers.numpy()).query(positions.numpy(), workers=-1)[1])

    def gaussians(self, vertices: Float[Tensor, "vertices 3"] | None = None) -> Gaussians:
        splats = self.splats
        frames = self.frames if vertices is None else frames_of(vertices, self.faces)
        residuals = splats["means"], splats["quats"], splats["scales"].exp()
        means, quats, scales = place(frames, splats["binding"], *residuals)
        return Gaussians(means, quats, scales, splats["opacities"].sigmoid(), self.harmonics())

    def means_rate(self) -> float:
        return self.config.means_rate

    def regularization(self) -> Mapping[str, Float[Tensor, ""]]:
        """The geometry constraint."""
        splats, config = self.splats, self.config
        position, scale = constraint(*(splats[name] for name in ("means", "scales", "anchors", "reaches", "limits")))
        return {"position": config.position_weight * position, "scale": config.scale_weight * scale}
