"""The stages from a photo or a capture to a portrait."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .capture import read_capture
from .config import RunConfig, Source, check_capabilities, load_config, source_kind
from .errors import IncompatiblePipelineError
from .evaluation import evaluate
from .images import to_uint8
from .interfaces import LandmarkDetector, MeshPrior, Renderer, Representation, ViewGenerator
from .manifest import new_manifest
from .photo import read_photo
from .photometric import photometric_loss
from .plugin import Kind
from .portrait import Orbit, Portrait
from .progress import Progress, Silent, Stages
from .training import PortraitModule, StepReport, scene_extent, train, view_order
from .types import Capture, HeadMesh, Photo, Views


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
) -> Portrait:
    """Make a portrait of a photo or of a capture.

    Args:
        source: an image file, or a folder that holds ``transforms*.json`` (or that file itself).
        preset: ``draft``, ``standard`` (the default) or ``paper``.
        config: a YAML file laid over the preset, or a finished `RunConfig`.
        overrides: ``key=value`` items laid over both, such as ``"densifier.grow_grad2d=4.0e-4"``.
        progress: told what happens; silent by default. The caller closes it.

    Raises:
        Instax3DError: any of its children, with one sentence that says what to do.
    """
    path = Path(source)
    kind = source_kind(path)
    if not isinstance(config, RunConfig):
        file = None if config is None else Path(config)
        config = load_config(preset=preset, path=file, overrides=overrides, source=kind)
    device = resolve_device(config.device)
    config = config.on(device)
    check_capabilities(config, source=kind, device=device)
    return _create(path, kind, config, Stages(progress or Silent()))


def warm_up(config: RunConfig) -> float:
    """Let every chosen plugin, and the loss, do once what would slow the first portrait down; returns the seconds."""
    since = time.perf_counter()
    config = config.on(resolve_device(config.device))
    for kind in config.choices:
        _build(config, kind).warmup()
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    photometric_loss(image, torch.rand(1, 3, 16, 16)).backward()
    return time.perf_counter() - since


def _create(path: Path, kind: Source, config: RunConfig, run: Stages) -> Portrait:
    torch.manual_seed(config.seed)
    for note in config.notes:
        run.note(note)
    detector: LandmarkDetector[Any] = _build(config, Kind.LANDMARK_DETECTOR)
    given: Photo | Capture
    with run.stage(kind):
        given = read_photo(path, detector) if kind == "photo" else read_capture(path)
        for note in given.notes:
            run.note(note)
    with run.stage("views"):
        views = _views(config, given, detector)
    with run.stage("prior"):
        prior: MeshPrior[Any] = _build(config, Kind.MESH_PRIOR)
        mesh = prior.fit(views)
    representation: Representation[Any] = _build(config, Kind.REPRESENTATION)
    renderer: Renderer[Any] = _build(config, Kind.RENDERER)
    if config.device != "auto" and renderer.device_type != config.device:
        raise IncompatiblePipelineError(
            f"device={config.device} was asked for, but the renderer "
            f"{config.choices[Kind.RENDERER].entry.spec.name!r} runs on {renderer.device_type}; change one of them"
        )
    with run.stage("initialise"):
        representation.initialise(mesh, views, seed=config.seed)
    with run.stage("construct", config.training.iterations):
        losses = _construct(config, representation, renderer, mesh, views, run.progress)
    gaussians = representation.gaussians().detach()
    portrait = Portrait(gaussians, config, {}, Orbit.around(mesh, views.cameras), mesh, views)
    with run.stage("evaluate"):
        metrics = {**mesh.metrics, **evaluate(portrait, given, views, detector)}
    portrait.manifest = new_manifest(
        config,
        source={
            "kind": kind,
            "name": path.name,
            "views": len(views),
            "size": [views.cameras.width, views.cameras.height],
        },
        device=renderer.device_type,
        seconds=run.seconds,
        gaussians=len(gaussians),
        losses=losses,
        metrics=metrics,
        notes=run.notes,
    )
    return portrait


def _build(config: RunConfig, kind: Kind) -> Any:
    choice = config.choices[kind]
    return choice.entry.build(choice.config)


def _views(config: RunConfig, given: Photo | Capture, detector: LandmarkDetector[Any]) -> Views:
    generator: ViewGenerator[Any] = _build(config, Kind.VIEW_GENERATOR)
    views = generator.generate(given, seed=config.seed)
    if views.faces:
        return views
    found = (detector.detect(to_uint8(image)) for image in views.images)
    return replace(views, faces=tuple(faces[0] if faces else None for faces in found))


def _construct(
    config: RunConfig,
    representation: Representation[Any],
    renderer: Renderer[Any],
    mesh: HeadMesh,
    views: Views,
    progress: Progress,
) -> dict[str, float]:
    def told(report: StepReport) -> None:
        progress.step(report.step + 1, psnr=report.psnr, gaussians=report.gaussians)

    module = PortraitModule(
        representation,
        _build(config, Kind.DENSIFIER),
        renderer,
        views,
        config.training,
        scene_scale=scene_extent(views.cameras, mesh.vertices.mean(0)),
        on_step=told,
    )
    order = view_order(views, config.training.iterations, config.training.photo_share, config.seed)
    train(module, order, device=renderer.device_type)
    representation.to("cpu")
    return module.losses
