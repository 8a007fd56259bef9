"""The abstract kinds. Each docstring is all a plugin author needs; `instax3d.testing` has a suite for each kind.

A plugin class takes one argument, its validated config. Records are described in `instax3d.types`.
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
    """What all kinds share: they are made from their config alone."""

    kind: ClassVar[Kind]
    """Set by the abstract class of each kind."""

    def __init__(self, config: C) -> None:
        self.config = config

    def warmup(self) -> None:
        """Do now what the first use would do once per machine, such as compiling; nothing by default."""

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        """Where the class is not what its spec says, a sentence each; the registry refuses such a plugin."""
        return []


class ViewGenerator(Component[C]):
    """Turns the input into images of the whole head from cameras that it chooses and states.

    Declare ``needs={"photo"}`` or ``needs={"capture"}`` in the spec to say which input is understood.
    """

    kind: ClassVar[Kind] = Kind.VIEW_GENERATOR

    @abc.abstractmethod
    def generate(self, source: Photo | Capture, *, seed: int) -> Views:
        """Images in [0, 1] on white with alpha and cameras, the same for the same seed.

        One of the views may be the photo itself (``photo_index``). ``confidence`` says how far each pixel may be
        believed, ``provenance`` where it came from, if the generator knows.
        ``faces`` may stay empty: the pipeline fills it in.
        """

    def expect(self, source: Photo | Capture, kind: type[S]) -> S:
        """The source, if it is of the kind that this generator understands; the first line of many a `generate`.

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
    """Fits a head mesh to the views, in the world of their cameras.

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
    """Holds the parameters of the Gaussians and says how they become Gaussians in the world."""

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
        """Adam's start rate for each trainable entry of ``splats``, in that entry's own units."""

    def regularization(self) -> Mapping[str, Float[Tensor, ""]]:
        """Weighted extra losses by name; added to the photometric loss."""
        return {}


class Densifier(Component[C]):
    """Adds and removes Gaussians while they are optimized. It owns its counters and may edit `DensifyStep.splats` and
    its optimizers together (gsplat.strategy.ops does), never one without the other."""

    kind: ClassVar[Kind] = Kind.DENSIFIER

    absgrad: ClassVar[bool] = False
    """True asks the renderer for ``means2d.absgrad``; declare ``needs={"absgrad"}`` in the spec as well."""

    @abc.abstractmethod
    def before_backward(self, step: DensifyStep) -> None:
        """Called between forward and backward (retain gradients here)."""

    @abc.abstractmethod
    def after_step(self, step: DensifyStep) -> DensifyReport:
        """Called after the optimizers stepped. Reports how many Gaussians were born and died."""

    def state_dict(self) -> dict[str, Any]:
        """Counters that a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state but was given {sorted(state)}")

    @classmethod
    def contradictions(cls, spec: PluginSpec) -> list[str]:
        if cls.absgrad != ("absgrad" in spec.needs):
            return [f"its class has absgrad = {cls.absgrad}, but its spec needs {sorted(spec.needs)}; change one"]
        return []


class Renderer(Component[C]):
    """Draws Gaussians. Differentiable with respect to all fields of `Gaussians`.

    One that runs on a GPU sets ``device_type`` and declares ``needs={"cuda"}`` in its spec.
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
    """Finds faces and their landmarks, and compares identities.

    The spec's ``provides`` says what is found: ``landmarks68`` (`Face.landmarks`), ``points5`` and ``points478``
    (`Face.points`), ``identity`` (`descriptor`).
    """

    kind: ClassVar[Kind] = Kind.LANDMARK_DETECTOR

    @abc.abstractmethod
    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        """All faces of an RGB image, surest first; an empty list where there is none."""

    def descriptor(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "features"]:
        """A vector whose Euclidean distance to another's tells whether both are the same person.

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
    """Measures a finished portrait.

    The spec's ``metric_info`` say what: each name with its definition, unit and better direction.
    """

    kind: ClassVar[Kind] = Kind.METRIC

    @abc.abstractmethod
    def measure(self, context: EvaluationContext) -> Mapping[str, float]:
        """Figures by name. Those that this context does not give, for want of a photo or of the truth, are left out.

        Raises:
            AssetError: a file of others that this metric needs is not here.
            MetricError: nothing can be measured; says for want of what. After any `Instax3DError` the metric is
                reported as not measured, with its message, and the others go on.
        """


class ClipSource(Component[C]):
    """Gives clips to train view generators on: heads seen from all sides, one after the other, for `instax3d dataset`.

    Clips are made in several processes, each with its own instance: a clip depends on the config, the seed and its
    index alone.
    """

    kind: ClassVar[Kind] = Kind.CLIP_SOURCE

    license: str = "none attached"
    """What a user of the clips is bound to; written into the data set."""

    def clips(self) -> int | None:
        """How many there are; None where new ones can always be made."""
        return None

    @abc.abstractmethod
    def make(self, index: int, *, seed: int) -> TurntableClip:
        """One clip, the same bit for bit for the same index and seed.

        Raises:
            DatasetError: it cannot be made; says which clip and why.
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
