"""Plain 3D Gaussian Splatting: Gaussians in the world, bound to no mesh."""

from jaxtyping import Float
from torch import Tensor

from instax3d.errors import IncompatiblePipelineError
from instax3d.splats.initialization.on_surface import SurfaceRepresentation, SurfaceStart, from_y_axis
from instax3d.types import Gaussians, HeadMesh

from .config import UnboundConfig


class UnboundGaussians(SurfaceRepresentation[UnboundConfig]):
    """Kerbl et al. 2023, with the initialization of `triangles`: the difference shows the effect of the binding."""

    def __init__(self, config: UnboundConfig) -> None:
        super().__init__(config)
        self._meter = 1.0

    def init_geometry(self, start: SurfaceStart, mesh: HeadMesh) -> dict[str, Tensor]:
        self._meter = mesh.units_per_meter
        points = start.points
        return {"means": points.positions, "quats": from_y_axis(points.normals), "scales": start.scales.log()}

    def means_rate(self) -> float:
        return self.config.means_rate * self._meter

    def gaussians(self, vertices: Float[Tensor, "vertices 3"] | None = None) -> Gaussians:
        """The Gaussians in the world.

        Raises:
            IncompatiblePipelineError: ``vertices`` are given: unbound Gaussians follow no mesh.
        """
        if vertices is not None:
            raise IncompatiblePipelineError(
                "unbound Gaussians follow no mesh; create the portrait with representation=triangles to animate it"
            )
        splats = self.splats
        return Gaussians(
            splats["means"], splats["quats"], splats["scales"].exp(), splats["opacities"].sigmoid(), self.harmonics()
        )
