"""Options of the estimators `deca` and `fused` and of the metric `shape_pose`. Never imports torch."""

from typing import Annotated, Literal

from pydantic import Field

from instax3d.plugin import AssetRef, Kind, NamedPlugin, PluginConfig, PluginRef


class RegressorConfig(PluginConfig):
    """Options of both estimators."""

    head: Annotated[NamedPlugin, PluginRef(Kind.HEAD_MODEL, needs=frozenset({"flame-2020"}))] = "flame-2020"
    """The head model that is regressed: FLAME 2020; DECA's coefficients do not fit other versions."""
    weights: Annotated[str, AssetRef("deca")] = "deca"
    """DECA's ``deca_model.tar``."""
    deep3d: Annotated[str | None, AssetRef("deep3d")] = None
    """Deep3DFaceReconstruction's files: ``deep3d`` or the folder that holds them. With them the head's rotation
    relative to the photo's camera is Deep3D's; else it follows from the placement."""
    faceverse: Annotated[str | None, AssetRef("faceverse")] = None
    """FaceVerse v4's network: ``faceverse`` or its path. With it the gaze is FaceVerse's; else it follows from
    the irises in the views."""


class DecaConfig(RegressorConfig):
    """Options of `deca`."""

    placement: Literal["landmarks", "camera"] = "landmarks"
    """``landmarks``: by those of all views. ``camera``: by DECA's own weak perspective in its frame, in meters."""


class FusedConfig(RegressorConfig):
    """Options of `fused`."""

    frames: int = Field(default=3, ge=1)
    """How many frames are averaged: the photo and those with a face and the nearest cameras (paper: 3)."""


class ShapePoseConfig(PluginConfig):
    """DECA, and the detector of the faces."""

    weights: Annotated[str, AssetRef("deca")] = "deca"
    """DECA's ``deca_model.tar``."""
    detector: Annotated[str, PluginRef(Kind.LANDMARK_DETECTOR, needs=frozenset({"landmarks68"}))] = "dlib"
    """Finds the landmarks around which faces are cropped."""
