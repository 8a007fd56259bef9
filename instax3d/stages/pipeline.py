"""The stages from a photo or a capture to a portrait."""

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from instax3d.assets.usage import check_assets
from instax3d.config import RunConfig, check_capabilities, load_config, source_kind
from instax3d.errors import ConfigError, IncompatiblePipelineError
from instax3d.inputs.capture import read_capture
from instax3d.inputs.photo import read_photo
from instax3d.io.progress import Progress, Silent, Stages
from instax3d.portrait.gaussian_head import GaussianHead
from instax3d.portrait.manifest import RunRecord, head_record, new_manifest
from instax3d.portrait.orbit import Orbit
from instax3d.portrait.portrait import Portrait
from instax3d.types import Capture, EvaluationContext, HeadMesh, Photo, RunResult, RunStart, StageEvent, Views

from .cache import StageCache
from .evaluation import Evaluation, collect, evaluate
from .fingerprint import hash_source, stage_keys
from .making import FORMS, Made
from .randomness import preserved_generators, seed_torch
from .records import PipelineStage, before_construction, stages_of
from .run import Resume, Run

_SECONDS = "seconds"
_EVALUATE = "evaluate"


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
    with preserved_generators(run.device), closing(run.callbacks):
        return _create(run)


def fit(
    source: str | Path, config: RunConfig, *, progress: Progress | None = None, cache: StageCache | None = None
) -> "FittedViews":
    """The stages before the construction: views and the head fitted to them.

    Raises:
        Instax3DError: any of its children, with one sentence that says what to do.
    """
    run = _start(Path(source), config, progress, cache)
    with preserved_generators(run.device), closing(run.callbacks):
        stages = before_construction(run.config)
        made = _walk(run, stages, _read(run, stages))
        return FittedViews(made.source, made.views, made.mesh)


def warm_up(config: RunConfig) -> float:
    """Let every chosen plugin and loss do once what would slow the first portrait down; returns the seconds."""
    since = time.perf_counter()
    device = resolve_device(config.device)
    config = config.resolved_for(device)
    with preserved_generators(device):
        for stage in stages_of(config):
            for choice in stage.choices(config):
                choice.build().warmup()
    return time.perf_counter() - since


@dataclass(frozen=True, eq=False)
class FittedViews:
    """What the stages before the construction make."""

    source: Photo | Capture
    views: Views
    mesh: HeadMesh


def _start(
    path: Path, config: RunConfig, progress: Progress | None, cache: StageCache | None, resume: Resume = False
) -> Run:
    """A run, once it is known that the configuration fits the source, this device and the files here."""
    device = resolve_device(config.device)
    config = config.resolved_for(device)
    check_capabilities(config, source=source_kind(path), device=device)
    check_assets(config)
    run = Run(path, config, device, Stages(progress or Silent()), cache, resume)
    for note in config.notes:
        run.stages.note(note)
    return run


def _create(run: Run) -> Portrait:
    stages, renderer = stages_of(run.config), run.renderer
    made = _walk(run, stages, _read(run, stages, _EVALUATE))
    orbit = Orbit.around(made.mesh, made.views.cameras)
    head = GaussianHead(made.construction.gaussians, made.mesh, orbit, renderer)
    context, evaluation = _evaluate(run, head, made)
    manifest = new_manifest(run.config, _record(run, made, evaluation))
    run.tell(RunResult(manifest, context))
    return Portrait(head.gaussians, run.config, manifest, orbit, head.mesh, views=made.views)


def _read(run: Run, stages: Iterable[PipelineStage], *after: str) -> Photo | Capture:
    """The photo or capture. Callbacks hear of it when it turned out good: then they are told what follows.

    Args:
        stages: those that follow.
        after: names of what comes after these.
    """
    source: Photo | Capture
    with run.stages.stage(run.source_kind):
        source = read_photo(run.path, run.detector) if run.source_kind == "photo" else read_capture(run.path)
        for note in source.notes:
            run.stages.note(note)
        if run.cache:
            run.keys = stage_keys(run.config, run.device, hash_source(run.path, source))
    names = (run.source_kind, *(stage.name for stage in stages), *after)
    run.tell(RunStart(run.path.name, run.source_kind, run.config.to_dict(), run.device, names))
    run.tell(StageEvent(run.source_kind, "started"))
    run.tell(StageEvent(run.source_kind, "done", run.stages.seconds[run.source_kind]))
    return source


def _walk(run: Run, stages: Iterable[PipelineStage], source: Photo | Capture) -> Made:
    """All that the stages make, one after the other."""
    made = Made(source)
    for stage in stages:
        made = made.with_part(stage.makes, _result(run, stage, made))
    return made


def _result(run: Run, stage: PipelineStage, made: Made) -> Any:
    """The stage's result, from the cache or made and kept. Each stage begins with the seed, whatever ran before."""
    form = FORMS[stage.makes]
    stored = run.cache.load(stage.name, run.keys[stage.name]) if run.cache else None
    if stored is not None:
        run.reuse(stage.name, stored[1][_SECONDS])
        return form.unpack(stored, run)
    with run.stage(stage.name, stage.steps and stage.steps(run.config)):
        seed_torch(run.config.seed, run.device)
        result = stage.function()(run, stage, made)
    if run.cache:
        tensors, values = form.pack(result)
        run.cache.store(
            stage.name, run.keys[stage.name], (tensors, {**values, _SECONDS: run.stages.seconds[stage.name]})
        )
    return result


def _evaluate(run: Run, head: GaussianHead, made: Made) -> tuple[EvaluationContext, Evaluation]:
    with run.stage(_EVALUATE):
        context = collect(
            head,
            made.views,
            run.detector,
            photo=made.source if isinstance(made.source, Photo) else None,
            capture=made.source if isinstance(made.source, Capture) else None,
        )
        evaluation = evaluate(context, run.config.metrics)
        for name, reason in evaluation.missing.items():
            run.stages.note(f"{name} was not measured: {reason}")
    return context, evaluation


def _record(run: Run, made: Made, evaluation: Evaluation) -> RunRecord:
    cameras = made.views.cameras
    return RunRecord(
        source={
            "kind": run.source_kind,
            "name": run.path.name,
            "views": len(made.views),
            "size": [cameras.width, cameras.height],
        },
        device=run.renderer.device_type,
        seconds=run.stages.seconds,
        reused=run.stages.reused,
        gaussians=len(made.construction.gaussians),
        losses=made.construction.losses,
        densification=made.construction.densified.to_dict(),
        head_model=head_record(made.mesh),
        fit=made.mesh.metrics,
        metrics=evaluation.metrics,
        not_measured=evaluation.missing,
        notes=run.stages.notes,
    )
