"""Likeness as a loss."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.assets import require
from instax3d.errors import FitError
from instax3d.interfaces import Loss
from instax3d.types import HeadMesh, LossStep, Views

from .config import IdentityConfig
from .encoders import differentiable_crop, encoder_of

_ASSET = "facenet-vggface2"
"""Both assets are of one file; for the user's own it does not matter which is named."""


class Identity(Loss[IdentityConfig]):
    """``1 - cosine`` between the embedding of the photo's face and that of the rendered face.

    It is compared from the photo's camera and from those near it, in which the run's landmark detector found the face:
    the crop lies where it is in the view. In a capture each view's face is compared with the one in its own image. The
    ID loss of GAN inversion (Richardson et al., "Encoding in Style", CVPR 2021).
    """

    def start(self, mesh: HeadMesh, views: Views, device: torch.device) -> None:
        """Load the network and embed the faces.

        Raises:
            AssetError, UnsafeFileError: its file is not there, or is something else.
            FitError: no face was found in the views that are compared.
        """
        name = self.config.weights
        self._encoder = encoder_of(require(*((name,) if name == "arcface-iresnet50" else (_ASSET, name))).path)
        self._encoder.network.to(device)
        faces = {index: face for index, face in enumerate(views.faces) if face is not None and self._near(views, index)}
        if not faces or (views.photo_index is not None and views.photo_index not in faces):
            raise FitError(
                "the loss identity has no face to compare with: the landmark detector found none in "
                f"{'the views' if views.photo_index is None else 'the photo'}; leave the loss out"
            )
        self._width = views.cameras.width
        self._frames = {index: self._encoder.frame(face) for index, face in faces.items()}
        with torch.no_grad():
            self._wanted = {
                index: self._embedded(views.images[index : index + 1].to(device), index)
                for index in (faces if views.photo_index is None else [views.photo_index])
            }
        if views.photo_index is not None:
            self._wanted = dict.fromkeys(faces, self._wanted[views.photo_index])

    def _near(self, views: Views, index: int) -> bool:
        if views.photo_index is None:
            return True
        forward = views.cameras.viewmats[:, 2, :3]
        cosine = float(forward[index] @ forward[views.photo_index])
        return cosine >= math.cos(math.radians(self.config.reach_deg)) - 1e-6

    def _embedded(self, image: Float[Tensor, "1 3 h w"], index: int) -> Float[Tensor, "512"]:
        """The face of a view, in its image or in a render of any resolution."""
        frame = self._frames[index] * (image.shape[3] / self._width)
        crop = differentiable_crop(image, frame, self._encoder.size)
        return self._encoder.embed(255 * crop)[0]

    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        if step.view_index not in self._wanted:
            return {}
        found = self._embedded(step.render.image, step.view_index)
        return {"identity": 1 - found @ self._wanted[step.view_index]}
