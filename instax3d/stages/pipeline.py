"""The stages from a photo or a capture to a portrait."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from instax3d.assets.usage import check_assets
from instax3d.config import RunConfig, Source, check_capabilities, load_config, source_kind
from instax3d.errors import ConfigError, IncompatiblePipelineError
from instax3d.inputs.capture import read_capture
from instax3d.inputs.photo import read_photo
from instax3d.interfaces import LandmarkDetector, MeshPrior, Renderer, ViewGenerator
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
from instax3d.io.progress import Progress, Silent, Stages
from instax3d.plugin import Kind
from instax3d.portrait.gaussian_head import GaussianHead
from instax3d.portrait.manifest import RunRecord, head_record, new_manifest
from instax3d.portrait.orbit import Orbit
from instax3d.portrait.portrait import Portrait
from instax3d.splats.photometric import alpha_loss, photometric_loss
from instax3d.types import Capture, Gaussians, HeadMesh, Photo, Views

from .cache import CHECKPOINT, StageCache
from .early_import import import_early
from .evaluation import Evaluation, collect, evaluate
from .fingerprint import hash_source, stage_keys
from .randomness import preserved_generators, seed_torch

T = TypeVar("T")
_SECONDS = "seconds"
Resume = bool | Literal["if any"]


def resolve_device(requested: str) -> str:
    """The device that ``auto`` means here: CUDA where torch finds it.

    Raises:
        IncompatiblePipelineError: CUDA is requested and not there.
    """
    available = torch.cuda.is_available()
    if requested == "cuda" and not available:
        raise IncompatiblePipelineError("device=cuda was requested, but torch finds no CUDA device; write device=cpu")
    return ("cuda" if available else "cpu") if requested == "auto" else requested


def create(
    source: str | Path,
    *,
    preset: str | None = None,
    config: str | Path | RunConfig | None = None,
    overrides: Iterable[str] = (),
    progress: Progress | None = None,
    cache: StageCache | None = None,
    resume: Resume = False,
) -> Portrait:
    """Make a portrait of a photo or of a capture.

    The global random generators of torch, numpy and Python are left as they were.

    Args:
        source: an image file, or a folder that holds ``transforms*.json`` (or that file itself).
        preset: ``draft``, ``standard`` (the default) or ``paper``.
        config: a YAML file laid over the preset, or a finished `RunConfig`, which takes neither preset nor overrides.
        overrides: ``key=value`` items laid over both, such as ``"densifier.max_gaussians=30000"``.
        progress: shows what happens; silent by default. The caller closes it.
        cache: where results of stages are kept and found again; without one every stage is run.
        resume: continue the interrupted construction of the same portrait; a note says if there is none, except with
            ``if any``.

    Raises:
        Instax3DError: any of its children, with one sentence that says what to do.
    """
    if resume and cache is None:
        raise IncompatiblePipelineError("resume needs the stage cache, where an unfinished run leaves its state")
    path, overrides = Path(source), list(overrides)
    if not isinstance(config, RunConfig):
        file = None if config is None else Path(config)
        config = load_config(preset=preset, path=file, overrides=overrides, source=source_kind(path))
    elif preset is not None or overrides:
        raise ConfigError(
            "create() got a finished RunConfig and also a preset or overrides, which it would have to ignore; "
            "give them to load_config instead"
        )
    run = _start(path, config, progress, cache, resume)
    with preserved_generators(run.device):
        return _create(run)


def fit(
    source: str | Path, config: RunConfig, *, progress: Progress | None = None, cache: StageCache | None = None
) -> "FittedViews":
    """Views and the head fitted to them, without the construction.

    Raises:
        Instax3DError: any of its children, with one sentence that says what to do.
    """
    run = _start(Path(source), config, progress, cache)
    with preserved_generators(run.device):
        detector = run.config.build(LandmarkDetector)
        return _fit(run, detector, _read(run, detector))


def warm_up(config: RunConfig) -> float:
    """Let every chosen plugin, and the losses, do once what would slow the first portrait down; returns the seconds."""
    since = time.perf_counter()
    device = resolve_device(config.device)
    config = config.resolved_for(device)
    with preserved_generators(device):
        for choice in config.choices.values():
            choice.build().warmup()
        image, target = torch.rand(1, 3, 16, 16, requires_grad=True), torch.rand(1, 3, 16, 16)
        (photometric_loss(image, target) + alpha_loss(image[:, :1], target[:, :1])).backward()
    return time.perf_counter() - since


@dataclass(frozen=True, eq=False)
class FittedViews:
    """What the stages before the construction make."""

    source: Photo | Capture
    views: Views
    mesh: HeadMesh


@dataclass(frozen=True, eq=False)
class Construction:
    """What the last stage makes."""

    gaussians: Gaussians
    losses: dict[str, float]


@dataclass(eq=False)
class _Run:
    """One run of the stages: what shows and times them, and what keeps their results."""

    path: Path
    config: RunConfig
    device: str
    stages: Stages
    cache: StageCache | None
    resume: Resume
    keys: Mapping[str, str] = field(default_factory=dict)
    """Of the stages' results, by stage; filled in once the source is read."""

    @property
    def source_kind(self) -> Source:
        return source_kind(self.path)

    def stage(
        self,
        name: str,
        make: Callable[[], T],
        pack: Callable[[T], Artifact],
        unpack: Callable[[Artifact], T],
        *,
        steps: int | None = None,
    ) -> T:
        """The stage's result, from the cache or made and kept. Each stage begins with the seed, whatever ran before."""
        stored = self.cache.load(name, self.keys[name]) if self.cache else None
        if stored is not None:
            self.stages.reuse(name, stored[1][_SECONDS])
            return unpack(stored)
        with self.stages.stage(name, steps):
            seed_torch(self.config.seed, self.device)
            result = make()
        if self.cache:
            tensors, values = pack(result)
            self.cache.store(name, self.keys[name], (tensors, {**values, _SECONDS: self.stages.seconds[name]}))
        return result


def _start(
    path: Path, config: RunConfig, progress: Progress | None, cache: StageCache | None, resume: Resume = False
) -> _Run:
    """A run, once it is known that the configuration fits the source, this device and the files here."""
    device = resolve_device(config.device)
    config = config.resolved_for(device)
    check_capabilities(config, source=source_kind(path), device=device)
    check_assets(config)
    run = _Run(path, config, device, Stages(progress or Silent()), cache, resume)
    for note in config.notes:
        run.stages.note(note)
    return run


def _create(run: _Run) -> Portrait:
    detector = run.config.build(LandmarkDetector)
    renderer = _renderer(run)
    source = _read(run, detector)
    _prepare_construction(run)
    fitted = _fit(run, detector, source)
    construction = _construct(run, fitted, renderer)
    orbit = Orbit.around(fitted.mesh, fitted.views.cameras)
    head = GaussianHead(construction.gaussians, fitted.mesh, orbit, renderer)
    evaluation = _evaluate(run, head, fitted, detector)
    manifest = new_manifest(run.config, _record(run, fitted, construction, renderer, evaluation))
    return Portrait(head.gaussians, run.config, manifest, orbit, head.mesh, views=fitted.views)


def _renderer(run: _Run) -> Renderer[Any]:
    config = run.config
    renderer = config.build(Renderer)
    if config.device not in ("auto", renderer.device_type):
        raise IncompatiblePipelineError(
            f"device={config.device} was requested, but the renderer "
            f"{config.choices[Kind.RENDERER].entry.spec.name!r} runs on {renderer.device_type}; change one of them"
        )
    return renderer


def _prepare_construction(run: _Run) -> None:
    """Import Lightning while the views are made, which leave it half of the time, unless the Gaussians are there.

    What both need is imported before: modules that import each other must not be entered from two sides at once.
    """
    if run.cache and run.cache.path("construct", run.keys["construct"]).exists():
        return
    run.config.build(ViewGenerator)
    import_module("torch._dynamo")  # fits differentiate with torch.func, which imports it when it is first called
    import_early("lightning")


def _fit(run: _Run, detector: LandmarkDetector[Any], source: Photo | Capture) -> FittedViews:
    generator: ViewGenerator[Any] = run.config.build(ViewGenerator)
    views = run.stage(
        "views",
        lambda: _generate(run, generator, source, detector),
        pack_views,
        lambda stored: unpack_views(stored, generator.head_model),
    )
    prior: MeshPrior[Any] = run.config.build(MeshPrior)
    mesh = run.stage("prior", lambda: prior.fit(views), pack_mesh, lambda stored: unpack_mesh(stored, prior.head_model))
    return FittedViews(source, views, mesh)


def _read(run: _Run, detector: LandmarkDetector[Any]) -> Photo | Capture:
    source: Photo | Capture
    with run.stages.stage(run.source_kind):
        source = read_photo(run.path, detector) if run.source_kind == "photo" else read_capture(run.path)
        for note in source.notes:
            run.stages.note(note)
        if run.cache:
            run.keys = stage_keys(run.config, run.device, hash_source(run.path, source))
    return source


def _generate(
    run: _Run, generator: ViewGenerator[Any], source: Photo | Capture, detector: LandmarkDetector[Any]
) -> Views:
    views = quantized(generator.generate(source, seed=run.config.seed))
    return views if views.faces else with_faces(views, detector)


def with_faces(views: Views, detector: LandmarkDetector[Any]) -> Views:
    """The views with the highest-scoring face that the detector finds in each of them."""
    detections = (detector.detect(to_uint8(image)) for image in views.images)
    return replace(views, faces=tuple(faces[0] if faces else None for faces in detections))


def _construct(run: _Run, fitted: FittedViews, renderer: Renderer[Any]) -> Construction:
    return run.stage(
        "construct",
        lambda: _train(run, fitted, renderer),
        lambda construction: pack_gaussians(construction.gaussians, construction.losses),
        lambda stored: Construction(*unpack_gaussians(stored)),
        steps=run.config.training.iterations,
    )


def _train(run: _Run, fitted: FittedViews, renderer: Renderer[Any]) -> Construction:
    from .training import StepReport, assemble, train  # with Lightning, which takes seconds to import

    progress = run.stages.progress

    def on_step(report: StepReport) -> None:
        progress.step(report.step + 1, psnr=report.psnr, gaussians=report.gaussians)

    module, order = assemble(run.config, fitted.mesh, fitted.views, renderer, on_step=on_step)
    checkpoint = run.cache.path("construct", run.keys["construct"], CHECKPOINT) if run.cache else None
    if checkpoint is not None:
        _resume(run, module, checkpoint)
    train(module, order, device=renderer.device_type, checkpoint=checkpoint)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    module.to("cpu")
    return Construction(module.representation.gaussians().detach(), module.losses)


def _resume(run: _Run, module: Any, checkpoint: Path) -> None:
    """Continue with a `PortraitModule` from the checkpoint of an interrupted run, if that is requested."""
    from .training import load_checkpoint

    state = load_checkpoint(checkpoint)
    if state is None:
        if run.resume is True:
            run.stages.note("there is no unfinished construction of this portrait to resume; it starts from scratch")
    elif run.resume:
        module.resume(state)
        run.stages.note(f"resumed after {module.step_count} of {run.config.training.iterations} steps")
    else:
        run.stages.note(
            f"an earlier construction of this portrait stopped after {state['step_count']} steps; "
            "it starts from scratch, as --resume was not given"
        )


def _evaluate(run: _Run, head: GaussianHead, fitted: FittedViews, detector: LandmarkDetector[Any]) -> Evaluation:
    with run.stages.stage("evaluate"):
        context = collect(
            head,
            fitted.views,
            detector,
            photo=fitted.source if isinstance(fitted.source, Photo) else None,
            capture=fitted.source if isinstance(fitted.source, Capture) else None,
        )
        evaluation = evaluate(context, run.config.metrics)
        for name, reason in evaluation.missing.items():
            run.stages.note(f"{name} was not measured: {reason}")
    return evaluation


def _record(
    run: _Run, fitted: FittedViews, construction: Construction, renderer: Renderer[Any], evaluation: Evaluation
) -> RunRecord:
    cameras = fitted.views.cameras
    return RunRecord(
        source={
            "kind": run.source_kind,
            "name": run.path.name,
            "views": len(fitted.views),
            "size": [cameras.width, cameras.height],
        },
        device=renderer.device_type,
        seconds=run.stages.seconds,
        reused=run.stages.reused,
        gaussians=len(construction.gaussians),
        losses=construction.losses,
        head_model=head_record(fitted.mesh),
        fit=fitted.mesh.metrics,
        metrics=evaluation.metrics,
        not_measured=evaluation.missing,
        notes=run.stages.notes,
    )
