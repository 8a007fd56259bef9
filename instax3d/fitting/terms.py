"""Residuals of a fit: landmarks and outlines."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instax3d.geometry.landmarks68 import AROUND_CHIN, NOSE, OUTER_LIPS
from instax3d.geometry.mesh import vertex_normals
from instax3d.headmodel import HeadModel
from instax3d.types import Cameras

from .landmarks import JawContour
from .silhouette import SILHOUETTE_POINTS, SignedDistance, Silhouette
from .solver import soft_l1

LANDMARK_THRESHOLD = 2.0
"""Standard deviations beyond which a landmark's error counts linearly."""
OUTLINE_SIGMA = 0.015
"""Standard deviation of an outline point, in face sizes."""
OUTLINE_THRESHOLD = 1.5
"""Standard deviations beyond which an outline point's distance counts linearly."""
OUTLINE_REACH = 0.15
"""A bare head is not pulled to an outline farther away, in face sizes: that is something else's, or unknown."""
OUTLINE_VIEWS = 8.0
"""More outlines than this share their weight."""
PROFILE = np.r_[AROUND_CHIN, NOSE, OUTER_LIPS].tolist()
"""Landmarks of chin, nose and lips, near which the outline is that of bare skin."""
PROFILE_REACH = 0.015
"""Meters around them in which nothing covers the skin."""


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Points on the head, the view in which each is seen, and their residuals there."""

    triangles: Int[Tensor, "n 3"]
    """Vertices of the triangle that carries each point."""
    weights: Float[Tensor, "n 3"]
    """Barycentric."""
    view: Int[Tensor, "n"]
    """In which each point is seen."""
    compare: Callable[[Float[Tensor, "n 2"]], Float[Tensor, "residuals"]]
    """Maps the points' pixels to weighted residuals. Differentiable."""


class LandmarkTerm:
    """The detected landmarks of some views.

    Args:
        landmarks: by view, pixels.
        confidence: of all views.
        weight: together the landmarks count as so many views, as a detector makes the same errors in all.
    """

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
        self._detected = torch.stack([landmarks[view] for view in self._views.tolist()])
        self._confidence = confidence[self._views] * math.sqrt(weight / len(landmarks))

    def find_correspondences(
        self, vertices: Float[Tensor, "vertices 3"], cameras: Cameras, units_per_meter: float
    ) -> Correspondences:
        """Find the landmarks on the current head.

        Args:
            vertices: of the head in the world.
            cameras: of all views.
            units_per_meter: of the world.
        """
        normals = torch.from_numpy(vertex_normals(vertices.double().numpy(), self._faces)).float()
        used = cameras[self._views]
        carriers = [
            self._jaw.carriers(vertices, normals, center, projected[:, :2], detected, units_per_meter)
            for center, projected, detected in zip(used.centers, used.project(vertices), self._detected, strict=True)
        ]
        triangles = torch.cat([c.triangles for c in carriers])
        weights = torch.cat([c.weights for c in carriers])
        whitening = torch.cat(
            [c.whitening * confidence for c, confidence in zip(carriers, self._confidence, strict=True)]
        )
        view = self._views.repeat_interleave(68)
        detected = self._detected.flatten(0, 1)

        def compare(pixels: Tensor) -> Tensor:
            return soft_l1((whitening @ (pixels - detected)[..., None])[..., 0], LANDMARK_THRESHOLD).flatten()

        return Correspondences(triangles, weights, view, compare)


class OutlineTerm:
    """The person's outline in some views: the head must not stick out of it, and must meet it where it is bare.

    Args:
        outlines: by view.
        confidence: of all views.
        size: of a face, in pixels.
        bald: whether all of the head is bare; otherwise only the profile of chin, nose and lips is.
    """

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
        self._eligible = on_head(model)
        profile = torch.cdist(neutral, model.landmarks(neutral)[PROFILE]).min(1).values < PROFILE_REACH
        self._bare = torch.ones_like(profile) if bald else profile
        self._faces, self._outlines, self._reach = model.faces, outlines, OUTLINE_REACH * size
        self._weight = confidence * math.sqrt(min(1.0, OUTLINE_VIEWS / len(outlines))) / (OUTLINE_SIGMA * size)

    def find_correspondences(self, vertices: Float[Tensor, "vertices 3"], cameras: Cameras) -> Correspondences:
        """Find the silhouette of the current head (in the world) and the person's outline next to it."""
        silhouette = Silhouette.of(vertices, self._faces, self._eligible, cameras, self._outlines)
        points = torch.bincount(silhouette.view, minlength=len(cameras))
        weight = (self._weight * (SILHOUETTE_POINTS / points.clamp_min(SILHOUETTE_POINTS)).sqrt())[silhouette.view]
        bare = self._bare[silhouette.triangles].all(1)

        def compare(pixels: Tensor) -> Tensor:
            inside = silhouette.distance + ((pixels - silhouette.pixels) * silhouette.inwards).sum(1)
            gap = torch.where(bare & (silhouette.distance < self._reach), inside, inside.clamp_max(0.0))
            return soft_l1((gap * weight)[:, None], OUTLINE_THRESHOLD)[:, 0]

        return Correspondences(silhouette.triangles, silhouette.weights, silhouette.view, compare)


def on_head(model: HeadModel) -> Bool[Tensor, "vertices"]:
    """Vertices that may be part of the silhouette: not neck and bust, which clothes cover, nor the eyeballs."""
    return ~(model.regions["neck"] | model.regions["eyeballs"])
