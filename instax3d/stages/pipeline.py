"""The stages from a photo or a capture to a portrait."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from instax3d.assets.usage import check_assets
from instax3d.config import RunConfig, check_capabilities, load_config, source_kind
from instax3d.errors import IncompatiblePipelineError
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
from instax3d.portrait.manifest import new_manifest
from instax3d.portrait.portrait import Orbit, Portrait
from instax3d.splats.photometric import alpha_loss, photometric_loss
from instax3d.types import Capture, Gaussians, HeadMesh, Photo, Views

from .cache import StageCache
from .evaluation import collect, evaluate
from .fingerprint import hash_source, stage_keys
from .training import PortraitModule, StepReport, assemble, load_checkpoint, train

T = TypeVar("T")
_SECONDS = "seconds"
Resume = bool | Literal["if any"]


def resolve_device(wanted: str) -> str:
    """The device that ``auto`` means here: CUDA where torch finds it.

    Raises:
        IncompatiblePipelineError: CUDA is asked for and not there.
    """
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise IncompatiblePipelineError("device=cuda was asked for, but torch finds no CUDA device; write device=cpu")
    return ("cuda" if found else "cpu") if wanted == "auto" else wanted


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

    Args:
        source: an image file, or a folder that holds ``transforms*.json`` (or that file itself).
        preset: ``draft``, ``standard`` (the default) or ``paper``.
        config: a YAML file laid over the preset, or a finished `RunConfig`.
        overrides: ``key=value`` items laid over both, such as ``"densifier.max_gaussians=30000"``.
        progress: told what happens; silent by default. The caller closes it.
        cache: where results of stages are kept and found again; without one every stage is run.
        resume: go on with the construction of the same portrait that was broken off; a note says if there is none,
            except with ``if any``.

    Raises:
        Instax3DError: any of its children, with one sentence that says what to do.
    """
    if resume and cache is None:
        raise IncompatiblePipelineError("resume needs the stage cache, where an unfinished run leaves its state")
    path = Path(source)
    if not isinstance(config, RunConfig):
        file = None if config is None else Path(config)
        config = load_config(preset=preset, path=file, overrides=overrides, source=source_kind(path))
    return _create(path, _start(path, config, progress, cache, resume))


def _start(
    path: Path, config: RunConfig, progress: Progress | None, cache: StageCache | None, resume: Resume = False
) -> "_Run":
    """A run of the stages, once it is known that the configuration fits the source, this device and the files here."""
    device = resolve_device(config.device)
    config = config.resolved_for(device)
    check_capabilities(config, source=source_kind(path), device=device)
    check_assets(config)
    return _Run(config, device, Stages(progress or Silent()), cache, resume)


def warm_up(config: RunConfig) -> float:
    """Let every chosen plugin, and the losses, do once what would slow the first portrait down; returns the seconds."""
    since = time.perf_counter()
    config = config.resolved_for(resolve_device(config.device))
    for choice in config.choices.values():
        choice.build().warmup()
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    (photometric_loss(image, torch.rand(1, 3, 16, 16)) + alpha_loss(image[:, :1], torch.rand(1, 1, 16, 16))).backward()
    return time.perf_counter() - since


@dataclass(frozen=True)
class FittedViews:
    """What the stages before the construction make."""

    given: Photo | Capture
    views: Views
    mesh: HeadMesh


@dataclass(frozen=True)
class Construction:
    """What the last stage makes."""

    gaussians: Gaussians
    losses: dict[str, float]


@dataclass
class _Run:
    """One run of the stages: what shows and times them, and what keeps their results."""

    config: RunConfig
    device: str
    stages: Stages
    cache: StageCache | None
    resume: Resume = False
    keys: Mapping[str, str] = field(default_factory=dict)
    """Of the stages' results, by stage; filled in once the source is read."""

    def stage(
        self,
        name: str,
        make: Callable[[], T],
        pack: Callable[[T], Artifact],
        unpack: Callable[[Artifact], T],
        *,
        steps: int | None = None,
    ) -> T:
        """The stage's result: found, or made and kept. Each stage begins with the seed, whatever ran before it."""
        found = self.cache.load(name, self.keys[name]) if self.cache else None
        if found is not None:
            self.stages.reuse(name, found[1][_SECONDS])
            return unpack(found)
        with self.stages.stage(name, steps):
            torch.manual_seed(self.config.seed)
            result = make()
        if self.cache:
            tensors, values = pack(result)
            self.cache.store(name, self.keys[name], (tensors, {**values, _SECONDS: self.stages.seconds[name]}))
        return result


def fit(
    source: str | Path, config: RunConfig, *, progress: Progress | None = None, cache: StageCache | None = None
) -> FittedViews:
    """Views and the head fitted to them, without the construction.

    Raises:
        Instax3DError: any of its children, with one sentence that says what to do.
    """
    run = _start(Path(source), config, progress, cache)
    for note in run.config.notes:
        run.stages.note(note)
    return _fit(Path(source), run, run.config.build(LandmarkDetector))


def _fit(path: Path, run: _Run, detector: LandmarkDetector[Any]) -> FittedViews:
    kind = source_kind(path)
    given: Photo | Capture
    with run.stages.stage(kind):
        given = read_photo(path, detector) if kind == "photo" else read_capture(path)
        for note in given.notes:
            run.stages.note(note)
        if run.cache:
            run.keys = stage_keys(run.config, run.device, hash_source(path, given))
    views = run.stage("views", lambda: _views(run, given, detector), pack_views, unpack_views)
    prior: MeshPrior[Any] = run.config.build(MeshPrior)
    mesh = run.stage("prior", lambda: prior.fit(views), pack_mesh, lambda stored: unpack_mesh(stored, prior.head_model))
    return FittedViews(given, views, mesh)


def _create(path: Path, run: _Run) -> Portrait:
    config, stages = run.config, run.stages
    for note in config.notes:
        stages.note(note)
    detector: LandmarkDetector[Any] = run.config.build(LandmarkDetector)
    renderer: Renderer[Any] = run.config.build(Renderer)
    if config.device != "auto" and renderer.device_type != config.device:
        raise IncompatiblePipelineError(
            f"device={config.device} was asked for, but the renderer "
            f"{config.choices[Kind.RENDERER].entry.spec.name!r} runs on {renderer.device_type}; change one of them"
        )
    fitted = _fit(path, run, detector)
    views, mesh = fitted.views, fitted.mesh
    made = run.stage(
        "construct",
        lambda: _construct(run, renderer, mesh, views),
        lambda made: pack_gaussians(made.gaussians, made.losses),
        lambda stored: Construction(*unpack_gaussians(stored)),
        steps=config.training.iterations,
    )
    portrait = Portrait(made.gaussians, config, {}, Orbit.around(mesh, views.cameras), mesh, views)
    with stages.stage("evaluate"):
        context = collect(
            portrait,
            views,
            detector,
            photo=fitted.given if isinstance(fitted.given, Photo) else None,
            capture=fitted.given if isinstance(fitted.given, Capture) else None,
        )
        evaluation = evaluate(context, config.metrics)
        for name, reason in evaluation.missing.items():
            stages.note(f"{name} was not measured: {reason}")
    portrait.manifest = new_manifest(
        config,
        mesh=mesh,
        source={
            "kind": source_kind(path),
            "name": path.name,
            "views": len(views),
            "size": [views.cameras.width, views.cameras.height],
        },
        device=renderer.device_type,
        seconds=stages.seconds,
        reused=stages.reused,
        gaussians=len(made.gaussians),
        losses=made.losses,
        metrics={**mesh.metrics, **evaluation.figures},
        not_measured=evaluation.missing,
        notes=stages.notes,
    )
    return portrait


def _views(run: _Run, given: Photo | Capture, detector: LandmarkDetector[Any]) -> Views:
    generator: ViewGenerator[Any] = run.config.build(ViewGenerator)
    views = quantized(generator.generate(given, seed=run.config.seed))
    return views if views.faces else with_faces(views, detector)


def with_faces(views: Views, detector: LandmarkDetector[Any]) -> Views:
    """The views and the surest face that the detector finds in each of them."""
    found = (detector.detect(to_uint8(image)) for image in views.images)
    return replace(views, faces=tuple(faces[0] if faces else None for faces in found))


def _construct(run: _Run, renderer: Renderer[Any], mesh: HeadMesh, views: Views) -> Construction:
    progress = run.stages.progress

    def told(report: StepReport) -> None:
        progress.step(report.step + 1, psnr=report.psnr, gaussians=report.gaussians)

    module, order = assemble(run.config, mesh, views, renderer, on_step=told)
    checkpoint = run.cache.path("construct", run.keys["construct"], ".ckpt") if run.cache else None
    if checkpoint is not None:
        _take_up(run, module, checkpoint)
    train(module, order, device=renderer.device_type, checkpoint=checkpoint)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    module.to("cpu")
    return Construction(module.representation.gaussians().detach(), module.losses)


def _take_up(run: _Run, module: PortraitModule, checkpoint: Path) -> None:
    """Go on from the checkpoint of a run that was broken off, if that is wished."""
    left = load_checkpoint(checkpoint)
    if left is None:
        if run.resume is True:
            run.stages.note("there is no unfinished construction of this portrait to resume; it starts anew")
    elif run.resume:
        module.resume(left)
        run.stages.note(f"resumed after {module.step_count} of {run.config.training.iterations} steps")
    else:
        run.stages.note(
            f"an earlier construction of this portrait stopped after {left['step_count']} steps; "
            "it starts anew, as --resume was not given"
        )
