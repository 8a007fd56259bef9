"""Fits a head to one photo: pose, focal length, shape, expression and gaze."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import FitError
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.types import Cameras

from .engine import solve
from .eyes import refine_eye_landmarks
from .gaze import gaze_term
from .initial import Placement, place_in_view
from .landmarks import INNER, JAW, face_size
from .outline import SignedDistance, comparison_cameras
from .single_thread import one_thread
from .terms import LandmarkTerm, OutlineTerm
from .unknowns import FitVariables, LogNormal, Priors

PORTRAIT_DISTANCE = LogNormal(0.85, 0.15)
"""Meters at which heads are photographed, where nothing tells the focal length."""

STRAY_JAW = 0.02
"""Face sizes beside the person from which on a jaw's landmark is wrong (3 mm)."""


@dataclass(frozen=True)
class PhotoFit:
    """A head that fits a photo. The head stands upright at the world's origin, so its pose is in the camera."""

    parameters: HeadParameters
    vertices: Float[Tensor, "vertices 3"]
    """Meters."""
    cameras: Cameras
    """The one camera of the photo."""
    focal: float
    """Pixels."""
    yaw: float
    """Degrees by which the head is turned to its left, seen from the camera."""
    landmarks: Float[Tensor, "68 2"]
    """Those that were fitted, pixels: the given ones, but for eyes and jaws that the photo shows elsewhere."""
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

    Shape and expression are held by priors; unless the focal length is known, the head is believed to be about 85 cm
    away. Landmarks of the jaw slide along it, and over to the outline where the head is turned away.

    Args:
        model: the head.
        landmarks: iBUG 68, pixels with pixel centers at +0.5.
        width: of the photo, pixels.
        height: of the photo, pixels.
        focal: focal length in pixels, where known.
        principal_point: in pixels; the photo's middle if left out.
        image: the photo in [0, 1], in which eyes and irises are sought. Without it, or where they are hidden, the eyes
            look straight ahead.
        alpha: the person's matte, of the photo's size. The head must not stick out of it.
        bald: the head, ears and all, must also reach the matte's edge.
        shape_components: how many are fitted, in the model's order.

    Raises:
        FitError: the landmarks are no face.
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
    unknowns = FitVariables(model, guess, place, Priors(components, distance=distance, gaze=gaze is not None))
    outline = None
    if alpha is not None:
        small = comparison_cameras(guess)
        person = SignedDistance.of(alpha[0], small.width, small.height)
        landmarks = _jaw_on_person(landmarks, person, width / small.width, size)
        outline = OutlineTerm(model, {0: person}, confidence, size, bald=bald)
    vector = solve(unknowns, LandmarkTerm(model, {0: landmarks}, confidence, weight=1.0), outline, gaze)
    viewmat = torch.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = unknowns.rotation(vector), unknowns.translation(vector)
    solved = unknowns.cameras(vector)
    cameras = Cameras(viewmat[None], solved.Ks, width, height)
    parameters = unknowns.parameters(vector)
    vertices = model(parameters)
    error = (cameras.project(model.landmarks(vertices))[0, :, :2] - landmarks).norm(dim=1)
    ahead = -viewmat[2, :3]  # the direction from the head to the camera, in the head's axes
    return PhotoFit(
        parameters,
        vertices,
        cameras,
        float(solved.Ks[0, 0, 0]),
        -math.degrees(math.atan2(float(ahead[0]), float(ahead[2]))),
        landmarks,
        float(error[INNER].median()) / size,
    )


def _jaw_on_person(
    landmarks: Float[Tensor, "68 2"], person: SignedDistance, pixel: float, size: float
) -> Float[Tensor, "68 2"]:
    """The landmarks, those of the jaw that lie clearly beside the person moved to the edge: they belong to no jaw."""
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
    """The neutral head in the axes of the photo's camera, and that camera."""
    points = model.landmarks(model(model.neutral()))[INNER]
    K = torch.eye(3)
    K[:2, 2] = torch.tensor(principal_point or (width / 2, height / 2))
    if focal is None:
        # at a focal length of one, the face is as many meters away as a pixel is wide there
        unit = Cameras(torch.eye(4)[None], K[None], width, height)
        place = place_in_view(points, unit, landmarks[INNER])
        focal = PORTRAIT_DISTANCE.mean / float((place.rotation @ points.mean(0) + place.translation)[2])
    K[0, 0] = K[1, 1] = focal
    camera = Cameras(torch.eye(4)[None], K[None], width, height)
    return place_in_view(points, camera, landmarks[INNER]), camera
