"""Views that are already there: a capture's frames."""

import torch

from instax3d.inputs.capture import load_frames
from instax3d.interfaces import ViewGenerator
from instax3d.types import Capture, Photo, Views

from .config import FramesConfig


class FramesGenerator(ViewGenerator[FramesConfig]):
    """Loads the frames of a capture, in its own world; every view is a photograph of confidence 1."""

    def generate(self, source: Photo | Capture, *, seed: int) -> Views:
        """The frames on white with their alpha; nothing is random.

        Raises:
            IncompatiblePipelineError: ``source`` is a photo.
            CaptureError: a frame cannot be read.
        """
        capture = self.expect(source, Capture)
        cameras = capture.cameras
        longest = max(cameras.width, cameras.height)
        if longest > self.config.max_size:
            cameras = cameras.scaled(self.config.max_size / longest)
        images, alpha = load_frames(cameras, capture.files)
        return Views(images, alpha, cameras, confidence=torch.ones_like(alpha))
