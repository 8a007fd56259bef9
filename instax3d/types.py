"""The frozen records that pass between the stages.

World: y up, the face looks along +z, x to the subject's left; meters unless a capture brings its own units. Cameras:
OpenCV axes (x right, y down, z forward), world-to-camera matrices, intrinsics in pixels with pixel centers at +0.5, as
in gsplat. Quaternions are wxyz. Colors are sRGB in [0, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from .errors import FitError
from .headmodel import HeadModel, HeadParameters

FIVE_POINTS = "five"
"""A scheme of `Face.points`: middles of the right and the left eye, tip of the nose, right and left corner of the mouth
(the subject's right is left in the image)."""
FRONT_DEG = 40.0
"""Azimuth, degrees, up to which detectors can be expected to find a face."""
MEDIAPIPE_POINTS = "mediapipe478"
"""A scheme of `Face.points`: MediaPipe's face mesh of 468 points, then five of each iris."""


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face, in pixels of its image."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom."""
    score: float
    """The detector's own confidence; larger is more certain."""
    landmarks: Float[Tensor, "68 2"] | None = None
    """iBUG 68 order; None if the detector finds only ``points``."""
    points: Mapping[str, Float[Tensor, "_ 2"]] = field(default_factory=dict)
    """Other points by scheme: `FIVE_POINTS`, `MEDIAPIPE_POINTS`, or a plugin's own."""

    def require_landmarks68(self) -> Float[Tensor, "68 2"]:
        """The 68 landmarks, for code that cannot do without.

        Raises:
            FitError: the face has none.
        """
        if self.landmarks is None:
            raise FitError(
                "this face has no 68 landmarks, which are needed here; choose a landmark detector that finds them, "
                "such as landmark_detector=dlib"
            )
        return self.landmarks


@runtime_checkable
class FaceDetector(Protocol):
    """What `instax3d.interfaces.LandmarkDetector` offers to a metric."""

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        """All faces of an RGB image, the highest-scoring first."""

    def descriptor(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "features"]:
        """A vector whose Euclidean distance to another's tells whether both are of the same person.

        Raises:
            NotImplementedError: the detector does not compare identities.
        """


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that passed the quality check: upright, RGB, with the face of its subject."""

    image: Float[Tensor, "3 h w"]
    """sRGB in [0, 1]; on white if it has ``alpha``."""
    alpha: Float[Tensor, "1 h w"] | None
    """The file's own transparency, or None."""
    face: Face
    name: str = "photo"
    focal: float | None = None
    """Focal length in pixels of ``image``, if the file's EXIF states it."""
    notes: tuple[str, ...] = ()
    """What the quality check decided and the user should know, one sentence each."""


@dataclass(frozen=True, eq=False)
class Cameras:
    """Pinhole cameras of one image size."""

    viewmats: Float[Tensor, "views 4 4"]
    """World to camera, OpenCV axes."""
    Ks: Float[Tensor, "views 3 3"]
    width: int
    height: int
    names: tuple[str, ...] = ()
    """File name of each frame, if the cameras come from a file."""

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> "Cameras":
        """The cameras at an index, slice, list or mask; an int gives a batch of one."""
        indices = torch.arange(len(self))[index].reshape(-1)
        names = tuple(self.names[i] for i in indices.tolist()) if self.names else ()
        return replace(self, viewmats=self.viewmats[indices], Ks=self.Ks[indices], names=names)

    @property
    def centers(self) -> Float[Tensor, "views 3"]:
        """Camera centers in the world."""
        rotation, translation = self.viewmats[:, :3, :3], self.viewmats[:, :3, 3]
        return -(rotation.transpose(1, 2) @ translation[..., None])[..., 0]

    def to(self, device: torch.device | str) -> "Cameras":
        return replace(self, viewmats=self.viewmats.to(device), Ks=self.Ks.to(device))

    def scaled(self, factor: float) -> "Cameras":
        """The same cameras for images ``factor`` times as large (sizes rounded)."""
        width, height = round(self.width * factor), round(self.height * factor)
        scale = torch.tensor(
            [width / self.width, height / self.height, 1.0], dtype=self.Ks.dtype, device=self.Ks.device
        )
        return replace(self, Ks=self.Ks * scale[:, None], width=width, height=height)

    def project(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "views n 3"]:
        """Pixel x, pixel y and depth of world points in every camera. Differentiable."""
        at = points @ self.viewmats[:, :3, :3].transpose(1, 2) + self.viewmats[:, None, :3, 3]
        depth = at[..., 2:]
        safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
        pixels = (at @ self.Ks.transpose(1, 2))[..., :2] / safe
        return torch.cat([pixels, depth], -1)


@dataclass(frozen=True, eq=False)
class TrueSurface:
    """The scanned surface of a captured head, in the world of the capture's cameras."""

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"] | None = None
    """None for a point cloud."""


@dataclass(frozen=True, eq=False)
class Capture:
    """A folder of posed frames, read but not yet loaded."""

    folder: Path
    cameras: Cameras
    files: tuple[Path, ...]
    """One image file per camera."""
    test_cameras: Cameras | None = None
    test_files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user should know about the frames, one sentence each."""
    surface: TrueSurface | None = None
    """The true head's surface, if the folder has one; the ground truth of metrics."""


@dataclass(frozen=True, eq=False)
class Views:
    """Images of one head from known cameras."""

    images: Float[Tensor, "views 3 h w"]
    """sRGB in [0, 1] on white."""
    alpha: Float[Tensor, "views 1 h w"]
    cameras: Cameras
    confidence: Float[Tensor, "views 1 h w"]
    """Reliability of each pixel, background included, in [0, 1]: 1 in a photograph, less where generated. Construction
    multiplies each pixel's loss by it."""
    photo_index: int | None = None
    """The view that is the photo; None in a capture, where every view is one."""
    faces: tuple[Face | None, ...] = ()
    """The face found in each view, filled in by the pipeline before a prior is fitted."""
    provenance: Float[Tensor, "views 3 h w"] | None = None
    """Shares of each pixel that were seen in the photo, mirrored from its other side, and guessed; they sum to 1. None
    if the generator does not record them."""
    head: "HeadMesh | None" = None
    """The head in the views' world, where the generator knows it: a prior over the same head model need not fit it
    again."""

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def view_confidence(self) -> Float[Tensor, "views"]:
        """The mean confidence over the person in each view; over the whole view if it shows nobody."""
        share = self.alpha + 1e-6
        return (self.confidence * share).sum((1, 2, 3)) / share.sum((1, 2, 3))


@dataclass(frozen=True, eq=False)
class TurntableClip:
    """A clip of one head that turns: views in the order of `instax3d.datasets.AZIMUTHS_DEG`, the input view last."""

    views: Views
    elevation_deg: float
    """Of all cameras; positive above."""
    about: Mapping[str, str | float] = field(default_factory=dict)
    """Attributes by which a user may want to select clips."""


@dataclass(frozen=True, eq=False)
class Rig:
    """What makes a head mesh move: the head model, its fitted parameters, and the head's place in the world."""

    head: HeadModel
    parameters: HeadParameters
    """Of this model; they do not transfer to others."""
    rotation: Float[Tensor, "3 3"]
    """From the head's axes to the world's."""
    translation: Float[Tensor, "3"]
    """The head's origin in the world."""
    scale: float
    """World units per meter."""

    def vertices(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
        """World-space vertices for changed parameters. Differentiable."""
        return self.scale * self.head(parameters) @ self.rotation.T + self.translation


@dataclass(frozen=True, eq=False)
class HeadMesh:
    """A head fitted to views, placed in their world."""

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]
    """Counter-clockwise seen from outside."""
    landmarks: Float[Tensor, "68 3"] | None = None
    regions: Mapping[str, Bool[Tensor, "vertices"]] = field(default_factory=dict)
    rig: Rig | None = None
    axes: Float[Tensor, "3 3"] | None = None
    """Columns: the head's left, up and front in the world; None if they are the world's x, y and z."""
    units_per_meter: float = 1.0
    """Length of a meter in the world of the cameras (not 1 if a capture has its own units)."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Diagnostics of the fit, for the run's manifest."""


@dataclass(frozen=True, eq=False)
class Gaussians:
    """3D Gaussians in the world, after all activations."""

    means: Float[Tensor, "n 3"]
    quats: Float[Tensor, "n 4"]
    """wxyz; need not be normalized."""
    scales: Float[Tensor, "n 3"]
    """Standard deviations along the axes, positive."""
    opacities: Float[Tensor, "n"]
    """In [0, 1]."""
    sh: Float[Tensor, "n bands 3"]
    """Spherical harmonics in gsplat's order; color = max(0.5 + sum, 0)."""

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def sh_degree(self) -> int:
        return int(self.sh.shape[1] ** 0.5) - 1

    def detach(self) -> "Gaussians":
        return Gaussians(*(part.detach() for part in self._parts()))

    def to(self, device: torch.device | str) -> "Gaussians":
        return Gaussians(*(part.to(device) for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.means, self.quats, self.scales, self.opacities, self.sh


@dataclass(frozen=True, eq=False)
class Render:
    """What a renderer returns for a batch of cameras."""

    image: Float[Tensor, "views 3 h w"]
    alpha: Float[Tensor, "views 1 h w"]
    depth: Float[Tensor, "views 1 h w"]
    """Expected depth along the camera's z, 0 where nothing is seen; without gradient unless the renderer says so."""
    info: Mapping[str, Any]
    """gsplat's names and meanings: ``means2d`` [views, n, 2] (``.grad`` after backward, and ``.absgrad`` where it was
    asked for), ``radii`` [views, n, 2] (0 where culled), ``gaussian_ids`` (None), ``width``, ``height``,
    ``n_cameras``."""


@dataclass(frozen=True, eq=False)
class EvaluationContext:
    """All that a metric may use of a finished portrait. New fields get defaults, so that old plugins keep working."""

    gaussians: Gaussians
    mesh: HeadMesh
    views: Views
    """The views it was made from."""
    rendered: Float[Tensor, "views 3 h w"]
    """The portrait from the cameras of the views, in [0, 1] on white."""
    turntable_cameras: Cameras
    """A turn about the head in even steps, the first from straight in front."""
    render: Callable[[Cameras], Float[Tensor, "_ 3 _ _"]]
    """Draws the portrait from any cameras, in [0, 1] on white."""
    detector: FaceDetector
    """The run's landmark detector."""
    photo: Photo | None = None
    test_images: Float[Tensor, "tests 3 high wide"] | None = None
    """Held-out frames of a capture."""
    test_rendered: Float[Tensor, "tests 3 high wide"] | None = None
    """The portrait from their cameras."""
    test_cameras: Cameras | None = None
    """The cameras of the held-out frames."""
    surface: TrueSurface | None = None
    """The true surface of the head, in the portrait's world."""

    @cached_property
    def turntable(self) -> Float[Tensor, "frames 3 size size"]:
        """The portrait from `turntable_cameras`; drawn when a metric first asks for it."""
        return self.render(self.turntable_cameras)

    @property
    def front(self) -> list[int]:
        """The frames of the turn that are at most `FRONT_DEG` from the front."""
        count = len(self.turntable_cameras)
        return [frame for frame in range(count) if min(frame, count - frame) * 360 / count <= FRONT_DEG]


@dataclass(frozen=True, eq=False)
class DensifyStep:
    """All that a densifier may use and change. New fields get defaults, so that old plugins keep working."""

    step: int
    """Counted from 0."""
    splats: torch.nn.ParameterDict
    """The representation's parameters, edited in place; the first axis of each is the Gaussian."""
    optimizers: Mapping[str, torch.optim.Optimizer]
    """One per trainable entry of ``splats``, keyed alike."""
    render: Render
    gaussians: Gaussians
    """The world-space Gaussians that were rendered: their sizes are lengths, whatever the parameters hold."""
    scene_scale: float = 1.0
    """3DGS's scene extent in world units: 1.1 times the largest distance of a camera from the cameras' mean."""
    total_steps: int = 0


@dataclass(frozen=True)
class DensifyReport:
    """What a densifier did in one step."""

    born: int = 0
    died: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """How many by what was done to them, in the densifier's words: ``cloned``, ``split``, ``faint``, … Where there are
    any, each that was born or died counts for one; others, such as ``relocated``, may count what did neither."""

    def __add__(self, other: "DensifyReport") -> "DensifyReport":
        """Both steps together."""
        reasons = dict(self.reasons)
        for reason, count in other.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
        return DensifyReport(self.born + other.born, self.died + other.died, reasons)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which ``DensifyReport(**values)`` reads back."""
        return {"born": self.born, "died": self.died, "reasons": dict(self.reasons)}


@dataclass(frozen=True, eq=False)
class TrainingView:
    """One view at the resolution of a step."""

    image: Float[Tensor, "1 3 h w"]
    alpha: Float[Tensor, "1 1 h w"]
    camera: Cameras
    """One camera."""
    confidence: Float[Tensor, "1 1 h w"] | None
    """None where it is 1 everywhere."""

    def to(self, device: torch.device) -> "TrainingView":
        confidence = None if self.confidence is None else self.confidence.to(device)
        return TrainingView(self.image.to(device), self.alpha.to(device), self.camera.to(device), confidence)


@dataclass(frozen=True, eq=False)
class LossStep:
    """All that a loss may look at in one step. New fields get defaults, so that old plugins keep working."""

    step: int
    """Counted from 0."""
    total_steps: int
    view_index: int
    """Which of the views the step compares with."""
    view: TrainingView
    """What the render should look like."""
    render: Render
    """Of the view's camera over white; differentiable."""
    gaussians: Gaussians
    """The Gaussians that were rendered; differentiable."""
    splats: torch.nn.ParameterDict
    """The representation's parameters."""
    draw: Callable[[Cameras], Render]
    """Renders these Gaussians from other cameras, differentiable; for losses that compare views of their own."""

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1): for schedules."""
        return self.step / self.total_steps


@dataclass(frozen=True, eq=False)
class RunStart:
    """What callbacks hear first."""

    name: str
    """Of the photo's file or the capture's folder."""
    source: str
    """``photo`` or ``capture``."""
    config: Mapping[str, Any]
    """All options of the run, plain values."""
    device: str
    stages: tuple[str, ...]
    """The stages that will follow, in order."""


@dataclass(frozen=True)
class StageEvent:
    """A stage begins, is over, or is not run as its result was found."""

    stage: str
    status: Literal["started", "done", "reused"]
    seconds: float | None = None
    """That it took; None when it starts. Of a reused stage those that it once took."""


@dataclass(frozen=True, eq=False)
class StepEvent:
    """One step of the construction is done."""

    step: int
    """Counted from 0."""
    total_steps: int
    loss: float
    losses: Mapping[str, float]
    """Weighted, by name, see `Loss`; they sum to ``loss``."""
    psnr: float | None
    """Of the step's view at the step's resolution; None in most steps, as it costs time."""
    gaussians: int
    report: DensifyReport
    """What the densifier did in this step."""
    current: Callable[[], Gaussians]
    """The Gaussians after the step, without gradients."""
    draw: Callable[[Cameras], Render]
    """Renders them, without gradients."""
    views: Views
    """What they should look like."""
    so_far: DensifyReport = field(default_factory=DensifyReport)
    """What the densifier did in all steps until now."""


@dataclass(frozen=True)
class CheckpointEvent:
    """The construction's state was written, so that it can be resumed."""

    path: Path
    step: int
    """Steps that are done."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """The portrait is finished and measured."""

    manifest: Mapping[str, Any]
    """As ``run.json`` will hold it."""
    context: EvaluationContext
    """The portrait, what it was made from, and a way to render it."""


@dataclass(frozen=True, eq=False)
class StageData:
    """What the stages before a stage made; what the stage does not say it reads is None."""

    source: Photo | Capture
    seed: int
    views: Views | None = None
    mesh: HeadMesh | None = None
    gaussians: Gaussians | None = None
