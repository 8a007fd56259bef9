"""The mesh priors `deca` and `fused`: FLAME parameters from networks, placed in the world of the cameras."""

from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from instax3d.assets import require
from instax3d.fitting import mesh_from_rig, place_head
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.interfaces import MeshPrior
from instax3d.registry import build
from instax3d.types import HeadMesh, Rig, Views

from .checkpoints import load_deca, load_deep3d, load_faceverse, load_mean_points
from .config import DecaConfig, FusedConfig, RegressorConfig
from .estimate import Regressed, averaged, chosen_frames, deca_pose, deep3d_rotation, regress, with_gaze
from .networks import CoefficientNet, DecaEncoder

C = TypeVar("C", bound=RegressorConfig)


class RegressorPrior(MeshPrior[C]):
    """Base of both estimators. Files are read on first use."""

    def head_model(self) -> HeadModel:
        """The FLAME head that ``head`` names."""
        return self._head

    @cached_property
    def _head(self) -> HeadModel:
        return build(HeadModel, self.config.head)

    @cached_property
    def _encoder(self) -> DecaEncoder:
        return load_deca(require("deca", self.config.weights).path)

    @cached_property
    def _pose_network(self) -> tuple[CoefficientNet, Float[Tensor, "5 3"]]:
        files = require("deep3d", self.config.deep3d).files
        return load_deep3d(files["epoch_20.pth"]), load_mean_points(files["similarity_Lm3D_all.mat"])

    @cached_property
    def _gaze_network(self) -> CoefficientNet:
        return load_faceverse(require("faceverse", self.config.faceverse).path)

    def _parameters(self, views: Views, estimates: list[Regressed], first: int) -> HeadParameters:
        """Parameters of the averaged codes, with FaceVerse's gaze if configured."""
        parameters = averaged(self._head, [estimate.code for estimate in estimates])
        if self.config.faceverse is None:
            return parameters
        return with_gaze(self._head, parameters, self._gaze_network, views, first)

    def _rotation(self, views: Views, first: int) -> Float[Tensor, "3 3"] | None:
        """The head's rotation by Deep3D, if configured."""
        if self.config.deep3d is None:
            return None
        network, mean = self._pose_network
        return deep3d_rotation(network, mean, views, first)

    def _placed(self, views: Views, frames: int) -> HeadMesh:
        """The head placed by the landmarks of all views."""
        chosen = chosen_frames(views, frames)
        estimates = regress(self._encoder, views, chosen)
        mesh = place_head(
            self._head,
            self._parameters(views, estimates, chosen[0]),
            views,
            rotation=self._rotation(views, chosen[0]),
            gaze=self.config.faceverse is None,
        )
        return replace(mesh, metrics={**mesh.metrics, "frames_regressed": float(len(chosen))})


class DecaPrior(RegressorPrior[DecaConfig]):
    """DECA (Feng et al. 2021) on one frame: the photo, or the most frontal view of a face."""

    def fit(self, views: Views) -> HeadMesh:
        """The regressed head; see `DecaConfig.placement` for its pose.

        Raises:
            FitError: no face was found in any view.
            AssetError, BrokenPluginError: a file is missing or holds something else.
        """
        if self.config.placement == "landmarks":
            return self._placed(views, 1)
        (first,) = chosen_frames(views, 1)
        (estimate,) = regress(self._encoder, views, [first])
        parameters = self._parameters(views, [estimate], first)
        root = self._root(parameters)
        rotation, translation = deca_pose(estimate, views.cameras[first], root)
        deep3d = self._rotation(views, first)
        if deep3d is not None:
            rotation, translation = deep3d, translation + (rotation - deep3d) @ root
        mesh = mesh_from_rig(views, Rig(self._head, parameters, rotation, translation, 1.0))
        return replace(mesh, metrics={**mesh.metrics, "frames_regressed": 1.0})

    def _root(self, parameters: HeadParameters) -> Float[Tensor, "3"]:
        """The joint about which DECA rotates the whole head."""
        return self._head.posed_joints(parameters)[self._head.joint_names.index("root")]


class FusedPrior(RegressorPrior[FusedConfig]):
    """The paper's: DECA on the photo and its neighbors, averaged, then placed by the landmarks of all views."""

    def fit(self, views: Views) -> HeadMesh:
        """The averaged head.

        Raises:
            FitError: no face was found in any view.
            AssetError, BrokenPluginError: a file is missing or holds something else.
        """
        return self._placed(views, self.config.frames)
