"""Gaussians that lie flat on the mesh."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from instax3d.geometry.rotations import quat_to_matrix, triangle_frames
from instax3d.interfaces import Loss
from instax3d.types import Gaussians, HeadMesh, LossStep, Views

from .config import NormalsConfig

_SEARCH_EVERY = 50
"""Steps between searches for the nearest triangles of Gaussians that are bound to none."""


class Normals(Loss[NormalsConfig]):
    """``1 - |axis . normal|``, the mean over the Gaussians near the mesh.

    A Gaussian's shortest axis is taken for its normal, as in GaussianShader (Jiang et al., CVPR 2024) and SuGaR
    (Guédon and Lepetit, CVPR 2024). Its triangle is its binding (``splats["binding"]``), or else that of the fitted
    mesh with the nearest center, which is looked for anew whenever Gaussians were added or removed, and now and then.
    """

    def __init__(self, config: NormalsConfig) -> None:
        super().__init__(config)
        self._nearest: Tensor | None = None
        self._searched = 0

    def start(self, mesh: HeadMesh, views: Views, device: torch.device) -> None:
        """Compute the triangles' frames."""
        centers, rotations, _ = triangle_frames(mesh.vertices, mesh.faces)
        self._tree = cKDTree(centers.numpy())
        corners = mesh.vertices[mesh.faces]
        radii = (corners - centers[:, None]).norm(dim=2).amax(1)
        self._centers, self._normals = centers.to(device), rotations[:, :, 1].contiguous().to(device)
        self._reach, self._radii = self.config.reach * mesh.units_per_meter, radii.to(device)

    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        gaussians = step.gaussians
        triangles = step.splats["binding"] if "binding" in step.splats else self._found(gaussians, step.step)
        near = self._near(gaussians.means.detach(), triangles)
        if not near.any():
            return {}
        scales, quats = gaussians.scales.detach()[near], gaussians.quats[near]
        shortest = scales.argmin(1)[:, None, None].expand(-1, 3, 1)
        axes = quat_to_matrix(quats).gather(2, shortest)[..., 0]
        return {"normals": (1 - (axes * self._normals[triangles[near]]).sum(1).abs()).mean()}

    def _near(self, means: Float[Tensor, "n 3"], triangles: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Which Gaussians are within reach of their triangle: of its plane, and of the circle around it."""
        offsets = means - self._centers[triangles]
        heights = (offsets * self._normals[triangles]).sum(1).abs()
        beside: Tensor = offsets.norm(dim=1) <= self._radii[triangles] + self._reach
        return beside & (heights <= self._reach)

    def _found(self, gaussians: Gaussians, step: int) -> Int[Tensor, "n"]:
        """The triangles of the nearest centers."""
        known = self._nearest
        if known is None or len(known) != len(gaussians) or step >= self._searched + _SEARCH_EVERY:
            found = self._tree.query(gaussians.means.detach().cpu().numpy(), workers=-1)[1]
            known = self._nearest = torch.from_numpy(found).to(gaussians.means.device)
            self._searched = step
        return known

    def state_dict(self) -> dict[str, Any]:
        """The nearest triangles, and when they were looked for."""
        return {} if self._nearest is None else {"nearest": self._nearest, "searched": self._searched}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if state:
            self._nearest, self._searched = state["nearest"].to(self._centers.device), state["searched"]
