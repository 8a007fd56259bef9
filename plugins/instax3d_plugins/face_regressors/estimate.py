"""What the networks tell of the faces in views."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import FitError
from instax3d.headmodel import HeadModel, HeadParameters, rotation_matrices
from instax3d.types import FIVE_POINTS, MEDIAPIPE_POINTS, Cameras, Face, Views

from .coefficients import DecaCode, Deep3DCode, FaceVerseCode, rotation, weak_perspective
from .crops import Crop, deca_crop, deep3d_crop, faceverse_crop, five_points
from .networks import CoefficientNet, DecaEncoder

UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""From axes with y up and z to the viewer to OpenCV's."""


def chosen_frames(views: Views, count: int) -> list[int]:
    """The photo, or the best view of a face, and the views of a face whose cameras are nearest to its.

    Raises:
        FitError: no face was found in any view.
    """
    found = {view: face for view, face in enumerate(views.faces) if face is not None}
    if not found:
        raise FitError("No face was found in any of the views: use views that show the face from the front.")
    first = views.photo_index
    if first is None or first not in found:
        first = max(
            found, key=lambda view: (frontality(found[view].require_landmarks68()), float(views.view_confidence[view]))
        )
    centers = views.cameras.centers
    return sorted(found, key=lambda view: (view != first, float((centers[view] - centers[first]).norm()), view))[:count]


def frontality(landmarks: Float[Tensor, "68 2"]) -> float:
    """1 where the nose tip is midway between the outer corners of the eyes, less where the head is turned."""
    right, left, tip = landmarks[36], landmarks[45], landmarks[30]
    across = left - right
    share = float((tip - right) @ across / (across @ across).clamp_min(1e-9))
    return 1 - abs(2 * share - 1)


@dataclass(frozen=True)
class Regressed:
    """DECA's answer for one frame."""

    code: DecaCode
    crop: Crop


def regress(encoder: DecaEncoder, views: Views, frames: Sequence[int]) -> list[Regressed]:
    """DECA's codes of some frames."""
    crops = [deca_crop(views.images[view], _face(views, view).require_landmarks68()) for view in frames]
    with torch.no_grad():
        return [Regressed(DecaCode.of(encoder(crop.picture)), crop) for crop in crops]


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
            f"The head model {model.name!r} is no FLAME: DECA gives 100 shape, 50 expression and jaw values."
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
    """The same with the eyes turned as FaceVerse sees them in a frame."""
    face = _face(views, frame)
    crop = faceverse_crop(views.images[frame], face.require_landmarks68(), face.points.get(MEDIAPIPE_POINTS))
    with torch.no_grad():
        left, right = FaceVerseCode.of(network(crop.picture)).gaze[0]
    pose = parameters.pose.clone()
    for number, name in enumerate(model.joint_names):
        if "eye" in name:
            pose[number] = left if "left" in name or name.startswith("l") else right
    return HeadParameters(parameters.shape, parameters.expression, pose)


def deep3d_rotation(
    network: CoefficientNet, mean: Float[Tensor, "5 3"], views: Views, frame: int
) -> Float[Tensor, "3 3"]:
    """From the head's axes to the world's, as Deep3D sees the head in a frame."""
    face = _face(views, frame)
    points = face.points[FIVE_POINTS] if FIVE_POINTS in face.points else five_points(face.require_landmarks68())
    crop = deep3d_crop(views.images[frame], points, mean)
    with torch.no_grad():
        angle = Deep3DCode.of(network(crop.picture)).angle
    return crop_to_world(crop, views.cameras[frame]) @ rotation(angle)[0]


def deca_place(
    seen: Regressed, camera: Cameras, root: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """Where DECA's own camera puts the head: rotation and translation from the head's axes to the world's, meters.

    The weak perspective becomes a perspective at the distance at which a meter of the face has the size it has there.

    Args:
        seen: in the frame of this camera.
        camera: of the frame.
        root: the point of the head that DECA rotates it about, meters.
    """
    code = seen.code
    turn = crop_to_world(seen.crop, camera) @ rotation_matrices(code.pose[0, :3])
    half = seen.crop.picture.shape[-1] / 2
    # the root itself does not move under the rotation
    shown = weak_perspective(root[None, None], code.cam)[0, 0, :2]
    pixel = seen.crop.to_image(shown[None] * half + half)[0]
    K, viewmat = camera.Ks[0], camera.viewmats[0]
    depth = K[0, 0] / (code.cam[0, 0].abs() * half / seen.crop.scale)
    at = torch.cat([(pixel - K[:2, 2]) / K.diagonal()[:2], torch.ones(1)]) * depth
    world = viewmat[:3, :3].T @ (at - viewmat[:3, 3])
    return turn, world - turn @ root


def crop_to_world(crop: Crop, camera: Cameras) -> Float[Tensor, "3 3"]:
    """From axes before a camera that looks straight at the crop's middle, y up, in which networks tell a head's
    rotation, to the world's."""
    K, viewmat = camera.Ks[0], camera.viewmats[0]
    middle = torch.tensor([crop.left, crop.top]) + crop.side / 2
    ray = torch.nn.functional.normalize(torch.cat([(middle - K[:2, 2]) / K.diagonal()[:2], torch.ones(1)]), dim=0)
    axis = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), ray)
    sine = axis.norm()
    aside = axis / sine.clamp_min(1e-9) * torch.atan2(sine, ray[2])
    return viewmat[:3, :3].T @ rotation_matrices(aside) @ UPRIGHT


def _face(views: Views, frame: int) -> Face:
    face = views.faces[frame]
    assert face is not None, "only frames with a face are chosen"
    return face


def _leading(whole: Float[Tensor, "n"], first: Float[Tensor, "m"]) -> Float[Tensor, "n"]:
    return torch.cat([first, whole[len(first) :]])
