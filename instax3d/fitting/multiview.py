"""Fits a head to many views with known cameras."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import FitError
from instax3d.geometry.landmarks68 import INNER
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.types import Cameras, HeadMesh, Rig, Views

from .engine import solve
from .fit_quality import FitQuality
from .gaze import GazeTerm, gaze_term
from .initial import Placement, place_in_space, place_in_view, triangulate, widest_angle
from .landmarks import GROUP_WEIGHTS, face_size
from .silhouette import SignedDistance, comparison_cameras
from .single_thread import one_thread
from .terms import LandmarkTerm, OutlineTerm
from .variables import FitVariables, LogNormal, Priors

GENERATED_UNITS = LogNormal(1.0, 0.02)
"""Units per meter of generated views: meters, but a generator may get the head's size a little wrong."""
UNKNOWN_UNITS = 1.0
"""Standard deviation of the logarithm of a capture's units per meter, about the estimate by the landmarks."""
WRONG_FACE = 0.15
"""Views whose landmarks lie farther than this from where the other views put them are left out, in face sizes."""
WRONG_LANDMARK = 0.06
"""A landmark farther than this from where the other views put it is moved there, in face sizes."""
MIN_VOTES = 3
"""Views among which a wrong one can be recognized."""
MIN_ANGLE_DEG = 8.0
"""Degrees between two views from which points can be triangulated."""
LANDMARK_WEIGHT = 0.5
"""In views: outlines from all sides show the shape better than a detector, which makes the same errors in all views."""
PHOTO_WEIGHT = 3.0
"""Of the photo's landmarks, relative to those of a view that was generated from it."""
WORSE, LARGER = 1.2, 1.11
"""A head can be enlarged until it fills smooth hair, but then its landmarks fit this much worse, or it is this much
larger, than the head that leaves room for hair."""
SMALL_ERROR = 0.005
"""In face sizes; smaller landmark errors count as equal."""
SHAPE_COMPONENTS = 30
"""How many are fitted of a model that recommends no number."""


@one_thread()
def fit_head(model: HeadModel, views: Views, *, shape_components: int | None = None) -> HeadMesh:
    """Fit a head model to the landmarks and outlines of views.

    The landmarks of each view with a detected face are weighted by the view's confidence. The head must not stick out
    of ``views.alpha``; its profile must meet the edge of it, and so must the whole head if it turns out to be bald.
    Shape and expression have priors. With ``views.photo_index`` the world is taken to be in meters; a capture has its
    own units, which the result gives. With a single view with a face they cannot be known and are taken to be meters.

    Where ``views.head`` is such a model's head already, as the generator drew it, it is the result: a head that is
    fitted again to its own pictures only gets less exact. Its landmarks are compared with the photo's alone.

    Args:
        model: any head model.
        views: with ``faces`` filled in.
        shape_components: how many are fitted, in the model's order, at most all; None: as many as the model recommends
            (`HeadModel.fitted_components`), or 30 where it does not. A number has the head fitted in any case.

    Returns:
        The head in the world of the cameras. ``metrics``: ``landmark_error_px`` (mean distance of brows, nose, eyes
        and mouth), ``landmark_error`` (the same in face sizes), ``outside`` (share of the head's outline that sticks
        out of the person's), ``views_with_face``, ``views_used``, ``bald`` (if it was fitted), ``single_view``,
        ``known`` (1 if it was not).

    Raises:
        FitError: no face was found in any view.
    """
    rig = views.head.rig if views.head is not None and shape_components is None else None
    if rig is not None and model.shares_parameters_with(rig.head):
        return _known_head(rig, views)
    observed = _Observations.of(model, model.neutral(), views)
    components = min(shape_components or model.fitted_components or SHAPE_COMPONENTS, model.shape_components)
    gaze = observed.gaze()
    priors = Priors(
        components, scale=_units_prior(views, observed.placement, len(observed.landmarks)), gaze=gaze is not None
    )
    variables = FitVariables(model, views.cameras, observed.placement, priors)

    landmarks = LandmarkTerm(model, observed.landmarks, _landmark_confidence(views), weight=LANDMARK_WEIGHT)
    with_hair = solve(variables, landmarks, observed.outline(bald=False), gaze)
    bald = solve(variables, landmarks, observed.outline(bald=True), gaze, with_hair)
    is_bald = _is_bald(observed.quality, variables, with_hair, bald)
    return observed.mesh(_rig(model, variables, bald if is_bald else with_hair), {"bald": float(is_bald)})


@one_thread()
def place_head(
    model: HeadModel,
    parameters: HeadParameters,
    views: Views,
    *,
    rotation: Float[Tensor, "3 3"] | None = None,
    gaze: bool = True,
) -> HeadMesh:
    """Place a head of known shape and expression in the world of the cameras, by the landmarks of the views.

    Args:
        model: any head model.
        parameters: of this model.
        views: with ``faces`` filled in; units and confidence as in `fit_head`.
        rotation: from the head's axes to the world's; None estimates it from the landmarks.
        gaze: turn the eyes to the irises in the images, instead of leaving them as in ``parameters``.

    Returns:
        The head in the world of the cameras, with the metrics of `fit_head` except ``bald``.

    Raises:
        FitError: no face was found in any view.
    """
    observed = _Observations.of(model, parameters, views, rotation)
    irises = observed.gaze() if gaze else None
    priors = Priors(
        0,
        scale=_units_prior(views, observed.placement, len(observed.landmarks)),
        gaze=irises is not None,
        known=parameters,
        fit_rotation=rotation is None,
    )
    variables = FitVariables(model, views.cameras, observed.placement, priors)
    landmarks = LandmarkTerm(model, observed.landmarks, _landmark_confidence(views), weight=LANDMARK_WEIGHT)
    return observed.mesh(_rig(model, variables, solve(variables, landmarks, None, irises)))


def mesh_from_rig(views: Views, rig: Rig) -> HeadMesh:
    """The mesh of a head that is already placed in the world of the cameras, with the metrics of `place_head`.

    Raises:
        FitError: no face was found in any view.
    """
    return _Observations.of(rig.head, rig.parameters, views).mesh(rig)


def _known_head(rig: Rig, views: Views) -> HeadMesh:
    """The mesh of the head that the generator drew, measured at the photo's face: only that one was not drawn by it."""
    photo = views.photo_index
    if photo is not None and views.faces and views.faces[photo] is not None:
        alone = [face if view == photo else None for view, face in enumerate(views.faces)]
        views = replace(views, faces=tuple(alone))
    return _Observations.of(rig.head, rig.parameters, views).mesh(rig, {"single_view": 0.0, "known": 1.0})


@dataclass(frozen=True, eq=False)
class _Observations:
    """What the views show of the head, and its initial placement."""

    model: HeadModel
    views: Views
    landmarks: Mapping[int, Float[Tensor, "68 2"]]
    """That agree with each other, by view; pixels."""
    views_with_face: int
    placement: Placement
    size: float
    """Of a face, in pixels."""
    outlines: Mapping[int, SignedDistance]

    @classmethod
    def of(
        cls,
        model: HeadModel,
        head: HeadParameters,
        views: Views,
        rotation: Float[Tensor, "3 3"] | None = None,
    ) -> "_Observations":
        """``head`` is the head to begin with.

        Raises:
            FitError: no face was found in any view.
        """
        detected = {view: face.require_landmarks68() for view, face in enumerate(views.faces) if face is not None}
        if not detected:
            raise FitError("No face was found in any of the views: use views that show the face from the front.")
        size = float(torch.tensor([face_size(points) for points in detected.values()]).median())
        points = model.landmarks(model(head))[INNER]
        placement, landmarks = _initial_placement(points, views, detected, size)
        if rotation is not None:
            center = placement.scale * points.mean(0)
            translation = placement.translation + (placement.rotation - rotation) @ center
            placement = Placement(rotation, translation, placement.scale)
        small = comparison_cameras(views.cameras)
        outlines = {
            view: SignedDistance.of(alpha[0], small.width, small.height) for view, alpha in enumerate(views.alpha)
        }
        return cls(model, views, landmarks, len(detected), placement, size, outlines)

    @property
    def quality(self) -> FitQuality:
        """Measures heads against the observations."""
        return FitQuality(self.model, self.views, self.landmarks, self.outlines, self.size)

    def gaze(self) -> GazeTerm | None:
        """The irises in the images; None where there are none."""
        images = {view: self.views.images[view] for view in self.landmarks}
        return gaze_term(self.model, images, self.landmarks, self.views.view_confidence, weight=LANDMARK_WEIGHT)

    def outline(self, *, bald: bool) -> OutlineTerm:
        """The person's outline, which a ``bald`` head must meet everywhere."""
        return OutlineTerm(self.model, self.outlines, self.views.view_confidence, self.size, bald=bald)

    def mesh(self, rig: Rig, more_metrics: Mapping[str, float] | None = None) -> HeadMesh:
        """The rig's mesh with the metrics of its fit."""
        model, vertices = self.model, rig.vertices(rig.parameters)
        error = self.quality.landmark_error(vertices)
        metrics = {
            "landmark_error_px": error * self.size,
            "landmark_error": error,
            "outside": self.quality.outside(vertices),
            "views_with_face": float(self.views_with_face),
            "views_used": float(len(self.landmarks)),
            "single_view": float(len(self.landmarks) == 1),
            **(more_metrics or {}),
        }
        return HeadMesh(
            vertices,
            model.faces,
            landmarks=model.landmarks(vertices),
            regions=model.regions,
            rig=rig,
            axes=rig.rotation,
            units_per_meter=rig.scale,
            metrics=metrics,
        )


def _initial_placement(
    points: Float[Tensor, "51 3"], views: Views, detected: Mapping[int, Float[Tensor, "68 2"]], size: float
) -> tuple[Placement, dict[int, Float[Tensor, "68 2"]]]:
    """The placement of a head with these inner landmarks (meters), and the landmarks that agree with it, by view."""
    indices = list(detected)
    cameras = views.cameras[indices]
    pixels = torch.stack([detected[view][INNER] for view in indices])
    if widest_angle(cameras, pixels.mean(1)) < MIN_ANGLE_DEG:
        best = max(indices, key=lambda view: (float(views.view_confidence[view]), face_size(detected[view])))
        return place_in_view(points, views.cameras[best], detected[best][INNER]), {best: detected[best]}
    placement = place_in_space(points, GROUP_WEIGHTS[INNER], cameras, pixels)
    world = placement.scale * points @ placement.rotation.T + placement.translation
    error = (cameras.project(world)[..., :2] - pixels).norm(dim=-1).median(1).values / size
    agreeing = error <= max(WRONG_FACE, float(error.min()))
    kept = [view for view, agrees in zip(indices, agreeing, strict=True) if agrees]
    return placement, _without_outliers(views.cameras[kept], {view: detected[view] for view in kept}, size)


def _without_outliers(
    cameras: Cameras, detected: Mapping[int, Float[Tensor, "68 2"]], size: float
) -> dict[int, Float[Tensor, "68 2"]]:
    """The landmarks; those that the other views contradict are moved to where these put them."""
    if len(detected) < MIN_VOTES:
        return dict(detected)
    pixels = torch.stack(list(detected.values()))
    projected = cameras.project(triangulate(cameras, pixels[:, INNER]))[..., :2]
    wrong = (projected - pixels[:, INNER]).norm(dim=-1, keepdim=True) > WRONG_LANDMARK * size
    pixels[:, INNER] = torch.where(wrong, projected, pixels[:, INNER])
    return dict(zip(detected, pixels, strict=True))


def _landmark_confidence(views: Views) -> Float[Tensor, "views"]:
    """The views' confidence; the photo counts for several of the views that were generated from it."""
    confidence = views.view_confidence.clone()
    if views.photo_index is not None:
        confidence[views.photo_index] *= PHOTO_WEIGHT
    return confidence


def _units_prior(views: Views, placement: Placement, count: int) -> LogNormal | None:
    """Prior of the units per meter; None keeps those of the placement. ``count``: views with landmarks."""
    if views.photo_index is not None:
        return GENERATED_UNITS
    return LogNormal(placement.scale, UNKNOWN_UNITS) if count > 1 else None


def _is_bald(
    quality: FitQuality,
    variables: FitVariables,
    with_hair: Float[Tensor, "variables"],
    bald: Float[Tensor, "variables"],
) -> bool:
    """Whether the head that meets the outline everywhere is as good as the one that leaves room for hair."""
    error = max(quality.landmark_error(variables.vertices(with_hair)), SMALL_ERROR)
    larger = float(variables.scale(bald) / variables.scale(with_hair))
    vertices = variables.vertices(bald)
    as_good = quality.landmark_error(vertices) < WORSE * error and larger < LARGER
    return as_good and quality.has_bare_scalp(vertices)


def _rig(model: HeadModel, variables: FitVariables, vector: Float[Tensor, "variables"]) -> Rig:
    return Rig(
        model,
        variables.parameters(vector),
        variables.rotation(vector),
        variables.translation(vector),
        float(variables.scale(vector)),
    )
