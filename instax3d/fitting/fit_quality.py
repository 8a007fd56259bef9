"""How well a head in the world fits the landmarks and outlines of views. Lengths are in face sizes (`face_size`)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from instax3d.geometry.landmarks68 import INNER
from instax3d.headmodel import HeadModel
from instax3d.types import Views

from .silhouette import SignedDistance, Silhouette
from .terms import on_head

STICKING_OUT = 0.02
"""Silhouette points farther outside the person than this count as sticking out, in face sizes (3 mm)."""
BARE_GAP = 0.03
"""A scalp is bare if nearly all of its silhouette lies this close to the person's outline, in face sizes (4 mm)."""
BARE_SHARE = 0.9
"""Share of the scalp's silhouette that is "nearly all" of it."""


@dataclass(frozen=True, eq=False)
class FitQuality:
    """Measures heads against one set of views."""

    model: HeadModel
    views: Views
    landmarks: Mapping[int, Float[Tensor, "68 2"]]
    """Detected, by view; only those that the fit uses. Pixels."""
    outlines: Mapping[int, SignedDistance]
    """The person's, by view."""
    size: float
    """Of a face, in pixels."""

    def landmark_error(self, vertices: Float[Tensor, "vertices 3"]) -> float:
        """Mean distance of the landmarks of brows, nose, eyes and mouth (`INNER`)."""
        points = self.model.landmarks(vertices)[INNER]
        projected = self.views.cameras[list(self.landmarks)].project(points)[..., :2]
        detected = torch.stack([landmarks[INNER] for landmarks in self.landmarks.values()])
        return float((projected - detected).norm(dim=-1).mean()) / self.size

    def outside(self, vertices: Float[Tensor, "vertices 3"]) -> float:
        """The share of the head's silhouette that sticks out of the person, in [0, 1]."""
        silhouette = self._silhouette(vertices, on_head(self.model))
        return _share(silhouette.distance < -STICKING_OUT * self.size)

    def has_bare_scalp(self, vertices: Float[Tensor, "vertices 3"]) -> bool:
        """Whether the person's outline follows the scalp everywhere."""
        silhouette = self._silhouette(vertices, self.model.regions["scalp"])
        return _share(silhouette.distance.abs() < BARE_GAP * self.size) > BARE_SHARE

    def _silhouette(self, vertices: Float[Tensor, "vertices 3"], eligible: Bool[Tensor, "vertices"]) -> Silhouette:
        return Silhouette.of(vertices, self.model.faces, eligible, self.views.cameras, self.outlines)


def _share(mask: Bool[Tensor, "n"]) -> float:
    return float(mask.float().mean()) if len(mask) else 0.0
