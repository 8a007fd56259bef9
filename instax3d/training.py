"""`PortraitModule`: the Lightning module that composes a representation, a densifier, a renderer and the losses."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

import logging
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .config import TrainingConfig
from .interfaces import Densifier, Renderer, Representation
from .photometric import photometric_loss
from .types import Cameras, DensifyStep, Views

_POSITION = "means"
_PSNR_EVERY = 10


@dataclass(frozen=True)
class TrainingView:
    """One view at one resolution, ready to be compared with a render."""

    image: Float[Tensor, "1 3 h w"]
    alpha: Float[Tensor, "1 1 h w"]
    camera: Cameras
    trust: Float[Tensor, "1 1 h w"] | None
    """None where every pixel is fully trusted."""

    def to(self, device: torch.device) -> "TrainingView":
        trust = None if self.trust is None else self.trust.to(device)
        return TrainingView(self.image.to(device), self.alpha.to(device), self.camera.to(device), trust)


def training_views(views: Views, factor: float = 1.0) -> list[TrainingView]:
    """The views one by one, reduced by area averaging where ``factor`` < 1."""
    cameras = views.cameras.scaled(factor)
    size = (cameras.height, cameras.width)
    same = size == tuple(views.images.shape[2:])
    found = []
    for index in range(len(views)):
        parts = [full[index : index + 1] for full in (views.images, views.alpha, views.trust)]
        if not same:
            parts = [functional.interpolate(part, size, mode="area") for part in parts]
        image, alpha, trust = (part.contiguous() for part in parts)
        found.append(TrainingView(image, alpha, cameras[index], None if bool((trust == 1).all()) else trust))
    return found


def scene_extent(cameras: Cameras, target: Float[Tensor, "3"]) -> float:
    """3DGS's scene extent: 1.1 times the largest distance of a camera from the cameras' mean.

    Where the cameras (nearly) coincide, their distance to ``target`` serves instead.
    """
    centres = cameras.centres
    spread = float((centres - centres.mean(0)).norm(dim=1).max())
    reach = float((centres - target).norm(dim=1).max())
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
    """What a progress display is told after a step."""

    step: int
    loss: float
    psnr: float | None
    """Of the step's view at the step's resolution; None in most steps, as it costs time."""
    gaussians: int


class PortraitModule(lightning.LightningModule):
    """Optimises the Gaussians of a head; knows its parts only by their contracts.

    Optimisation is manual: one Adam (0.9, 0.999) per parameter, whose rates decay exponentially, the means' to
    ``position_decay`` and the others' to ``rate_decay`` of their start. Each step renders one view:
    loss = mean over pixels of trust * ((1 - w) L1 + w (1 - SSIM) + w_alpha |alpha - alpha*|) + regularisation.
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

    def training_step(self, batch: int) -> None:
        config = self.training_config
        wrapped = self.optimizers()
        wrapped = wrapped if isinstance(wrapped, list) else [wrapped]
        optimizers = {name: each.optimizer for name, each in zip(self._start_rates, wrapped)}
        self._set_rates(optimizers)
        view = (self.reduced if self.step_count < config.half_resolution * config.iterations else self.full)[batch]
        gaussians = self.representation.gaussians()
        render = self.renderer.render(
            gaussians, view.camera, background=torch.ones(3, device=self.device), absgrad=self.densifier.absgrad
        )
        losses = {
            "photometric": photometric_loss(render.image, view.image, ssim_weight=config.ssim_weight, weight=view.trust)
        }
        if config.alpha_weight:
            wrong = (render.alpha - view.alpha).abs()
            losses["alpha"] = config.alpha_weight * (wrong if view.trust is None else view.trust * wrong).mean()
        losses |= self.representation.regularisation()
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
        wrapped[0].step()
        for each in wrapped[1:]:
            each.optimizer.step()
        with torch.no_grad():
            self.densifier.after_backward(step)
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["step_count"] = self.step_count
        checkpoint["densifier"] = self.densifier.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The number of Gaussians has changed since the representation was initialised.
        splats = self.representation.splats
        prefix = "representation.splats."
        for name, value in checkpoint["state_dict"].items():
            if name.startswith(prefix):
                key = name.removeprefix(prefix)
                splats[key] = nn.Parameter(torch.empty_like(value), requires_grad=splats[key].requires_grad)
        self.step_count = checkpoint["step_count"]
        self.densifier.load_state_dict(checkpoint["densifier"])


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning announces hardware and loops that mean nothing to a user of this program."""
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


def train(module: PortraitModule, order: list[int], *, device: str) -> None:
    """Run the optimisation: one step for each view named in ``order``."""
    with _quiet_lightning():
        trainer = lightning.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(module, train_dataloaders=order)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
