"""Weights of the 68 landmarks, and how those of the jaw slide."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from instax3d.geometry.landmarks68 import JAW
from instax3d.headmodel import HeadModel

SIGMA = 0.015
"""Standard deviation between a detector's landmark and the model's, in face sizes, at a group weight of 1."""
GROUP_WEIGHTS = torch.cat(
    [
        torch.full((17,), 0.45),  # jaw
        torch.full((10,), 0.7),  # brows: their hair moves, the model has none
        torch.full((9,), 1.2),  # nose
        torch.full((12,), 1.3),  # eyes
        torch.full((20,), 1.0),  # mouth
    ]
)
"""Relative precision of each landmark; see `SIGMA`."""
ALONG_JAW = 0.15
"""How much an error along the jaw line counts: detectors space these landmarks differently."""
_BAND = 0.03
"""Meters from the jaw's landmarks in which the silhouette that hides them is sought."""
_HIDDEN = 0.05
"""A jaw landmark whose normal meets the view at less than this cosine counts as hidden, and is sought on the
silhouette."""
_GRAZING = 0.2
"""Vertices whose normals meet the view at less than this cosine are near the silhouette."""
_REACH = 0.04
"""Meters that a hidden jaw landmark may slide over the skin."""


def face_size(landmarks: Float[Tensor, "68 2"]) -> float:
    """The longer side of the landmarks' box in pixels: the unit "face size" of errors and tolerances."""
    return float((landmarks.max(0).values - landmarks.min(0).values).max())


@dataclass(frozen=True, eq=False)
class Carriers:
    """Where on the mesh each landmark of one view is, and how its pixel error is weighted."""

    triangles: Int[Tensor, "68 3"]
    """Vertices of the triangle that carries it."""
    weights: Float[Tensor, "68 3"]
    """Barycentric."""
    whitening: Float[Tensor, "68 2 2"]
    """From pixels to standard deviations."""


class JawContour:
    """Finds what a detector takes for the jaw in a view: the jaw line, or the silhouette of the face that hides it."""

    def __init__(self, model: HeadModel) -> None:
        neutral = model(model.neutral())
        jaw = model.landmarks(neutral)[JAW]
        skin = model.regions["face"] | model.regions["neck"]
        near = torch.cdist(neutral, jaw).min(1).values < _BAND
        self._model = model
        self._candidates = torch.nonzero(skin & near)[:, 0]

    def carriers(
        self,
        vertices: Float[Tensor, "vertices 3"],
        normals: Float[Tensor, "vertices 3"],
        center: Float[Tensor, "3"],
        projected: Float[Tensor, "vertices 2"],
        detected: Float[Tensor, "68 2"],
        units_per_meter: float,
    ) -> Carriers:
        """Where the landmarks are in the view of a camera.

        Args:
            vertices: the current head in the world.
            normals: its unit normals.
            center: of the camera, in the world.
            projected: the vertices' pixels.
            detected: the landmarks, pixels.
            units_per_meter: of the world.
        """
        triangles, weights = self._model.landmark_faces.clone(), self._model.landmark_weights.clone()
        jaw = self._model.landmarks(vertices)[JAW]
        facing = (normals * functional.normalize(center - vertices, dim=1)).sum(1)
        hidden = (facing[triangles[JAW]] * weights[JAW]).sum(1) < _HIDDEN
        silhouette = self._candidates[facing[self._candidates].abs() < _GRAZING]
        for landmark in torch.nonzero(hidden)[:, 0].tolist():
            within = silhouette[(vertices[silhouette] - jaw[landmark]).norm(dim=1) < _REACH * units_per_meter]
            if len(within):
                nearest = within[(projected[within] - detected[landmark]).norm(dim=1).argmin()]
                triangles[landmark] = nearest
                weights[landmark] = torch.tensor([1.0, 0.0, 0.0])
        return Carriers(triangles, weights, _whitening(detected, hidden))


def _whitening(detected: Float[Tensor, "68 2"], hidden: Bool[Tensor, "17"]) -> Float[Tensor, "68 2 2"]:
    """Isotropic but for the jaw, where errors along its line count less."""
    matrices = torch.eye(2).repeat(68, 1, 1)
    jaw = detected[JAW]
    along = functional.normalize(torch.cat([jaw[1:2] - jaw[:1], jaw[2:] - jaw[:-2], jaw[-1:] - jaw[-2:-1]]), dim=1)
    across = torch.stack([-along[:, 1], along[:, 0]], 1)
    slack = torch.where(hidden, 0.0, ALONG_JAW)[:, None]
    matrices[JAW] = torch.stack([across, slack * along], 1)
    return matrices * (GROUP_WEIGHTS / (SIGMA * face_size(detected)))[:, None, None]
