"""What the unknowns are compared with: landmarks and outlines."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instax3d.geometry.mesh import vertex_normals
from instax3d.headmodel import HeadModel
from instax3d.types import Cameras

from .landmarks import JawContour
from .outline import RIM_POINTS, SignedDistance, Silhouette
from .solver import soft_l1

LANDMARK_THRESHOLD = 2.0
"""Standard deviations beyond which a landmark's error counts linearly."""
OUTLINE_SIGMA = 0.015
"""Of an outline point, in face sizes."""
OUTLINE_THRESHOLD = 1.5
"""Standard deviations beyond which an outline point's distance counts linearly."""
OUTLINE_REACH = 0.15
"""A bare head is not pulled to an outline farther away, in face sizes: it is that of something else, or unknown."""
OUTLINE_VIEWS = 8.0
"""More outlines than this share their weight."""
PROFILE = [*range(6, 11), *range(27, 36), *range(48, 60)]
"""Landmarks of chin, nose and lips."""
PROFILE_REACH = 0.015
"""Meters around them in which nothing covers the outline."""


@dataclass(frozen=True)
class Correspondences:
    """Points on the head that are seen in some view each, and what to make of where they are seen."""

    triangles: Int[Tensor, "n 3"]
    """Vertices of the triangle that carries each point."""
    weights: Float[Tensor, "n 3"]
    """Barycentric."""
    view: Int[Tensor, "n"]
    compare: Callable[[Float[Tensor, "n 2"]], Float[Tensor, "residuals"]]
    """From the points' pixels to weighted residuals. Differentiable."""


class LandmarkTerm:
    """The detected landmarks of some views, which together count as ``weight`` views: a detector errs alike in all."""

    def __init__(
        self,
        model: HeadModel,
        landmarks: Mapping[int, Float[Tensor, "68 2"]],
        confidence: Float[Tensor, "views"],
        *,
        weight: float,
    ) -> None:
        self._jaw, self._faces = JawContour(model), model.faces.numpy()
        self._views = torch.tensor(sorted(landmarks))
        self._seen = torch.stack([landmarks[view] for view in self._views.tolist()])
        self._confidence = confidence[self._views] * math.sqrt(weight / len(landmarks))

    def find_correspondences(
        self, vertices: Float[Tensor, "vertices 3"], cameras: Cameras, units_per_meter: float
    ) -> Correspondences:
        """Find the landmarks on the current head."""
        normals = torch.from_numpy(vertex_normals(vertices.double().numpy(), self._faces)).float()
        chosen = cameras[self._views]
        carriers = [
            self._jaw.carriers(vertices, normals, center, projected[:, :2], seen, units_per_meter)
            for center, projected, seen in zip(chosen.centers, chosen.project(vertices), self._seen, strict=True)
        ]
        triangles = torch.cat([c.triangles for c in carriers])
        weights = torch.cat([c.weights for c in carriers])
        whitening = torch.cat(
            [c.whitening * confidence for c, confidence in zip(carriers, self._confidence, strict=True)]
        )
        view = self._views.repeat_interleave(68)
        seen = self._seen.flatten(0, 1)

        def compare(pixels: Tensor) -> Tensor:
            return soft_l1((whitening @ (pixels - seen)[..., None])[..., 0], LANDMARK_THRESHOLD).flatten()

        return Correspondences(triangles, weights, view, compare)


class OutlineTerm:
    """The person's outline in some views: the head must not stick out, and must meet it where it is bare."""

    def __init__(
        self,
        model: HeadModel,
        outlines: Mapping[int, SignedDistance],
        confidence: Float[Tensor, "views"],
        size: float,
        *,
        bald: bool,
    ) -> None:
        neutral = model(model.neutral())
        self._counts = on_head(model)
        profile = torch.cdist(neutral, model.landmarks(neutral)[PROFILE]).min(1).values < PROFILE_REACH
        self._bare = torch.ones_like(profile) if bald else profile
        self._faces, self._outlines, self._reach = model.faces, outlines, OUTLINE_REACH * size
        self._weight = confidence * math.sqrt(min(1.0, OUTLINE_VIEWS / len(outlines))) / (OUTLINE_SIGMA * size)

    def find_correspondences(self, vertices: Float[Tensor, "vertices 3"], cameras: Cameras) -> Correspondences:
        """Find the outline of the current head and the person's outline next to it."""
        rim = Silhouette.of(vertices, self._faces, self._counts, cameras, self._outlines)
        points = torch.bincount(rim.view, minlength=len(cameras))
        weight = (self._weight * (RIM_POINTS / points.clamp_min(RIM_POINTS)).sqrt())[rim.view]
        bare = self._bare[rim.triangles].all(1)

        def compare(pixels: Tensor) -> Tensor:
            inside = rim.distance + ((pixels - rim.pixels) * rim.inwards).sum(1)
            gap = torch.where(bare & (rim.distance < self._reach), inside, inside.clamp_max(0.0))
            return soft_l1((gap * weight)[:, None], OUTLINE_THRESHOLD)[:, 0]

        return Correspondences(rim.triangles, rim.weights, rim.view, compare)


def on_head(model: HeadModel) -> Bool[Tensor, "vertices"]:
    """Vertices that may stand on the head's outline: not neck and bust, which clothes cover, nor what lies inside."""
    return ~(model.regions["neck"] | model.regions["eyeballs"])
