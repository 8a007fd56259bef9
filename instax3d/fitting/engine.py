"""The common part of fitting a head to one photo and to many views: robust least squares in rounds.

In each round the points of the head that show as landmarks and outlines are looked up; then all unknowns are solved
for with these points kept.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.types import Cameras

from .gaze import GazeTerm
from .solver import minimize
from .terms import Correspondences, LandmarkTerm, OutlineTerm
from .unknowns import FitVariables

ROUNDS = 5
STEPS = 8
"""In each round; the points change in the next one anyway."""


def solve(
    unknowns: FitVariables,
    landmarks: LandmarkTerm,
    outline: OutlineTerm | None,
    gaze: GazeTerm | None = None,
    start: Float[Tensor, "unknowns"] | None = None,
) -> Float[Tensor, "unknowns"]:
    """The unknowns that agree best with landmarks, outlines and irises, from a result of before if one is given."""
    vector = unknowns.layout.start() if start is None else start
    for number in range(ROUNDS):
        vertices, cameras = unknowns.vertices(vector), unknowns.cameras(vector)
        seen = [landmarks.find_correspondences(vertices, cameras, float(unknowns.scale(vector)))]
        # outlines wait for a head in place: before that they would be compared with the wrong edges
        if outline and (number > 0 or start is not None):
            seen.append(outline.find_correspondences(vertices, cameras))
        if gaze:
            seen.append(gaze.find_correspondences(vertices, cameras))
        vector = minimize(_residuals(unknowns, vector, seen), unknowns.layout, vector, steps=STEPS)
    return vector


def _residuals(
    unknowns: FitVariables, vector: Float[Tensor, "unknowns"], seen: list[Correspondences]
) -> Callable[[Float[Tensor, "unknowns"]], Float[Tensor, "residuals"]]:
    """All residuals near ``vector``: the sightings' and the priors'."""
    needed, triangles = torch.cat([s.triangles for s in seen]).unique(return_inverse=True)
    weights, view = torch.cat([s.weights for s in seen]), torch.cat([s.view for s in seen])
    counts = [len(s.view) for s in seen]
    vertices = unknowns.linearized(vector, needed)

    def residuals(moved: Tensor) -> Tensor:
        points = (vertices(moved)[triangles] * weights[..., None]).sum(1)
        pixels = project_each(unknowns.cameras(moved), view, points).split(counts)
        compared = [s.compare(p) for s, p in zip(seen, pixels, strict=True)]
        return torch.cat([*compared, unknowns.prior(moved)])

    return residuals


def project_each(cameras: Cameras, view: Int[Tensor, "n"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 2"]:
    """Pixels of world points, each in a view of its own. Differentiable."""
    viewmats, Ks = cameras.viewmats[view], cameras.Ks[view]
    at = (viewmats[:, :3, :3] @ points[..., None])[..., 0] + viewmats[:, :3, 3]
    image = (Ks @ at[..., None])[..., 0]
    return image[:, :2] / image[:, 2:]
