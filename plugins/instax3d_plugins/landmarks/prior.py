"""The mesh prior over any head model."""

from instax3d.errors import ConfigError
from instax3d.fitting import fit_head
from instax3d.headmodel import HeadModel
from instax3d.interfaces import MeshPrior
from instax3d.registry import build
from instax3d.types import HeadMesh, Views

from .config import LandmarksConfig


class LandmarksPrior(MeshPrior[LandmarksConfig]):
    """Fits a head model to the landmarks and outlines of the views."""

    def fit(self, views: Views) -> HeadMesh:
        """The fitted head; see `instax3d.fitting.fit_head`.

        Raises:
            ConfigError: the model has fewer shape components than are to be fitted.
            FitError: no face was found in any view.
            AssetError: a file of the model is not there.
        """
        model, wanted = self.head_model(), self.config.shape_components
        if wanted is not None and wanted > model.shape_components:
            raise ConfigError(
                f"mesh_prior.shape_components is {wanted}, but the head model {model.name!r} has "
                f"{model.shape_components}; write at most that many"
            )
        return fit_head(model, views, shape_components=wanted)

    def head_model(self) -> HeadModel:
        """The model that ``head`` names; made once per process.

        Raises:
            AssetError: a file of the model is not there.
        """
        return build(HeadModel, self.config.head)
