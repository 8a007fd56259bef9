"""The mesh prior over ICT-FaceKit."""

from instax3d.fitting import fit_head
from instax3d.interfaces import MeshPrior
from instax3d.types import HeadMesh, Views

from .config import IctConfig
from .model import IctModel, model_of


class IctPrior(MeshPrior[IctConfig]):
    """Fits ICT-FaceKit to the landmarks and outlines of the views."""

    def fit(self, views: Views) -> HeadMesh:
        """The fitted head; see `instax3d.fitting.fit_head`.

        Raises:
            AssetError: the model is not there.
        """
        return fit_head(self.head_model(), views, shape_components=self.config.shape_components)

    def head_model(self) -> IctModel:
        """The model of the user's files; made once per process.

        Raises:
            AssetError: the model is not there.
        """
        return model_of(self.config.model)
