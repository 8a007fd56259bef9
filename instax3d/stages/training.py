"""`PortraitModule`: the Lightning module that composes a representation, a densifier, a renderer and the losses."""

import logging
import math
import pickle
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from instax3d.config import RunConfig, TrainingConfig
from instax3d.errors import PortraitError
from instax3d.interfaces import Densifier, Renderer, Representation
from instax3d.io.files import atomic
from instax3d.splats.photometric import alpha_loss, photometric_loss
from instax3d.types import Cameras, DensifyStep, HeadMesh, TrainingView, Views

_POSITION = "means"
_PSNR_EVERY = 10
_CHECKPOINT_SECONDS = 10.0
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


@dataclass(frozen=True)
class StepReport:
    """What a progress display may show of a step."""

    step: int
    loss: float
    psnr: float | None
    """Of the step's view at the step's resolution; None in most steps, as it costs time."""
    gaussians: int


class PortraitModule(lightning.LightningModule):
    """Optimizes the Gaussians of a head; knows its parts only by their contracts.

    Optimization is manual: one Adam (0.9, 0.999) per parameter, whose rates decay exponentially, the means' to
    ``position_decay`` and the others' to ``rate_decay`` of their start. Each step renders one view:
    loss = mean over pixels of confidence * ((1 - w) L1 + w (1 - SSIM) + w_alpha |alpha - alpha*|) + regularization.
    """

    def __init__(
        self,
        representation: Representation[Any],
        densifier: Densifier[Any],
        renderer: Renderer[Any],
        views: Views,
        config: TrainingConfig,
        *,
        scene_scale: float,
        on_step: Callable[[StepReport], None] = lambda report: None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.representation = representation
        self.densifier = densifier
        self.renderer = renderer
        self.training_config = config
        self.scene_scale = scene_scale
        self.on_step = on_step
        self.full = training_views(views)
        self.reduced = training_views(views, 0.5) if config.half_resolution > 0 else self.full
        self.step_count = 0
        self.losses: dict[str, float] = {}
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

    def on_train_start(self) -> None:
        if self._resumed is None:
            return
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
            self._step(index)

    def _step(self, index: int) -> None:
        config = self.training_config
        optimizers = self._optimizers()
        self._set_rates(optimizers)
        view = (self.reduced if self.step_count < config.half_resolution * config.iterations else self.full)[index]
        gaussians = self.representation.gaussians()
        render = self.renderer.render(
            gaussians, view.camera, background=torch.ones(3, device=self.device), absgrad=self.densifier.absgrad
        )
        losses = {
            "photometric": photometric_loss(
                render.image, view.image, ssim_weight=config.ssim_weight, weight=view.confidence
            )
        }
        if config.alpha_weight:
            wrong = alpha_loss(render.alpha, view.alpha, weight=view.confidence)
            losses["alpha"] = config.alpha_weight * wrong
        losses |= self.representation.regularization()
        total = torch.stack(list(losses.values())).sum()
        step = DensifyStep(
            step=self.step_count,
            splats=self.representation.splats,
            optimizers=optimizers,
            render=render,
            gaussians=gaussians,
            scene_scale=self.scene_scale,
            total_steps=config.iterations,
        )
        self.densifier.before_backward(step)
        self.manual_backward(total)
        # Lightning counts a step for each optimizer that goes through it; one is enough.
        first, *others = self._wrapped_optimizers()
        first.step()
        for each in others:
            each.optimizer.step()
        with torch.no_grad():
            self.densifier.after_step(step)
        for parameter in self.representation.splats.values():
            parameter.grad = None
        if self.step_count % _PSNR_EVERY == 0 or self.step_count == config.iterations - 1:
            self.losses = {name: float(loss.detach()) for name, loss in losses.items()}
            squared = functional.mse_loss(render.image.detach().clamp(0, 1), view.image)
            psnr = -10 * math.log10(max(float(squared), 1e-10))
            self.on_step(StepReport(self.step_count, float(total.detach()), psnr, len(gaussians)))
        self.step_count += 1

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
        self.step_count = checkpoint["step_count"]
        self._resumed = checkpoint


def assemble(
    config: RunConfig,
    mesh: HeadMesh,
    views: Views,
    renderer: Renderer[Any],
    *,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> tuple[PortraitModule, list[int]]:
    """What `train` runs: the chosen parts, started on the mesh, and which view each step draws.

    Raises:
        BrokenPluginError: a part cannot be imported or does not implement its kind.
    """
    representation: Representation[Any] = config.build(Representation)
    representation.initialize(mesh, views, seed=config.seed)
    module = PortraitModule(
        representation,
        config.build(Densifier),
        renderer,
        views,
        config.training,
        scene_scale=scene_extent(views.cameras, mesh.vertices.mean(0)),
        on_step=on_step,
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

    def __init__(self, path: Path) -> None:
        self._path, self._since = path, time.monotonic()

    def on_train_batch_end(self, trainer: Any, module: lightning.LightningModule, *_: Any) -> None:
        if time.monotonic() - self._since < _CHECKPOINT_SECONDS:
            return
        assert isinstance(module, PortraitModule)
        save_checkpoint(self._path, module)
        self._since = time.monotonic()


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


def train(module: PortraitModule, order: list[int], *, device: str, checkpoint: Path | None = None) -> None:
    """Run the optimization: one step for each view named in ``order``, without those that a resumed module has done.

    Args:
        checkpoint: where to write checkpoints; None for nowhere.
    """
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[] if checkpoint is None else [_Checkpoints(checkpoint)],
        )
        try:
            # a generator of its own, as a loader draws a number from torch's when it starts
            remaining, generator = order[module.step_count :], torch.Generator()
            batches: Any = DataLoader(remaining, batch_size=_BATCH, collate_fn=list, generator=generator)  # type: ignore[arg-type]
            trainer.fit(module, train_dataloaders=batches)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
