"""Options of the `mediapipe` landmark detector. Never imports torch."""

from typing import Annotated

from pydantic import Field

from instax3d.plugin import AssetRef, PluginConfig


class MediapipeConfig(PluginConfig):
    """Options of `mediapipe`."""

    model: Annotated[str, AssetRef("mediapipe-face-landmarker")] = "mediapipe-face-landmarker"
    """``face_landmarker.task``."""
    faces: int = Field(default=4, ge=1)
    """Maximum number of faces in an image."""
