"""What the networks estimate of the faces in views."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import FitError
from instax3d.geometry.landmarks68 import NOSE_TIP, OUTER_EYE_CORNERS
from instax3d.headmodel import HeadModel, HeadParameters, rotation_matrices
from instax3d.types import FIVE_POINTS, MEDIAPIPE_POINTS, Cameras, Face, Views

from .coefficients import DecaCode, Deep3DCode, FaceVerseCode, rotation, weak_perspective
from .crops import FaceCrop, deca_crop, deep3d_crop, faceverse_crop, five_points
from .networks import CoefficientNet, DecaEncoder

UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""From axes with y up and z to the viewer to OpenCV's."""


def chosen_frames(views: Views, count: int) -> list[int]:
    """The photo, or the most frontal view of a face, and the views of a face with the nearest cameras.

    Raises:
        FitError: no face was found in any view.
    """
    faces = {view: face for view, face in enumerate(views.faces) if face is not None}
    if not faces:
        raise FitError("No face was found in any of the views: use views that show the face from the front.")
    first = views.photo_index
    if first is None or first not in faces:
        first = max(
            faces, key=lambda view: (frontality(faces[view].require_landmarks68()), float(views.view_confidence[view]))
        )
    centers = views.cameras.centers
    return sorted(faces, key=lambda view: (view != first, float((centers[view] - centers[first]).norm()), view))[:count]


def frontality(landmarks: Float[Tensor, "68 2"]) -> float:
    """1 where the nose tip is midway between the outer corners of the eyes, less where the head is turned."""
    right, left, tip = landmarks[[*OUTER_EYE_CORNERS, NOSE_TIP]]
    across = left - right
    share = float((tip - right) @ across / (across @ across).clamp_min(1e-9))
    return 1 - abs(2 * share - 1)


@dataclass(frozen=True, eq=False)
class Regressed:
    """DECA's output for one frame."""

    code: DecaCode
    crop: FaceCrop


def regress(encoder: DecaEncoder, views: Views, frames: Sequence[int]) -> list[Regressed]:
    """DECA's codes of some frames."""
    crops = [deca_crop(views.images[view], _face(views, view).require_landmarks68()) for view in frames]
    with torch.no_grad():
        return [Regressed(DecaCode.of(encoder(crop.pixels)), crop) for crop in crops]


def averaged(model: HeadModel, codes: Sequence[DecaCode]) -> HeadParameters:
    """The head of averaged codes ("average pooling" of the paper): shape, expression and jaw.

    Raises:
        FitError: the model has fewer components than DECA gives, or no jaw.
    """
    rest = model.neutral()
    shape, exp, jaw = (
        torch.stack(parts).mean(0)
        for parts in zip(*((c.shape[0], c.exp[0], c.pose[0, 3:]) for c in codes), strict=True)
    )
    joint = joint_like(model, "jaw")
    if len(rest.shape) < len(shape) or len(rest.expression) < len(exp) or joint is None:
        raise FitError(
            f"The head model {model.name!r} is not FLAME: DECA gives 100 shape, 50 expression and jaw values."
        )
    pose = rest.pose.clone()
    pose[joint] = jaw
    return HeadParameters(_leading(rest.shape, shape), _leading(rest.expression, exp), pose)


def joint_like(model: HeadModel, part: str) -> int | None:
    """The first joint that has ``part`` in its name."""
    return next((number for number, name in enumerate(model.joint_names) if part in name), None)


def with_gaze(
    model: HeadModel, parameters: HeadParameters, network: CoefficientNet, views: Views, frame: int
) -> HeadParameters:
    """The parameters with the gaze that FaceVerse estimates in a frame."""
    face = _face(views, frame)
    crop = faceverse_crop(views.images[frame], face.require_landmarks68(), face.points.get(MEDIAPIPE_POINTS))
    with torch.no_grad():
        left, right = FaceVerseCode.of(network(crop.pixels)).gaze[0]
    pose = parameters.pose.clone()
    for number, name in enumerate(model.joint_names):
        if "eye" in name:
            pose[number] = left if "left" in name or name.startswith("l") else right
    return HeadParameters(parameters.shape, parameters.expression, pose)


def deep3d_rotation(
    network: CoefficientNet, mean: Float[Tensor, "5 3"], views: Views, frame: int
) -> Float[Tensor, "3 3"]:
    """From the head's axes to the world's, as Deep3D estimates it in a frame."""
    face = _face(views, frame)
    points = face.points[FIVE_POINTS] if FIVE_POINTS in face.points else five_points(face.require_landmarks68())
    crop = deep3d_crop(views.images[frame], points, mean)
    with torch.no_grad():
        angle = Deep3DCode.of(network(crop.pixels)).angle
    return crop_to_world(crop, views.cameras[frame]) @ rotation(angle)[0]


def deca_pose(
    estimate: Regressed, camera: Cameras, root: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """The head's pose by DECA's own camera: rotation and translation from the head's axes to the world's, meters.

    The weak perspective becomes a full one at the distance where a meter at the head has the same size in pixels.

    Args:
        estimate: of the frame.
        camera: of the frame.
        root: the joint about which DECA rotates the head, meters.
    """
    code = estimate.code
    rotation_to_world = crop_to_world(estimate.crop, camera) @ rotation_matrices(code.pose[0, :3])
    half = estimate.crop.pixels.shape[-1] / 2
    # the root itself does not move under the rotation
    projected = weak_perspective(root[None, None], code.cam)[0, 0, :2]
    pixel = estimate.crop.to_image(projected[None] * half + half)[0]
    K, viewmat = camera.Ks[0], camera.viewmats[0]
    depth = K[0, 0] / (code.cam[0, 0].abs() * half / estimate.crop.scale)
    position = torch.cat([(pixel - K[:2, 2]) / K.diagonal()[:2], torch.ones(1)]) * depth
    world = viewmat[:3, :3].T @ (position - viewmat[:3, 3])
    return rotation_to_world, world - rotation_to_world @ root


def crop_to_world(crop: FaceCrop, camera: Cameras) -> Float[Tensor, "3 3"]:
    """From the axes of a camera that looks at the crop's center (y up), in which networks give a head's rotation, to
    the world's."""
    K, viewmat = camera.Ks[0], camera.viewmats[0]
    center = torch.tensor([crop.left, crop.top]) + crop.side / 2
    ray = torch.nn.functional.normalize(torch.cat([(center - K[:2, 2]) / K.diagonal()[:2], torch.ones(1)]), dim=0)
    axis = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), ray)
    sine = axis.norm()
    rotation_vector = axis / sine.clamp_min(1e-9) * torch.atan2(sine, ray[2])
    return viewmat[:3, :3].T @ rotation_matrices(rotation_vector) @ UPRIGHT


def _face(views: Views, frame: int) -> Face:
    face = views.faces[frame]
    assert face is not None, "only frames with a face are chosen"
    return face


def _leading(whole: Float[Tensor, "n"], first: Float[Tensor, "m"]) -> Float[Tensor, "n"]:
    return torch.cat([first, whole[len(first) :]])
