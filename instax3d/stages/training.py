"""`PortraitModule`: the Lightning module that composes a representation, losses, a densifier and a renderer."""

import logging
import math
import pickle
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from instax3d.config import RunConfig, TrainingConfig
from instax3d.errors import BrokenPluginError, PortraitError
from instax3d.interfaces import Densifier, Loss, Renderer, Representation
from instax3d.io.files import atomic
from instax3d.plugin import Kind
from instax3d.types import (
    Cameras,
    CheckpointEvent,
    DensifyReport,
    DensifyStep,
    Gaussians,
    HeadMesh,
    LossStep,
    Render,
    StepEvent,
    TrainingView,
    Views,
)

_POSITION = "means"
_PSNR_EVERY = 10
_CHECKPOINT_SECONDS = 10.0
_NOTHING = DensifyReport()
_BATCH = 10
"""Optimization steps in each call by Lightning, whose own work around a call takes 0.6 ms."""


def training_views(views: Views, factor: float = 1.0) -> list[TrainingView]:
    """The views one by one, reduced by area averaging where ``factor`` < 1."""
    cameras = views.cameras.scaled(factor)
    size = (cameras.height, cameras.width)
    same = size == tuple(views.images.shape[2:])
    result = []
    for index in range(len(views)):
        parts = [full[index : index + 1] for full in (views.images, views.alpha, views.confidence)]
        if not same:
            parts = [functional.interpolate(part, size, mode="area") for part in parts]
        image, alpha, confidence = (part.contiguous() for part in parts)
        result.append(TrainingView(image, alpha, cameras[index], None if bool((confidence == 1).all()) else confidence))
    return result


def scene_extent(cameras: Cameras, target: Float[Tensor, "3"]) -> float:
    """3DGS's scene extent: 1.1 times the largest distance of a camera from the cameras' mean.

    Where the cameras (nearly) coincide, their distance to ``target`` serves instead.
    """
    centers = cameras.centers
    spread = float((centers - centers.mean(0)).norm(dim=1).max())
    reach = float((centers - target).norm(dim=1).max())
    return 1.1 * (spread if spread > 0.05 * reach else reach)


def view_order(views: Views, iterations: int, photo_share: float, seed: int) -> list[int]:
    """Which view each step draws: shuffled rounds of all views, with the photo's share drawn in between."""
    rng = random.Random(seed)
    rounds: list[int] = []
    order = []
    for _ in range(iterations):
        if views.photo_index is not None and rng.random() < photo_share:
            order.append(views.photo_index)
            continue
        if not rounds:
            rounds = list(range(len(views)))
            rng.shuffle(rounds)
        order.append(rounds.pop())
    return order


class PortraitModule(lightning.LightningModule):
    """Optimizes the Gaussians of a head; knows its parts only by their contracts.

    Optimization is manual: one Adam (0.9, 0.999) per parameter, whose rates decay exponentially, the means' to
    ``position_decay`` and the others' to ``rate_decay`` of their start. Each step renders one view and minimizes the
    weighted sum of the losses, in their order, then of the representation's own terms, then of the densifier's.
    """

    def __init__(
        self,
        representation: Representation[Any],
        densifier: Densifier[Any],
        renderer: Renderer[Any],
        objective: Mapping[str, Loss[Any]],
        mesh: HeadMesh,
        views: Views,
        config: TrainingConfig,
        *,
        absgrad: bool = False,
        on_step: Callable[[StepEvent], None] | None = None,
        every_step: bool = False,
    ) -> None:
        """Compose the parts; the representation is initialized already.

        Args:
            objective: the losses, by the keys of the config.
            mesh: that the representation started on.
            absgrad: whether the densifier needs absolute gradients.
            on_step: hears of the steps in which the PSNR is measured: every tenth, and the last.
            every_step: whether it hears of all.
        """
        super().__init__()
        self.automatic_optimization = False
        self.representation = representation
        self.densifier = densifier
        self.renderer = renderer
        self.objective = {key: loss for key, loss in objective.items() if loss.config.weight}
        self.mesh, self.views = mesh, views
        self.training_config = config
        self.absgrad = absgrad
        self.on_step = on_step
        self.every_step = every_step
        self.scene_scale = scene_extent(views.cameras, mesh.vertices.mean(0))
        self.full = training_views(views)
        self.reduced = training_views(views, 0.5) if config.half_resolution > 0 else self.full
        self.step_count = 0
        self.losses: dict[str, float] = {}
        """Weighted, of the last step that was measured."""
        self.densified = DensifyReport()
        """What the densifier did in all steps until now."""
        self._start_rates: dict[str, float] = {}
        self._resumed: Mapping[str, Any] | None = None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        self._start_rates = dict(self.representation.learning_rates())
        splats = self.representation.splats
        return [
            torch.optim.Adam(
                [{"params": [splats[name]], "name": name}], lr=rate, betas=(0.9, 0.999), eps=1e-15, fused=True
            )
            for name, rate in self._start_rates.items()
        ]

    def on_fit_start(self) -> None:
        self.full, self.reduced = ([view.to(self.device) for view in level] for level in (self.full, self.reduced))
        for loss in self.objective.values():
            loss.start(self.mesh, self.views, self.device)

    def on_train_start(self) -> None:
        if self._resumed is None:
            return
        for key, loss in self.objective.items():
            loss.load_state_dict(self._resumed["objective"][key])
        for name, optimizer in self._optimizers().items():
            optimizer.load_state_dict(self._resumed["optimizers"][name])
        torch.set_rng_state(self._resumed["random"])
        if "random_cuda" in self._resumed:
            torch.cuda.set_rng_state(self._resumed["random_cuda"])
        self._resumed = None

    def _wrapped_optimizers(self) -> list[Any]:
        wrapped = self.optimizers()
        return wrapped if isinstance(wrapped, list) else [wrapped]

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By the name of their parameter."""
        return {name: each.optimizer for name, each in zip(self._start_rates, self._wrapped_optimizers())}

    def training_step(self, batch: list[int]) -> None:
        """One optimization step for each view that the batch names."""
        for index in batch:
            losses = self._step(index)
        if self.trainer.loggers:
            # Lightning itself would number the calls, and those of a resumed run from 0
            step = {"step": float(self.step_count - 1)}
            self.log_dict(step | {f"loss/{name}": loss.detach() for name, loss in losses.items()})

    def _step(self, index: int) -> dict[str, Tensor]:
        """One optimization step; returns the weighted losses."""
        config = self.training_config
        optimizers = self._optimizers()
        self._set_rates(optimizers)
        view = (self.reduced if self.step_count < config.half_resolution * config.iterations else self.full)[index]
        gaussians = self.representation.gaussians()
        render = self._render(gaussians, view.camera, absgrad=self.absgrad)
        step = DensifyStep(
            step=self.step_count,
            splats=self.representation.splats,
            optimizers=optimizers,
            render=render,
            gaussians=gaussians,
            scene_scale=self.scene_scale,
            total_steps=config.iterations,
        )
        losses = self._losses(step, index, view)
        total = _sum(losses)
        self.densifier.before_backward(step)
        self.manual_backward(total)
        # Lightning counts a step for each optimizer that goes through it; one is enough.
        first, *others = self._wrapped_optimizers()
        first.step()
        for each in others:
            each.optimizer.step()
        with torch.no_grad():
            report = self.densifier.after_step(step)
        if report != _NOTHING:
            self.densified += report
        for parameter in self.representation.splats.values():
            parameter.grad = None
        measured = self.step_count % _PSNR_EVERY == 0 or self.step_count == config.iterations - 1
        if measured or (self.every_step and self.on_step is not None):
            self.losses = {name: float(loss.detach()) for name, loss in losses.items()}
            if self.on_step is not None:
                psnr = _psnr(render.image.detach(), view.image) if measured else None
                self.on_step(self._event(float(total.detach()), psnr, report))
        self.step_count += 1
        return losses

    def _losses(self, step: DensifyStep, index: int, view: TrainingView) -> dict[str, Tensor]:
        """Weighted, by the names that `Loss` describes; the densifier's begin with ``densifier.``."""
        gaussians = step.gaussians

        def draw(cameras: Cameras) -> Render:
            return self._render(gaussians, cameras.to(self.device))

        seen = LossStep(
            step=step.step,
            total_steps=step.total_steps,
            view_index=index,
            view=view,
            render=step.render,
            gaussians=gaussians,
            splats=step.splats,
            draw=draw,
        )
        losses: dict[str, Tensor] = {}
        for key, loss in self.objective.items():
            plugin, weight = key.partition("#")[0], loss.config.weight
            for name, value in loss(seen).items():
                losses[key if name == plugin else f"{key}.{name}"] = value if weight == 1 else weight * value
        for name, value in self.representation.regularization().items():
            losses[f"representation.{name}" if name in losses else name] = value
        for name, value in self.densifier.losses(step).items():
            losses[f"densifier.{name}"] = value
        return losses

    def _event(self, loss: float, psnr: float | None, report: DensifyReport) -> StepEvent:
        return StepEvent(
            step=self.step_count,
            total_steps=self.training_config.iterations,
            loss=loss,
            losses=self.losses,
            psnr=psnr,
            gaussians=len(self.representation.splats[_POSITION]),
            report=report,
            current=self._current,
            draw=self._draw,
            views=self.views,
            so_far=self.densified,
        )

    @torch.no_grad()
    def _current(self) -> Gaussians:
        return self.representation.gaussians().detach()

    @torch.no_grad()
    def _draw(self, cameras: Cameras) -> Render:
        return self._render(self._current(), cameras.to(self.device))

    def _render(self, gaussians: Gaussians, cameras: Cameras, *, absgrad: bool = False) -> Render:
        """Over white, as the views are."""
        white = torch.ones(3, device=self.device)
        return self.renderer.render(gaussians, cameras, background=white, absgrad=absgrad)

    def _set_rates(self, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        config = self.training_config
        progress = self.step_count / config.iterations
        for name, optimizer in optimizers.items():
            decay = config.position_decay if name == _POSITION else config.rate_decay
            optimizer.param_groups[0]["lr"] = self._start_rates[name] * decay**progress

    def checkpoint(self) -> dict[str, Any]:
        """All that an interrupted optimization needs to continue with the same results; tensors and plain values."""
        state = {
            "step_count": self.step_count,
            "representation": self.representation.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
            "densifier": self.densifier.state_dict(),
            "densified": self.densified.to_dict(),
            "objective": {key: loss.state_dict() for key, loss in self.objective.items()},
            "random": torch.get_rng_state(),
        }
        return state | ({"random_cuda": torch.cuda.get_rng_state()} if self.device.type == "cuda" else {})

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Continue from a `checkpoint`; to be called before `train`, on a representation initialized as it was then."""
        splats = self.representation.splats
        for name in splats:
            value = checkpoint["representation"][f"splats.{name}"]  # there may be more or fewer Gaussians by now
            splats[name] = nn.Parameter(torch.empty_like(value), requires_grad=splats[name].requires_grad)
        self.representation.load_state_dict(checkpoint["representation"])
        self.densifier.load_state_dict(checkpoint["densifier"])
        self.densified = DensifyReport(**checkpoint["densified"])
        self.step_count = checkpoint["step_count"]
        self._resumed = checkpoint


def _sum(losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Their sum.

    Raises:
        BrokenPluginError: one is no scalar, or not where the others are.
    """
    try:
        return torch.stack(list(losses.values())).sum()
    except (RuntimeError, TypeError) as error:
        described = {
            name: f"a tensor of shape {list(each.shape)} on {each.device}" if isinstance(each, Tensor) else repr(each)
            for name, each in losses.items()
        }
        found = "; ".join(f"{name} is {what}" for name, what in described.items()) or "there is none"
        raise BrokenPluginError(f"a step needs losses that are scalar tensors on one device, but {found}") from error


def _psnr(image: Tensor, target: Tensor) -> float:
    squared = functional.mse_loss(image.clamp(0, 1), target)
    return -10 * math.log10(max(float(squared), 1e-10))


def assemble(
    config: RunConfig,
    mesh: HeadMesh,
    views: Views,
    renderer: Renderer[Any],
    *,
    on_step: Callable[[StepEvent], None] | None = None,
    every_step: bool = False,
) -> tuple[PortraitModule, list[int]]:
    """What `train` runs: the chosen parts, started on the mesh, and which view each step draws.

    ``on_step`` and ``every_step`` are those of `PortraitModule`.

    Raises:
        BrokenPluginError: a part cannot be imported or does not implement its kind.
    """
    representation: Representation[Any] = config.build(Representation)
    representation.initialize(mesh, views, seed=config.seed)
    keys = [key.partition(".")[2] for key, choice in config.plugins if choice.entry.spec.kind is Kind.LOSS]
    module = PortraitModule(
        representation,
        config.build(Densifier),
        renderer,
        dict(zip(keys, config.build_listed(Loss), strict=True)),
        mesh,
        views,
        config.training,
        absgrad="absgrad" in config.choices[Kind.DENSIFIER].entry.spec.needs,
        on_step=on_step,
        every_step=every_step,
    )
    return module, view_order(views, config.training.iterations, config.training.photo_share, config.seed)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's messages on hardware and loops, which mean nothing to a user of this program."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            yield
    finally:
        logger.setLevel(level)


class _Checkpoints(lightning.Callback):
    """Writes a checkpoint from time to time over the last one."""

    def __init__(self, path: Path, on_checkpoint: Callable[[CheckpointEvent], None] | None) -> None:
        self._path, self._tell, self._since = path, on_checkpoint, time.monotonic()

    def on_train_batch_end(self, trainer: Any, module: lightning.LightningModule, *_: Any) -> None:
        if time.monotonic() - self._since < _CHECKPOINT_SECONDS:
            return
        assert isinstance(module, PortraitModule)
        save_checkpoint(self._path, module)
        self._since = time.monotonic()
        if self._tell is not None:
            self._tell(CheckpointEvent(self._path, module.step_count))


def save_checkpoint(path: Path, module: PortraitModule) -> None:
    """Write ``module.checkpoint()`` in one step.

    Raises:
        PortraitError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            torch.save(module.checkpoint(), temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise PortraitError(f"cannot write the checkpoint {path}: {error}") from error


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote; None where there is no file, or a damaged one."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
    return checkpoint


def train(
    module: PortraitModule,
    order: list[int],
    *,
    device: str,
    checkpoint: Path | None = None,
    on_checkpoint: Callable[[CheckpointEvent], None] | None = None,
    trainer: Mapping[str, Any] | None = None,
) -> None:
    """Run the optimization: one step for each view named in ``order``, without those that a resumed module has done.

    Args:
        checkpoint: where to write checkpoints; None for nowhere.
        on_checkpoint: hears of each.
        trainer: further arguments of `lightning.Trainer`; they replace those given here, callbacks are added.
    """
    options: dict[str, Any] = {
        "accelerator": "gpu" if device == "cuda" else "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        **(trainer or {}),
    }
    own = [] if checkpoint is None else [_Checkpoints(checkpoint, on_checkpoint)]
    options["callbacks"] = [*own, *(options.get("callbacks") or [])]
    with _quiet_lightning():
        running = lightning.Trainer(**options)
        try:
            # a generator of its own, as a loader draws a number from torch's when it starts
            remaining, generator = order[module.step_count :], torch.Generator()
            batches: Any = DataLoader(remaining, batch_size=_BATCH, collate_fn=list, generator=generator)  # type: ignore[arg-type]
            running.fit(module, train_dataloaders=batches)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
