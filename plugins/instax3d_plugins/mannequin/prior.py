"""The mesh prior over the mannequin."""

from instax3d.fitting import fit_head
from instax3d.interfaces import MeshPrior
from instax3d.types import HeadMesh, Views

from .config import MannequinConfig
from .model import MannequinModel, packaged_mannequin


class MannequinPrior(MeshPrior[MannequinConfig]):
    """Fits the mannequin to the landmarks and outlines of the views."""

    def fit(self, views: Views) -> HeadMesh:
        """The fitted head; see `instax3d.fitting.fit_head`."""
        return fit_head(self.head_model(), views, shape_components=self.config.shape_components)

    def head_model(self) -> MannequinModel:
        """The mannequin itself; made once per process."""
        return packaged_mannequin()
