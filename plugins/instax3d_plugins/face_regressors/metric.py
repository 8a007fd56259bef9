"""Whether a portrait has the shape of head and the pose of its photo or of the truth, as DECA sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.assets import require
from instax3d.errors import MetricError
from instax3d.headmodel import rotation_matrices
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.io.images import to_uint8
from instax3d.registry import build
from instax3d.types import Cameras, EvaluationContext

from .checkpoints import load_deca
from .coefficients import DecaCode, axis_angles
from .config import ShapePoseConfig
from .crops import Crop, deca_crop
from .estimate import crop_to_world
from .networks import DecaEncoder

PAPER_UNIT = 100
"""The paper tells both errors in 10^-2."""


@dataclass(frozen=True)
class _Shown:
    """An image and where it was taken from."""

    image: Float[Tensor, "3 h w"]
    camera: Cameras


@dataclass(frozen=True)
class _Seen:
    """What DECA says of it."""

    code: DecaCode
    crop: Crop
    camera: Cameras

    @property
    def rotation(self) -> Float[Tensor, "3 3"]:
        """From the head's axes to the world's."""
        return crop_to_world(self.crop, self.camera) @ rotation_matrices(self.code.pose[0, :3])


class ShapePose(Metric[ShapePoseConfig]):
    """Mean squared errors of DECA's shape and pose codes (the paper's Shape and Pose), in its unit of 10^-2.

    The paper (Sec. 4): "the mean squared error of the shape and pose parameters between the ground truth and the
    generated 3D portraits", estimated by DECA (Feng et al. 2021). It does not say from where portraits are rendered.
    Here the reference of a photo's portrait is the view that is the photo, compared with renders from its camera and
    from the frames of the turn within 40 degrees of the front; that of a capture's is each held-out frame, compared
    with the render from its camera. A render in which no face is found does not count (`shape_pose_faces`).

    Shape: the 100 numbers of ``E_flame``, in standard deviations. Pose: its 6 numbers, the axis-angles of head and jaw
    in radians; for a render from another camera, the reference's head rotation is carried over to that camera first,
    so that a portrait that turns as it should has no error. Crops are DECA's: 68 landmarks' box, 1.1 and 1.25 times
    enlarged, 224 pixels, RGB in [0, 1]. The weights are DECA's ``deca_model.tar``.
    """

    @cached_property
    def _encoder(self) -> DecaEncoder:
        return load_deca(require("deca", self.config.weights).path)

    @cached_property
    def _detector(self) -> LandmarkDetector[Any]:
        detector: LandmarkDetector[Any] = build(LandmarkDetector, self.config.detector)
        return detector

    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        encoder = self._encoder  # what is missing is said before anything is looked for
        shapes, poses, wanted = [], [], 0
        for reference, renders in _comparisons(context):
            true = self._see(encoder, reference)
            if true is None:
                continue
            wanted += len(renders)
            found = [seen for seen in (self._see(encoder, each) for each in renders) if seen is not None]
            shapes += [(seen.code.shape - true.code.shape).square().mean() for seen in found]
            poses += [(seen.code.pose[0] - _expected(true, seen)).square().mean() for seen in found]
        if not shapes:
            raise MetricError(
                "shape_pose needs a view that is the photo, or held-out frames of a capture, in which a face is found, "
                "and the same face in the portrait"
            )
        return {
            "shape_mse": PAPER_UNIT * float(torch.stack(shapes).mean()),
            "pose_mse": PAPER_UNIT * float(torch.stack(poses).mean()),
            "shape_pose_faces": len(shapes) / wanted,
        }

    @torch.no_grad()
    def _see(self, encoder: DecaEncoder, shown: _Shown) -> _Seen | None:
        faces = self._detector.detect(to_uint8(shown.image))
        if not faces:
            return None
        crop = deca_crop(shown.image, faces[0].require_landmarks68())
        return _Seen(DecaCode.of(encoder(crop.picture)), crop, shown.camera)


def _comparisons(context: EvaluationContext) -> list[tuple[_Shown, list[_Shown]]]:
    """References, each with the renders that should show the same."""
    views, photo = context.views, context.views.photo_index
    found = []
    if photo is not None:
        camera = views.cameras[photo]
        turn = [_Shown(context.turntable[frame], context.turntable_cameras[frame]) for frame in context.front]
        found.append((_Shown(views.images[photo], camera), [_Shown(context.rendered[photo], camera), *turn]))
    truth, rendered, cameras = context.test_images, context.test_rendered, context.test_cameras
    if truth is not None and rendered is not None and cameras is not None:
        frames = range(len(cameras))
        found += [(_Shown(truth[k], cameras[k]), [_Shown(rendered[k], cameras[k])]) for k in frames]
    return found


def _expected(true: _Seen, seen: _Seen) -> Float[Tensor, "6"]:
    """The reference's pose as the other camera sees it."""
    turned = crop_to_world(seen.crop, seen.camera).T @ true.rotation
    return torch.cat([axis_angles(turned[None])[0], true.code.pose[0, 3:]])
