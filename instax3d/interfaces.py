"""The abstract kinds. Each docstring begins with what an author writes; `instax3d.testing` has a suite for each kind.

A plugin class takes one argument, its validated config. A package announces it with a `PluginSpec`
(`instax3d.plugin`), a script or a notebook with `instax3d.register`. Records are described in `instax3d.types`.
"""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Generic

from jaxtyping import Float, UInt8
from torch import Tensor, nn
from typing_extensions import TypeVar

from .errors import IncompatiblePipelineError
from .headmodel import HeadModel
from .plugin import Kind, PluginConfig, PluginSpec
from .types import (
    Cameras,
    Capture,
    DensifyReport,
    DensifyStep,
    EvaluationContext,
    Face,
    Gaussians,
    HeadMesh,
    Photo,
    Render,
    TurntableClip,
    Views,
)

C = TypeVar("C", bound=PluginConfig, default=PluginConfig, covariant=True)
"""The class of a plugin's options: `Renderer` alone means any renderer, ``Renderer[PluginConfig]``."""
S = TypeVar("S", Photo, Capture)


class Component(abc.ABC, Generic[C]):
    """The base of all kinds: made from its config alone."""

    kind: ClassVar[Kind]
    """Set by the abstract class of each kind."""

    def __init__(self, config: C) -> None:
        self.config = config

    def warmup(self) -> None:
        """Do now what the first use would do once per machine, such as compiling. By default nothing."""

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        """A sentence for each claim of the spec that the class does not keep; such a plugin is refused."""
        return []


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
        ``provenance`` says where each pixel came from, if known. ``faces`` may stay empty: the pipeline fills it in.
        """

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

    A prior over a parametric model declares ``provides={"head_model"}`` and returns it from `head_model`.
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
    never one without the other.
    """

    kind: ClassVar[Kind] = Kind.DENSIFIER

    absgrad: ClassVar[bool] = False
    """True asks the renderer for ``means2d.absgrad``; declare ``needs={"absgrad"}`` in the spec as well."""

    @abc.abstractmethod
    def before_backward(self, step: DensifyStep) -> None:
        """Called between forward and backward (retain gradients here)."""

    @abc.abstractmethod
    def after_step(self, step: DensifyStep) -> DensifyReport:
        """Called after the optimizers' step. Returns how many Gaussians were born and died."""

    def state_dict(self) -> dict[str, Any]:
        """Counters that a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state but was given {sorted(state)}")

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        if cls.absgrad != ("absgrad" in spec.needs):
            return [f"its class has absgrad = {cls.absgrad}, but its spec needs {sorted(spec.needs)}; change one"]
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
    )
}
"""The abstract class of each kind."""
