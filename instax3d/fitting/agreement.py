"""How well a head in the world agrees with what was seen, in face sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.headmodel import HeadModel
from instax3d.types import Views

from .landmarks import INNER
from .outline import SignedDistance, Silhouette
from .terms import on_head

STICKING_OUT = 0.02
"""Outline points farther outside than this count as sticking out, in face sizes (3 mm)."""
BARE_GAP = 0.03
"""A scalp is bare if nearly all of its outline lies this close to the person's, in face sizes (4 mm)."""
BARE_SHARE = 0.9


@dataclass(frozen=True)
class FitQuality:
    """Measures heads against one set of views."""

    model: HeadModel
    views: Views
    landmarks: Mapping[int, Float[Tensor, "68 2"]]
    """Those that are used, by view."""
    outlines: Mapping[int, SignedDistance]
    size: float
    """Of a face, in pixels."""

    def landmark_error(self, vertices: Float[Tensor, "vertices 3"]) -> float:
        """Mean distance of the landmarks of brows, nose, eyes and mouth, which are tied to the skin."""
        points = self.model.landmarks(vertices)[INNER]
        shown = self.views.cameras[list(self.landmarks)].project(points)[..., :2]
        seen = torch.stack([landmarks[INNER] for landmarks in self.landmarks.values()])
        return float((shown - seen).norm(dim=-1).mean()) / self.size

    def outside(self, vertices: Float[Tensor, "vertices 3"]) -> float:
        """The share of the head's outline that sticks out of the person's."""
        rim = Silhouette.of(vertices, self.model.faces, on_head(self.model), self.views.cameras, self.outlines)
        return _share(rim.distance < -STICKING_OUT * self.size)

    def has_bare_scalp(self, vertices: Float[Tensor, "vertices 3"]) -> bool:
        """Whether the person's outline follows the scalp everywhere."""
        rim = Silhouette.of(vertices, self.model.faces, self.model.regions["scalp"], self.views.cameras, self.outlines)
        return _share(rim.distance.abs() < BARE_GAP * self.size) > BARE_SHARE


def _share(chosen: Tensor) -> float:
    return float(chosen.float().mean()) if len(chosen) else 0.0
