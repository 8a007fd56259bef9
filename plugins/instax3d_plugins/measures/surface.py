"""How far a portrait's head lies from the true surface of a capture."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from instax3d.errors import MetricError
from instax3d.geometry.landmarks68 import CHIN
from instax3d.geometry.proximity import ProximityQuery
from instax3d.inputs.true_surface import SURFACE_FILES
from instax3d.interfaces import Metric
from instax3d.types import EvaluationContext

from .config import SurfaceConfig

SAMPLES = 10_000
"""Points that are measured on each surface."""
SOLID = 0.5
"""Opacity from which a Gaussian counts as surface."""


class SurfaceDistance(Metric[SurfaceConfig]):
    """Distances between the fitted head's skin, the Gaussians' centers and the true surface, above the chin.

    Nothing is moved: portrait and truth share the world of the capture's cameras. What lies above the plane through the
    fitted head's chin (landmark 9), perpendicular to its up axis, is measured: of each surface 10,000 points spread
    evenly by area, against the whole other surface, so that the cut adds no error. Points that cannot be seen from
    outside are left out (eye sockets, mouth, nostrils: scans have such inner surfaces as well), and so are Gaussians
    below half opacity. Distances are Euclidean, from points to the closest places of triangles (of a cloud: to its
    points); the chamfer distance is the mean of both directions' means (Barrow et al. 1977; of distances, not of
    squares).

    A capture's world has no unit: millimeters are those of the fitted head, whose model has life size,
    unless ``units_per_meter`` is given; percent are of the true head's height from chin to crown and need no scale.
    """

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        if context.surface is None:
            raise MetricError(
                f"surface needs the true surface of the head: {', '.join(SURFACE_FILES[:-1])} or {SURFACE_FILES[-1]} "
                "in the folder of the capture that the portrait was made from, or in the one given to "
                "`instax3d evaluate --against`"
            )
        mesh = context.mesh
        if mesh.landmarks is None:
            raise MetricError(
                "surface needs the chin of the fitted head, but this portrait has no landmarks; create it again "
                "with a mesh prior that has them"
            )
        axes = np.eye(3) if mesh.axes is None else mesh.axes.double().numpy()
        up = axes[:, 1]
        chin = float(mesh.landmarks[CHIN].double().numpy() @ up)

        def above(points: Float[ndarray, "n 3"]) -> Float[ndarray, "m 3"]:
            kept: Float[ndarray, "m 3"] = points[points @ up > chin]
            return kept

        def outside(surface: ProximityQuery) -> Float[ndarray, "m 3"]:
            points = above(surface.sample(SAMPLES))
            visible: Float[ndarray, "m 3"] = points[surface.visible(points, axes)]
            return visible

        truth = ProximityQuery.of(context.surface)
        skin = ProximityQuery(mesh.vertices.double().numpy(), mesh.faces.numpy())
        true_points, skin_points = outside(truth), outside(skin)
        solid = context.gaussians.means[context.gaussians.opacities >= SOLID].double().numpy()
        centers = above(solid)
        if min(len(true_points), len(skin_points), len(centers)) == 0:
            raise MetricError(
                "surface finds nothing of the portrait or of the true surface above the portrait's chin; are both in "
                "the same world?"
            )
        height = float((true_points @ up).max()) - chin
        to_mm = 1000 / (self.config.units_per_meter or mesh.units_per_meter)

        def mean(of: ProximityQuery, points: Float[ndarray, "n 3"]) -> float:
            return float(of.closest(points)[1].mean())

        to_truth, from_truth = mean(truth, skin_points), mean(skin, true_points)
        from_centers, to_centers = mean(truth, centers), mean(ProximityQuery(solid), true_points)
        chamfer = (to_truth + from_truth) / 2
        return {
            "surface": chamfer * to_mm,
            "surface_to_truth": to_truth * to_mm,
            "surface_from_truth": from_truth * to_mm,
            "surface_percent": 100 * chamfer / height,
            "surface_gaussians": (from_centers + to_centers) / 2 * to_mm,
            "surface_gaussians_to_truth": from_centers * to_mm,
        }
