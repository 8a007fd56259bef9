"""What each stage does: the functions that `PipelineStage.target` names, and how what they make is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from instax3d.errors import BrokenPluginError
from instax3d.headmodel import HeadModel
from instax3d.interfaces import LandmarkDetector, MeshPrior, ViewGenerator
from instax3d.io.artifacts import (
    Artifact,
    pack_gaussians,
    pack_mesh,
    pack_views,
    quantized,
    unpack_gaussians,
    unpack_mesh,
    unpack_views,
)
from instax3d.io.images import to_uint8
from instax3d.plugin import Datum, Kind
from instax3d.types import Capture, DensifyReport, Gaussians, HeadMesh, Photo, StageData, Views

from .records import PipelineStage
from .run import Run


@dataclass(frozen=True, eq=False)
class Construction:
    """Gaussians, and what is known of their construction."""

    gaussians: Gaussians
    losses: Mapping[str, float]
    """Of the last step."""
    densified: DensifyReport
    """What the densifier did in all steps."""
    binding: Int[Tensor, "n"] | None = None
    """The triangle of the mesh that each moves with; see `Representation.binding`."""

    def with_gaussians(self, gaussians: Gaussians) -> "Construction":
        """Other Gaussians in place of these, made from them by a stage; bound alike if there are as many."""
        binding = self.binding if len(gaussians) == len(self.gaussians) else None
        return replace(self, gaussians=gaussians.detach(), binding=binding)


@dataclass(frozen=True, eq=False)
class Made:
    """What the stages of a run have made so far."""

    source: Photo | Capture
    parts: Mapping[Datum, Any] = field(default_factory=dict)
    """`Views`, `HeadMesh` and `Construction`, as far as they are made."""

    @property
    def views(self) -> Views:
        """As the last stage left them that makes views."""
        views: Views = self.parts["views"]
        return views

    @property
    def mesh(self) -> HeadMesh:
        """As the last stage left it that makes a mesh."""
        mesh: HeadMesh = self.parts["mesh"]
        return mesh

    @property
    def construction(self) -> Construction:
        """As the last stage left it that makes Gaussians."""
        construction: Construction = self.parts["gaussians"]
        return construction

    def with_part(self, datum: Datum, part: Any) -> "Made":
        """The same with a part that was made anew; Gaussians are not bound to a mesh of other triangles."""
        parts = {**self.parts, datum: part}
        if datum == "mesh" and "gaussians" in parts and not torch.equal(part.faces, self.mesh.faces):
            parts["gaussians"] = replace(self.construction, binding=None)
        return replace(self, parts=parts)

    def seen_by(self, stage: PipelineStage, seed: int) -> StageData:
        """What a plugin's stage may read."""
        parts = {name: self.parts[name] for name in stage.reads}
        if "gaussians" in parts:
            parts["gaussians"] = self.construction.gaussians
        return StageData(self.source, seed, **parts)


def generate(run: Run, stage: PipelineStage, made: Made) -> Views:
    """The views, with a face in each that shows one.

    Raises:
        BrokenPluginError: the generator gives a head of a model that it does not tell of.
    """
    generator: ViewGenerator[Any] = run.config.build(ViewGenerator)
    views = generator.generate(made.source, seed=run.config.seed)
    if _of_another_model(views, generator.head_model()):
        choice = run.config.choices[Kind.VIEW_GENERATOR]
        raise BrokenPluginError(
            f"view_generator {choice.entry.spec.name!r} from {choice.entry.provider} returned a head with the rig of a "
            "model that its head_model() does not return; return that model there, or leave the rig out (rig=None)"
        )
    return completed(views, run.detector)


def _of_another_model(views: Views, model: HeadModel | None) -> bool:
    """Whether the views' head has the rig of another model than this one."""
    rig = None if views.head is None else views.head.rig
    return rig is not None and (model is None or not rig.head.shares_parameters_with(model))


def completed(views: Views, detector: LandmarkDetector[Any]) -> Views:
    """Views as they are stored, with the faces that the detector finds, where they have none yet."""
    views = quantized(views)
    return views if views.faces else with_faces(views, detector)


def with_faces(views: Views, detector: LandmarkDetector[Any]) -> Views:
    """The views with the highest-scoring face that the detector finds in each of them."""
    detections = (detector.detect(to_uint8(image)) for image in views.images)
    return replace(views, faces=tuple(faces[0] if faces else None for faces in detections))


def fit_prior(run: Run, stage: PipelineStage, made: Made) -> HeadMesh:
    """The head that is fitted to the views."""
    prior: MeshPrior[Any] = run.config.build(MeshPrior)
    return prior.fit(made.views)


def run_plugin(run: Run, stage: PipelineStage, made: Made) -> Views | HeadMesh | Construction:
    """What a stage of a plugin makes.

    Raises:
        BrokenPluginError: it is of another type than the plugin's spec says, or does not fit what was there.
    """
    assert stage.plugin is not None
    result = stage.plugin.build().run(made.seen_by(stage, run.config.seed))
    record = _RECORDS[stage.makes]
    if not isinstance(result, record):
        raise _broken(stage, f"says that it makes {stage.makes}, but run() returned {type(result).__name__}")
    if isinstance(result, Views):
        if len(result.faces) not in (0, len(result)):
            raise _broken(stage, f"returned {len(result)} views with {len(result.faces)} faces; give one for each")
        if _of_another_model(result, _head_of_views(run)()):
            raise _broken(stage, "returned views with the rig of another head model; leave the rig out (rig=None)")
        return completed(result, run.detector)
    if isinstance(result, HeadMesh):
        if result.rig is not None and (made.mesh.rig is None or result.rig.head is not made.mesh.rig.head):
            raise _broken(stage, "returned a mesh with the rig of another head model; leave the rig out (rig=None)")
        return result
    return made.construction.with_gaussians(result)


_RECORDS: Mapping[Datum, type[Any]] = {"views": Views, "mesh": HeadMesh, "gaussians": Gaussians}
"""What a plugin's stage returns."""


def _broken(stage: PipelineStage, problem: str) -> BrokenPluginError:
    assert stage.plugin is not None
    return BrokenPluginError(f"{stage.name} from {stage.plugin.entry.provider} {problem}")


@dataclass(frozen=True)
class Form:
    """How a part of what is made is kept in the cache."""

    pack: Callable[[Any], Artifact]
    unpack: Callable[[Artifact, Run], Any]


def _head_of_views(run: Run) -> Callable[[], HeadModel | None]:
    generator: ViewGenerator[Any] = run.config.build(ViewGenerator)
    return generator.head_model


def _head_of_mesh(run: Run) -> Callable[[], HeadModel]:
    prior: MeshPrior[Any] = run.config.build(MeshPrior)
    return prior.head_model


FORMS: Mapping[Datum, Form] = {
    "views": Form(pack_views, lambda stored, run: unpack_views(stored, _head_of_views(run))),
    "mesh": Form(pack_mesh, lambda stored, run: unpack_mesh(stored, _head_of_mesh(run))),
    "gaussians": Form(
        lambda made: pack_gaussians(made.gaussians, made.losses, made.densified, made.binding),
        lambda stored, run: Construction(*unpack_gaussians(stored)),
    ),
}
"""Of each part, whichever stage made it."""
