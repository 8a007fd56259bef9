"""Fits a head to many views in their known cameras."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.errors import FitError
from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.types import Cameras, HeadMesh, Rig, Views

from .agreement import FitQuality
from .engine import solve
from .gaze import GazeTerm, gaze_term
from .initial import Placement, place_in_space, place_in_view, triangulate, widest_angle
from .landmarks import GROUP_WEIGHTS, INNER, face_size
from .outline import SignedDistance, comparison_cameras
from .single_thread import one_thread
from .terms import LandmarkTerm, OutlineTerm
from .unknowns import FitVariables, LogNormal, Priors

METER_WORLD = LogNormal(1.0, 0.02)
"""Units per meter of generated views: meters, but a generator may miss the head's size a little."""
UNKNOWN_UNITS = 1.0
"""Standard deviation of the logarithm of a capture's units, about what the landmarks tell."""
WRONG_FACE = 0.15
"""Views whose landmarks lie farther than this from where the other views put them are left out, in face sizes."""
WRONG_LANDMARK = 0.06
"""A landmark farther than this from where the other views put it is moved there, in face sizes."""
LEAST_VOTES = 3
"""Views from which it can be told which one is wrong."""
LEAST_ANGLE = 8.0
"""Degrees between two views from which places in space can be told."""
LANDMARK_WORTH = 0.5
"""In views: outlines from all sides tell the shape better than a detector, whose errors are alike in all views."""
PHOTO_WORTH = 3.0
"""What the photo's landmarks count beside those of a view that was generated from it."""
WORSE, LARGER = 1.2, 1.11
"""A head can be blown up to fill smooth hair, but then its landmarks fit this much worse or it is this much larger than
the head that leaves room for hair."""
SMALL_ERROR = 0.005
"""In face sizes; smaller landmark errors are all alike."""


@one_thread()
def fit_head(model: HeadModel, views: Views, *, shape_components: int = 30) -> HeadMesh:
    """Fit a head model to the landmarks and outlines of views.

    The landmarks of each view in which a face was found count by the view's confidence. The head must nowhere stick
    out of ``views.alpha``; the profile must meet its edge, and so must the whole head if it turns out to be bald.
    Shape and expression are held by priors. Where ``views.photo_index`` is given, the world is taken to be in meters; a
    capture has its own units, which the result tells. From a single view with a face they cannot be told and are taken
    to be meters as well.

    Args:
        model: any head model.
        views: with ``faces`` filled in.
        shape_components: how many are fitted, in the model's order.

    Returns:
        The head in the world of the cameras. ``metrics``: ``landmark_error_px`` (mean distance of brows, nose, eyes
        and mouth), ``landmark_error`` (the same in face sizes), ``outside`` (share of the head's outline that sticks
        out of the person's), ``views_with_face``, ``views_used``, ``bald``, ``single_view``.

    Raises:
        FitError: no face was found in any view.
    """
    scene = _Scene.of(model, model.neutral(), views)
    components = min(shape_components, model.shape_components)
    gaze = scene.gaze()
    beliefs = Priors(components, scale=_units(views, scene.place, len(scene.seen)), gaze=gaze is not None)
    unknowns = FitVariables(model, views.cameras, scene.place, beliefs)

    landmarks = LandmarkTerm(model, scene.seen, _landmark_trust(views), weight=LANDMARK_WORTH)
    with_hair = solve(unknowns, landmarks, scene.outline(bald=False), gaze)
    touching = solve(unknowns, landmarks, scene.outline(bald=True), gaze, with_hair)
    bald = _is_bald(scene.agreement, unknowns, with_hair, touching)
    return scene.measured(_rig(model, unknowns, touching if bald else with_hair), {"bald": float(bald)})


@one_thread()
def place_head(
    model: HeadModel,
    parameters: HeadParameters,
    views: Views,
    *,
    rotation: Float[Tensor, "3 3"] | None = None,
    gaze: bool = True,
) -> HeadMesh:
    """Place a head whose shape and expression are known in the world of the cameras, by the landmarks of the views.

    Args:
        model: any head model.
        parameters: of this model.
        views: with ``faces`` filled in; what is said at `fit_head` of their units and confidence holds here as well.
        rotation: from the head's axes to the world's, where it is known; else the landmarks tell it.
        gaze: turn the eyes by the irises that are seen, instead of leaving them as ``parameters`` have them.

    Returns:
        The head in the world of the cameras, with the metrics of `fit_head` except ``bald``.

    Raises:
        FitError: no face was found in any view.
    """
    scene = _Scene.of(model, parameters, views, rotation)
    irises = scene.gaze() if gaze else None
    beliefs = Priors(
        0,
        scale=_units(views, scene.place, len(scene.seen)),
        gaze=irises is not None,
        known=parameters,
        turned=rotation is None,
    )
    unknowns = FitVariables(model, views.cameras, scene.place, beliefs)
    landmarks = LandmarkTerm(model, scene.seen, _landmark_trust(views), weight=LANDMARK_WORTH)
    return scene.measured(_rig(model, unknowns, solve(unknowns, landmarks, None, irises)))


def mesh_from_rig(views: Views, rig: Rig) -> HeadMesh:
    """A head that someone else placed in the world of the cameras, with the metrics of `place_head`.

    Raises:
        FitError: no face was found in any view.
    """
    return _Scene.of(rig.head, rig.parameters, views).measured(rig)


@dataclass(frozen=True)
class _Scene:
    """What was seen of the head, and where to begin."""

    model: HeadModel
    views: Views
    seen: Mapping[int, Float[Tensor, "68 2"]]
    """Landmarks that agree, by view."""
    views_with_face: int
    place: Placement
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
    ) -> "_Scene":
        """``head`` is what is sought at first."""
        found = {view: face.require_landmarks68() for view, face in enumerate(views.faces) if face is not None}
        if not found:
            raise FitError("No face was found in any of the views: use views that show the face from the front.")
        size = float(torch.tensor([face_size(points) for points in found.values()]).median())
        points = model.landmarks(model(head))[INNER]
        place, seen = _place(points, views, found, size)
        if rotation is not None:
            center = place.scale * points.mean(0)
            place = Placement(rotation, place.translation + (place.rotation - rotation) @ center, place.scale)
        small = comparison_cameras(views.cameras)
        outlines = {v: SignedDistance.of(alpha[0], small.width, small.height) for v, alpha in enumerate(views.alpha)}
        return cls(model, views, seen, len(found), place, size, outlines)

    @property
    def agreement(self) -> FitQuality:
        return FitQuality(self.model, self.views, self.seen, self.outlines, self.size)

    def gaze(self) -> GazeTerm | None:
        images = {view: self.views.images[view] for view in self.seen}
        return gaze_term(self.model, images, self.seen, self.views.view_confidence, weight=LANDMARK_WORTH)

    def outline(self, *, bald: bool) -> OutlineTerm:
        return OutlineTerm(self.model, self.outlines, self.views.view_confidence, self.size, bald=bald)

    def measured(self, rig: Rig, more_metrics: Mapping[str, float] | None = None) -> HeadMesh:
        """The result, compared with what was seen."""
        model, vertices = self.model, rig.vertices(rig.parameters)
        error = self.agreement.landmark_error(vertices)
        metrics = {
            "landmark_error_px": error * self.size,
            "landmark_error": error,
            "outside": self.agreement.outside(vertices),
            "views_with_face": float(self.views_with_face),
            "views_used": float(len(self.seen)),
            "single_view": float(len(self.seen) == 1),
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


def _place(
    points: Float[Tensor, "51 3"], views: Views, found: Mapping[int, Float[Tensor, "68 2"]], size: float
) -> tuple[Placement, dict[int, Float[Tensor, "68 2"]]]:
    """Where to begin for a head with these inner landmarks, and the views whose landmarks agree with it."""
    chosen = list(found)
    cameras = views.cameras[chosen]
    pixels = torch.stack([found[view][INNER] for view in chosen])
    if widest_angle(cameras, pixels.mean(1)) < LEAST_ANGLE:
        best = max(chosen, key=lambda view: (float(views.view_confidence[view]), face_size(found[view])))
        return place_in_view(points, views.cameras[best], found[best][INNER]), {best: found[best]}
    place = place_in_space(points, GROUP_WEIGHTS[INNER], cameras, pixels)
    world = place.scale * points @ place.rotation.T + place.translation
    error = (cameras.project(world)[..., :2] - pixels).norm(dim=-1).median(1).values / size
    agreeing = error <= max(WRONG_FACE, float(error.min()))
    kept = [view for view, agrees in zip(chosen, agreeing, strict=True) if agrees]
    return place, _agreed(views.cameras[kept], {view: found[view] for view in kept}, size)


def _agreed(
    cameras: Cameras, found: Mapping[int, Float[Tensor, "68 2"]], size: float
) -> dict[int, Float[Tensor, "68 2"]]:
    """The landmarks; those that the other views contradict are put where these say."""
    if len(found) < LEAST_VOTES:
        return dict(found)
    seen = torch.stack(list(found.values()))
    shown = cameras.project(triangulate(cameras, seen[:, INNER]))[..., :2]
    wrong = (shown - seen[:, INNER]).norm(dim=-1, keepdim=True) > WRONG_LANDMARK * size
    seen[:, INNER] = torch.where(wrong, shown, seen[:, INNER])
    return dict(zip(found, seen, strict=True))


def _landmark_trust(views: Views) -> Float[Tensor, "views"]:
    """The views' confidence; the photo among generated views counts for several of them, which were made from it."""
    confidence = views.view_confidence.clone()
    if views.photo_index is not None:
        confidence[views.photo_index] *= PHOTO_WORTH
    return confidence


def _units(views: Views, place: Placement, count: int) -> LogNormal | None:
    """What is believed of the units per meter; None where they are taken as they are."""
    if views.photo_index is not None:
        return METER_WORLD
    return LogNormal(place.scale, UNKNOWN_UNITS) if count > 1 else None


def _is_bald(agreement: FitQuality, unknowns: FitVariables, with_hair: Tensor, touching: Tensor) -> bool:
    """Whether the head that meets the outline everywhere is as good as the one that leaves room for hair."""
    error = max(agreement.landmark_error(unknowns.vertices(with_hair)), SMALL_ERROR)
    larger = float(unknowns.scale(touching) / unknowns.scale(with_hair))
    vertices = unknowns.vertices(touching)
    alike = agreement.landmark_error(vertices) < WORSE * error and larger < LARGER
    return alike and agreement.has_bare_scalp(vertices)


def _rig(model: HeadModel, unknowns: FitVariables, vector: Float[Tensor, "unknowns"]) -> Rig:
    return Rig(
        model,
        unknowns.parameters(vector),
        unknowns.rotation(vector),
        unknowns.translation(vector),
        float(unknowns.scale(vector)),
    )
