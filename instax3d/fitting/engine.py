"""The common part of fitting a head to one photo and to many views: robust least squares in rounds.

Each round finds correspondences: the points of the current head that are seen as landmarks, outlines and irises. Then
all variables are solved for with these points fixed, as in iterative closest points.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.types import Cameras

from .gaze import GazeTerm
from .solver import minimize
from .terms import Correspondences, LandmarkTerm, OutlineTerm
from .variables import FitVariables

ROUNDS = 5
"""Of correspondences; later ones change little."""
STEPS = 8
"""In each round; the correspondences change in the next one anyway."""


def solve(
    variables: FitVariables,
    landmarks: LandmarkTerm,
    outline: OutlineTerm | None,
    gaze: GazeTerm | None = None,
    start: Float[Tensor, "variables"] | None = None,
) -> Float[Tensor, "variables"]:
    """The vector of variables that fits landmarks, outlines and irises best.

    Args:
        start: the result of an earlier fit; None starts from the blocks' own start values.
    """
    vector = variables.blocks.start() if start is None else start
    for number in range(ROUNDS):
        vertices, cameras = variables.vertices(vector), variables.cameras(vector)
        correspondences = [landmarks.find_correspondences(vertices, cameras, float(variables.scale(vector)))]
        # outlines wait for a head in place: before that they would be compared with the wrong edges
        if outline and (number > 0 or start is not None):
            correspondences.append(outline.find_correspondences(vertices, cameras))
        if gaze:
            correspondences.append(gaze.find_correspondences(vertices, cameras))
        vector = minimize(_residuals(variables, vector, correspondences), variables.blocks, vector, steps=STEPS)
    return vector


def _residuals(
    variables: FitVariables, vector: Float[Tensor, "variables"], correspondences: list[Correspondences]
) -> Callable[[Float[Tensor, "variables"]], Float[Tensor, "residuals"]]:
    """All residuals near ``vector``: those of the correspondences and of the priors."""
    needed, triangles = torch.cat([c.triangles for c in correspondences]).unique(return_inverse=True)
    weights, view = torch.cat([c.weights for c in correspondences]), torch.cat([c.view for c in correspondences])
    counts = [len(c.view) for c in correspondences]
    vertices = variables.linearized(vector, needed)

    def residuals(moved: Tensor) -> Tensor:
        points = (vertices(moved)[triangles] * weights[..., None]).sum(1)
        pixels = project_each(variables.cameras(moved), view, points).split(counts)
        compared = [c.compare(p) for c, p in zip(correspondences, pixels, strict=True)]
        return torch.cat([*compared, variables.prior(moved)])

    return residuals


def project_each(cameras: Cameras, view: Int[Tensor, "n"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 2"]:
    """Pixels of world points, each in its own view. Differentiable."""
    viewmats, Ks = cameras.viewmats[view], cameras.Ks[view]
    in_camera = (viewmats[:, :3, :3] @ points[..., None])[..., 0] + viewmats[:, :3, 3]
    image = (Ks @ in_camera[..., None])[..., 0]
    return image[:, :2] / image[:, 2:]
