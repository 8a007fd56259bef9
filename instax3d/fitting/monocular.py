"""Fits a head to one photo: pose, focal length, shape, expression and gaze."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import FitError
from instax3d.geometry.landmarks68 import INNER, JAW
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.types import Cameras

from .engine import solve
from .eyes import refine_eye_landmarks
from .gaze import gaze_term
from .initial import Placement, place_in_view
from .landmarks import face_size
from .silhouette import SignedDistance, comparison_cameras
from .single_thread import one_thread
from .terms import LandmarkTerm, OutlineTerm
from .variables import FitVariables, LogNormal, Priors

PORTRAIT_DISTANCE = LogNormal(0.85, 0.15)
"""Meters at which heads are photographed, assumed where the focal length is unknown."""

STRAY_JAW = 0.02
"""Face sizes beside the person from which a jaw landmark is wrong (3 mm)."""


@dataclass(frozen=True, eq=False)
class PhotoFit:
    """A head that fits a photo. The head stands upright at the world's origin, so its pose is in the camera."""

    parameters: HeadParameters
    vertices: Float[Tensor, "vertices 3"]
    """Meters, in the head's axes."""
    cameras: Cameras
    """The one camera of the photo."""
    focal: float
    """Pixels."""
    yaw: float
    """Degrees by which the head is turned to its left, seen from the camera."""
    landmarks: Float[Tensor, "68 2"]
    """That the head was fitted to, pixels: the detected ones, except eyes and jaws that the photo shows elsewhere."""
    landmark_error: float
    """Median distance of the landmarks of brows, nose, eyes and mouth, in face sizes."""


@one_thread()
def fit_photo(
    model: HeadModel,
    landmarks: Float[Tensor, "68 2"],
    width: int,
    height: int,
    *,
    focal: float | None = None,
    principal_point: tuple[float, float] | None = None,
    image: Float[Tensor, "3 h w"] | None = None,
    alpha: Float[Tensor, "1 h w"] | None = None,
    bald: bool = False,
    shape_components: int = 30,
) -> PhotoFit:
    """Fit a head model to the landmarks of one photo and, where a matte is given, to the person's outline.

    Shape and expression have priors; unless the focal length is known, so has the distance of the head, about 85 cm.
    Landmarks of the jaw slide along it, and over to the silhouette where the head is turned away.

    Args:
        model: any head model.
        landmarks: iBUG 68, pixels with pixel centers at +0.5.
        width: of the photo, pixels.
        height: of the photo, pixels.
        focal: focal length in pixels, where known.
        principal_point: pixels; the photo's middle if None.
        image: the photo, sRGB in [0, 1], in which eyes and irises are sought. Without it, or where they are hidden,
            the eyes look straight ahead.
        alpha: the person's matte in [0, 1], of the photo's size. The head must not stick out of it.
        bald: whether the head, ears included, must also reach the matte's edge.
        shape_components: how many are fitted, in the model's order.

    Raises:
        FitError: the landmarks are too close together, or not finite.
    """
    size = face_size(landmarks)
    if not math.isfinite(size) or size < 8:
        raise FitError("The face in this photo is too small to fit a head to; use a larger photo of the face.")
    if image is not None:
        landmarks = refine_eye_landmarks(image, landmarks)
    place, guess = _start(model, landmarks, width, height, focal, principal_point)
    confidence = torch.ones(1)
    gaze = None if image is None else gaze_term(model, {0: image}, {0: landmarks}, confidence, weight=1.0)
    components = min(shape_components, model.shape_components)
    distance = None if focal else PORTRAIT_DISTANCE
    variables = FitVariables(model, guess, place, Priors(components, distance=distance, gaze=gaze is not None))
    outline = None
    if alpha is not None:
        small = comparison_cameras(guess)
        person = SignedDistance.of(alpha[0], small.width, small.height)
        landmarks = _jaw_on_person(landmarks, person, width / small.width, size)
        outline = OutlineTerm(model, {0: person}, confidence, size, bald=bald)
    vector = solve(variables, LandmarkTerm(model, {0: landmarks}, confidence, weight=1.0), outline, gaze)
    viewmat = torch.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = variables.rotation(vector), variables.translation(vector)
    solved = variables.cameras(vector)
    cameras = Cameras(viewmat[None], solved.Ks, width, height)
    parameters = variables.parameters(vector)
    vertices = model(parameters)
    error = (cameras.project(model.landmarks(vertices))[0, :, :2] - landmarks).norm(dim=1)
    to_camera = -viewmat[2, :3]  # in the head's axes
    return PhotoFit(
        parameters,
        vertices,
        cameras,
        float(solved.Ks[0, 0, 0]),
        -math.degrees(math.atan2(float(to_camera[0]), float(to_camera[2]))),
        landmarks,
        float(error[INNER].median()) / size,
    )


def _jaw_on_person(
    landmarks: Float[Tensor, "68 2"], person: SignedDistance, pixel: float, size: float
) -> Float[Tensor, "68 2"]:
    """The landmarks, with those of the jaw that lie clearly beside the person moved to its outline.

    ``pixel``: size of a pixel of ``person``, in pixels of the photo.
    """
    limit = torch.tensor(person.value.shape[::-1]) - 1
    x, y = (landmarks[JAW] / pixel).long().clamp_min(0).minimum(limit).T
    distance, inwards = person.value[y, x] * pixel, person.gradient[y, x]
    moved = landmarks.clone()
    moved[JAW] += torch.where(distance < -STRAY_JAW * size, -distance, 0.0)[:, None] * inwards
    return moved


def _start(
    model: HeadModel,
    landmarks: Float[Tensor, "68 2"],
    width: int,
    height: int,
    focal: float | None,
    principal_point: tuple[float, float] | None,
) -> tuple[Placement, Cameras]:
    """The neutral head's placement in the axes of the photo's camera, and that camera with a first focal length."""
    points = model.landmarks(model(model.neutral()))[INNER]
    K = torch.eye(3)
    K[:2, 2] = torch.tensor(principal_point or (width / 2, height / 2))
    if focal is None:
        # at a focal length of one, the face is as many meters away as a pixel is wide there
        unit = Cameras(torch.eye(4)[None], K[None], width, height)
        place = place_in_view(points, unit, landmarks[INNER])
        focal = PORTRAIT_DISTANCE.median / float((place.rotation @ points.mean(0) + place.translation)[2])
    K[0, 0] = K[1, 1] = focal
    camera = Cameras(torch.eye(4)[None], K[None], width, height)
    return place_in_view(points, camera, landmarks[INNER]), camera
