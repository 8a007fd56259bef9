"""The abstract kinds. Each docstring begins with what an author writes; `instax3d.testing` has a suite for each kind.

A plugin class takes one argument, its validated config. A package announces it with a `PluginSpec`
(`instax3d.plugin`), a script or a notebook with `instax3d.register`. Records are described in `instax3d.types`.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from typing_extensions import TypeVar

from .component import C, Component
from .errors import IncompatiblePipelineError
from .headmodel import HeadModel
from .plugin import LIGHTNING, Kind, LossConfig, PluginSpec
from .types import (
    Cameras,
    Capture,
    CheckpointEvent,
    DensifyReport,
    DensifyStep,
    EvaluationContext,
    Face,
    Gaussians,
    HeadMesh,
    LossStep,
    Photo,
    Render,
    RunResult,
    RunStart,
    StageData,
    StageEvent,
    StepEvent,
    TurntableClip,
    Views,
)

L = TypeVar("L", bound=LossConfig, default=LossConfig, covariant=True)
S = TypeVar("S", Photo, Capture)


class ViewGenerator(Component[C]):
    """Turns the input into images of the whole head, with their cameras::

        # plugin.py
        PluginSpec(kind=Kind.VIEW_GENERATOR, name="mine", summary="…", needs=frozenset({"photo"}),
                   target="my_package.generator:Mine", config="my_package.config:MineConfig")

        # generator.py
        class Mine(ViewGenerator[MineConfig]):
            def generate(self, source: Photo | Capture, *, seed: int) -> Views:
                photo = self.expect(source, Photo)
                ...
                return Views(images, alpha, cameras, confidence)

    ``needs={"photo"}`` or ``needs={"capture"}`` says which input is understood.
    """

    kind: ClassVar[Kind] = Kind.VIEW_GENERATOR

    @abc.abstractmethod
    def generate(self, source: Photo | Capture, *, seed: int) -> Views:
        """Images in [0, 1] on white, with alpha and cameras; the same for the same seed.

        One of the views may be the photo itself (``photo_index``). ``confidence`` weighs each pixel's loss,
        ``provenance`` says where each pixel came from, if known. ``faces`` and ``head`` are for generators that know
        them, as they drew them; ``faces`` may stay empty: the pipeline then looks for faces.
        """

    def head_model(self) -> HeadModel | None:
        """The model of the rig of `Views.head`; None where that is not given, or has no rig."""
        return None

    def expect(self, source: Photo | Capture, kind: type[S]) -> S:
        """The source, if it is of the kind that this generator understands.

        Raises:
            IncompatiblePipelineError: it is of the other kind.
        """
        if isinstance(source, kind):
            return source
        raise IncompatiblePipelineError(
            f"{type(self).__name__} needs a {kind.__name__.lower()}, not a {type(source).__name__.lower()}; choose "
            "another view generator"
        )


class MeshPrior(Component[C]):
    """Fits a head mesh to the views, in the world of their cameras::

        # plugin.py
        PluginSpec(kind=Kind.MESH_PRIOR, name="mine", summary="…", needs=frozenset({"landmarks68"}),
                   target="my_package.prior:Mine", config="my_package.config:MineConfig")

        # prior.py
        class Mine(MeshPrior[MineConfig]):
            def fit(self, views: Views) -> HeadMesh:
                ...
                return HeadMesh(vertices, faces)

    To have a parametric model of one's own fitted, a `HeadModel` is all that is needed. A prior that finds such a
    model's parameters in another way declares ``provides={"head_model"}`` and returns the model from `head_model`.
    """

    kind: ClassVar[Kind] = Kind.MESH_PRIOR

    @abc.abstractmethod
    def fit(self, views: Views) -> HeadMesh:
        """The fitted head. ``views.faces`` holds the landmarks found in each view.

        Raises:
            FitError: no face was found in any view, or the fit failed.
        """

    def head_model(self) -> HeadModel:
        """The parametric model behind this prior.

        Raises:
            NotImplementedError: this prior has none (it does not declare ``head_model``).
        """
        raise NotImplementedError(f"{type(self).__name__} has no parametric head model")

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        if "head_model" in spec.provides and cls.head_model is MeshPrior.head_model:
            return ["it declares provides={'head_model'}, but does not implement head_model()"]
        return []


class Representation(nn.Module, Component[C]):
    """Holds the parameters of the Gaussians, and turns them into Gaussians in the world::

    # plugin.py
    PluginSpec(kind=Kind.REPRESENTATION, name="mine", summary="…",
               target="my_package.representation:Mine", config="my_package.config:MineConfig")

    # representation.py
    class Mine(Representation[MineConfig]):
        def initialize(self, mesh: HeadMesh, views: Views, *, seed: int) -> None:
            self.splats["means"] = nn.Parameter(mesh.vertices.clone())
            ...

        def gaussians(self, vertices: Float[Tensor, "vertices 3"] | None = None) -> Gaussians: ...

        def learning_rates(self) -> Mapping[str, float]:
            return {"means": 1.6e-4, ...}
    """

    kind: ClassVar[Kind] = Kind.REPRESENTATION

    splats: nn.ParameterDict
    """Per-Gaussian parameters; the first axis of each is the Gaussian. gsplat's keys: ``means``, ``quats``, ``scales``
    (logarithms), ``opacities`` (logits, [n]), ``sh0`` [n, 1, 3], ``shN`` [n, bands - 1, 3]; a representation may add
    its own, integer ones with ``requires_grad=False``. Densifiers edit it in place."""

    def __init__(self, config: C) -> None:
        nn.Module.__init__(self)
        Component.__init__(self, config)
        self.splats = nn.ParameterDict()

    @abc.abstractmethod
    def initialize(self, mesh: HeadMesh, views: Views, *, seed: int) -> None:
        """Fill ``splats`` from the fitted head and the views."""

    @abc.abstractmethod
    def gaussians(self, vertices: Float[Tensor, "vertices 3"] | None = None) -> Gaussians:
        """The Gaussians in the world; for a bound representation, on a mesh moved to ``vertices``. Differentiable."""

    @abc.abstractmethod
    def learning_rates(self) -> Mapping[str, float]:
        """Adam's initial learning rate for each trainable entry of ``splats``, in that entry's own units."""

    def regularization(self) -> Mapping[str, Float[Tensor, ""]]:
        """Weighted extra losses by name; added to the photometric loss."""
        return {}

    def binding(self) -> Int[Tensor, "n"] | None:
        """The triangle of the head mesh that each Gaussian moves with when the portrait is posed.

        By default ``splats["binding"]``, where there is one; with None each moves with the triangle nearest to it.
        """
        return self.splats["binding"].detach() if "binding" in self.splats else None


class Densifier(Component[C]):
    """Adds and removes Gaussians while they are optimized::

        # plugin.py
        PluginSpec(kind=Kind.DENSIFIER, name="mine", summary="…",
                   target="my_package.densifier:Mine", config="my_package.config:MineConfig")

        # densifier.py
        class Mine(Densifier[MineConfig]):
            def before_backward(self, step: DensifyStep) -> None:
                step.render.info["means2d"].retain_grad()

            def after_step(self, step: DensifyStep) -> DensifyReport:
                ...
                return DensifyReport(born=10, died=3)

    It keeps its own counters, and edits `DensifyStep.splats` and the optimizers together (as gsplat.strategy.ops does),
    never one without the other. ``needs={"absgrad"}`` in the spec asks the renderer for ``means2d.absgrad``.
    """

    kind: ClassVar[Kind] = Kind.DENSIFIER

    def losses(self, step: DensifyStep) -> Mapping[str, Float[Tensor, ""]]:
        """Weighted losses of its own by name, which are added to those of the config; called before `before_backward`.
        By default none."""
        return {}

    @abc.abstractmethod
    def before_backward(self, step: DensifyStep) -> None:
        """Called between forward and backward (retain gradients here)."""

    @abc.abstractmethod
    def after_step(self, step: DensifyStep) -> DensifyReport:
        """Called after the optimizers' step. Returns how many Gaussians were born and died, and why."""

    def state_dict(self) -> dict[str, Any]:
        """Counters that a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state but was given {sorted(state)}")

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        # an attribute of earlier versions, which says nothing that the spec does not
        if getattr(cls, "absgrad", False) and "absgrad" not in spec.needs:
            return ["its class has absgrad = True, which is no longer read; declare needs={'absgrad'} in its spec"]
        return []


class Renderer(Component[C]):
    """Renders Gaussians, differentiable with respect to all fields of `Gaussians`::

        # plugin.py
        PluginSpec(kind=Kind.RENDERER, name="mine", summary="…", provides=frozenset({"absgrad"}),
                   target="my_package.renderer:Mine", config="my_package.config:MineConfig")

        # renderer.py
        class Mine(Renderer[MineConfig]):
            def render(self, gaussians: Gaussians, cameras: Cameras, *, background: Float[Tensor, "3"],
                       absgrad: bool = False) -> Render:
                ...
                return Render(image, alpha, depth, info)

    One that runs on a GPU sets ``device_type = "cuda"`` and declares ``needs={"cuda"}``.
    """

    kind: ClassVar[Kind] = Kind.RENDERER

    device_type: ClassVar[str] = "cpu"
    """Where Gaussians, cameras and background must be, and where the optimization runs: ``cpu`` or ``cuda``."""

    @abc.abstractmethod
    def render(
        self,
        gaussians: Gaussians,
        cameras: Cameras,
        *,
        background: Float[Tensor, "3"],
        absgrad: bool = False,
    ) -> Render:
        """One image per camera over ``background``. With ``absgrad`` the backward pass leaves the sums of absolute
        image-plane gradients in ``info["means2d"].absgrad``."""

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        if (cls.device_type == "cuda") != ("cuda" in spec.needs):
            return [
                f"its class has device_type {cls.device_type!r}, but its spec needs {sorted(spec.needs)}; change one"
            ]
        return []


class LandmarkDetector(Component[C]):
    """Finds faces and their landmarks, and may compare identities::

        # plugin.py
        PluginSpec(kind=Kind.LANDMARK_DETECTOR, name="mine", summary="…", provides=frozenset({"landmarks68"}),
                   target="my_package.detector:Mine", config="my_package.config:MineConfig")

        # detector.py
        class Mine(LandmarkDetector[MineConfig]):
            def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
                ...
                return [Face(box, score, landmarks)]

    The spec's ``provides`` says what is found: ``landmarks68`` (`Face.landmarks`), ``points5`` and ``points478``
    (`Face.points`), ``identity`` (`descriptor`).
    """

    kind: ClassVar[Kind] = Kind.LANDMARK_DETECTOR

    @abc.abstractmethod
    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        """All faces of an RGB image, the highest-scoring first; an empty list if there is none."""

    def descriptor(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "features"]:
        """A vector whose Euclidean distance to another's tells whether both are of the same person.

        Raises:
            NotImplementedError: this detector does not compare identities (it does not declare ``identity``).
        """
        raise NotImplementedError(f"{type(self).__name__} does not compare identities")

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        if "identity" in spec.provides and cls.descriptor is LandmarkDetector.descriptor:
            return ["it declares provides={'identity'}, but does not implement descriptor()"]
        return []


class Metric(Component[C]):
    """Measures a finished portrait::

        # plugin.py
        PluginSpec(kind=Kind.METRIC, name="mine", summary="…", target="my_package.metric:Mine",
                   metric_info=(MetricInfo(name="mine", description="…", better="higher"),))

        # metric.py
        class Mine(Metric[PluginConfig]):
            def measure(self, context: EvaluationContext) -> Mapping[str, float]:
                return {"mine": float(context.rendered.mean())}

    ``metric_info`` describes each number: name, definition, unit, and which direction is better.
    """

    kind: ClassVar[Kind] = Kind.METRIC

    @abc.abstractmethod
    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        """Numbers by name. Those that this context does not allow, without a photo or ground truth, are left out.

        Raises:
            AssetError: an asset that this metric needs is not here.
            MetricError: nothing can be measured; says what is missing. After any `Instax3DError` the metric is reported
                as not measured, with the message, and the others continue.
        """


class ClipSource(Component[C]):
    """Makes turntable clips to train view generators on, for `instax3d dataset make`::

        # plugin.py
        PluginSpec(kind=Kind.CLIP_SOURCE, name="mine", summary="…",
                   target="my_package.source:Mine", config="my_package.config:MineConfig")

        # source.py
        class Mine(ClipSource[MineConfig]):
            license = "CC0-1.0"

            def make(self, index: int, *, seed: int) -> TurntableClip:
                ...
                return TurntableClip(views, elevation_deg=0.0)

    Clips are made in several processes, each with its own instance: a clip depends on the config, the seed and its
    index alone.
    """

    kind: ClassVar[Kind] = Kind.CLIP_SOURCE

    license: str = "none attached"
    """The license of the clips; recorded in the dataset."""

    def clips(self) -> int | None:
        """How many clips there are; None if more can always be made."""
        return None

    @abc.abstractmethod
    def make(self, index: int, *, seed: int) -> TurntableClip:
        """One clip, bit-identical for the same index and seed.

        Raises:
            DatasetError: it cannot be made; says which and why.
        """


class Loss(Component[L]):
    """One term of what the construction minimizes::

        # plugin.py
        PluginSpec(kind=Kind.LOSS, name="mine", summary="…",
                   target="my_package.loss:Mine", config="my_package.config:MineConfig")

        # loss.py
        class Mine(Loss[MineConfig]):
            def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
                return {"mine": (step.render.image - step.view.image).abs().mean()}

    Its options derive from `LossConfig`, whose ``weight`` is applied by the program; at 0 the loss is not called. A
    scalar called like its plugin is known by the loss's key in the config, another one by ``key.name``. A loss may hold
    networks and state; random numbers come from torch's global generators, which a resumed run restores.
    """

    kind: ClassVar[Kind] = Kind.LOSS

    def start(self, mesh: HeadMesh, views: Views, device: torch.device) -> None:
        """Called once before the first step, also of a resumed run: load networks, prepare what stays the same."""

    @abc.abstractmethod
    def __call__(self, step: LossStep) -> Mapping[str, Float[Tensor, ""]]:
        """Scalars by name, not weighted; empty where this step has nothing to add."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: tensors and plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; called after `start`."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state but was given {sorted(state)}")


class Callback(Component[C]):
    """Watches runs, as loggers and recorders do::

        # plugin.py
        PluginSpec(kind=Kind.CALLBACK, name="mine", summary="…",
                   target="my_package.callback:Mine", config="my_package.config:MineConfig")

        # callback.py
        class Mine(Callback[MineConfig]):
            def on_step(self, event: StepEvent) -> None:
                print(event.step, event.loss)

    Every method does nothing by default. It changes nothing of the run: an exception is reported once,
    after which the callback is closed and told nothing more, and the run goes on.
    """

    kind: ClassVar[Kind] = Kind.CALLBACK

    def lightning(self) -> Sequence[Any]:
        """Lightning's own callbacks and loggers (`lightning.Callback`, `lightning.pytorch.loggers.Logger`) for the
        trainer of the construction; asked for before each. A spec that declares ``provides={"lightning"}`` offers them.

        Unlike the methods below they are part of the construction: they may change it, so this plugin's code and
        options decide with those of the others whether a cached result is found again; and an exception in one of their
        hooks ends the run.
        """
        return ()

    def on_run_start(self, run: RunStart) -> None:
        """The input was read; the stages follow."""

    def on_stage(self, event: StageEvent) -> None:
        """A stage begins, is over, or was found in the cache."""

    def on_step(self, event: StepEvent) -> None:
        """A step of the construction is done."""

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """The construction's state was written."""

    def on_result(self, result: RunResult) -> None:
        """The portrait is finished and measured."""

    def close(self) -> None:
        """The run is over, also after an error: flush and close files."""

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        if (cls.lightning is not Callback.lightning) != (LIGHTNING in spec.provides):
            return [
                f"its spec provides {sorted(spec.provides)}: declare {LIGHTNING!r} there if, and only if, the class "
                "implements lightning()"
            ]
        return []


class Stage(Component[C]):
    """A stage of a researcher's own between those of the program, such as refining the views::

        # plugin.py
        PluginSpec(kind=Kind.STAGE, name="mine", summary="…", reads=("views",), makes="views",
                   target="my_package.stage:Mine", config="my_package.config:MineConfig")

        # stage.py
        class Mine(Stage[MineConfig]):
            def run(self, data: StageData) -> Views:
                assert data.views is not None
                ...
                return dataclasses.replace(data.views, images=sharper)

    It runs as soon as all is there that the spec says it reads and makes, before the next stage of the program; those
    that become possible at once run in the order of the config. Its result is cached like that of any stage. Views that
    it returns without faces are looked at again by the landmark detector; a mesh keeps its rig only where this still
    gives the same vertices.
    """

    kind: ClassVar[Kind] = Kind.STAGE

    @abc.abstractmethod
    def run(self, data: StageData) -> Views | HeadMesh | Gaussians:
        """What takes the place of what was there: of the type that the spec's ``makes`` names.

        The data stay as they are. Torch's generators were seeded, so the same input gives the same result.
        """


KINDS: Mapping[Kind, type[Component[Any]]] = {
    each.kind: each
    for each in (
        ViewGenerator,
        MeshPrior,
        Representation,
        Densifier,
        Renderer,
        LandmarkDetector,
        Metric,
        ClipSource,
        HeadModel,
        Loss,
        Callback,
        Stage,
    )
}
"""The abstract class of each kind."""
