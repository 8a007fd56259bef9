"""SV3D's UNet under training."""

from typing import Protocol, runtime_checkable

import lightning
import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.datasets import AZIMUTHS_DEG
from instax3d.errors import BrokenPluginError

from ..embeddings import vector_condition
from ..layout import Variant
from ..sampler import Condition, sample
from ..schedule import GUIDANCE
from ..unet import SV3DUNet
from .data import Item
from .latents import EncodedClip
from .objective import Draw, loss_of
from .options import FinetuneConfig

_LORA_TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
_VALIDATION_SIGMAS = (0.25, 1.0, 4.0, 16.0)
"""Noise levels at which the loss on held-out clips is evaluated, always with the same noise."""


@runtime_checkable
class _LowRankUpdates(Protocol):
    """Of peft's `LoraModel`, which is an optional import, what is used here."""

    def merge_and_unload(self) -> torch.nn.Module: ...


class Sv3dFinetuning(lightning.LightningModule):
    """Tunes the UNet, or low-rank updates of its attention; autoencoder and CLIP are frozen and not part of it."""

    def __init__(self, unet: SV3DUNet, variant: Variant, config: FinetuneConfig) -> None:
        super().__init__()
        self.variant: Variant = variant
        self.tuning = config
        unet.requires_grad_(config.lora_rank == 0)
        self._lora: tuple[_LowRankUpdates] | None = None
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        if config.lora_rank:
            self._lora = (
                _with_lora(unet, config.lora_rank),
            )  # a tuple, so that torch does not register the UNet twice
        self.unet = unet

    def training_step(self, batch: Item, batch_idx: int) -> Float[Tensor, ""]:
        # Seeded by the step's number, not by a running state: the same after resuming.
        generator = torch.Generator().manual_seed(self.tuning.seed * 2_000_003 + batch.number + 1)
        options = self.tuning
        draw = Draw.of(
            batch.clip,
            generator,
            log_mean=options.sigma_log_mean,
            log_std=options.sigma_log_std,
            dropout=options.dropout,
        )
        loss = loss_of(self.unet, batch.clip, draw, self.vector(batch.clip), self.device)
        self.log("loss", loss, prog_bar=True, batch_size=1, sync_dist=True)
        return loss

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        generator = torch.Generator().manual_seed(batch.number)
        latents = batch.clip.latents(generator)
        noise = torch.randn(latents.shape, generator=generator)
        losses = [
            loss_of(
                self.unet, batch.clip, Draw(latents, noise, sigma, True, True), self.vector(batch.clip), self.device
            )
            for sigma in _VALIDATION_SIGMAS
        ]
        self.log("loss_held_out", torch.stack(losses).mean(), prog_bar=True, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            trainable, lr=self.tuning.rate, betas=(0.9, 0.999), weight_decay=self.tuning.weight_decay
        )

    def vector(self, clip: EncodedClip) -> Float[Tensor, "frames features"]:
        """The vector condition of a clip, as in sampling."""
        elevations = [clip.elevation_deg] * len(AZIMUTHS_DEG)
        return vector_condition(self.variant, AZIMUTHS_DEG, elevations, camera=self.tuning.camera)

    @torch.no_grad()
    def sampled(self, clip: EncodedClip, *, steps: int, seed: int = 0) -> Float[Tensor, "frames channels h w"]:
        """Scaled latents of a clip, generated from its input view; float32."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(AZIMUTHS_DEG), *clip.condition.shape, generator=generator)
        condition = Condition(clip.token[None], clip.condition[None], self.vector(clip))
        training = self.unet.training
        self.unet.eval()
        try:
            return sample(self.unet, condition, noise, steps=steps, guidance=GUIDANCE, together=False)
        finally:
            self.unet.train(training)

    def tuned(self) -> SV3DUNet:
        """The tuned network, low-rank updates merged; the module cannot be trained afterwards."""
        if self._lora is not None:
            self._lora[0].merge_and_unload()
        return self.unet


def _with_lora(unet: SV3DUNet, rank: int) -> _LowRankUpdates:
    """Add low-rank updates to the UNet's attention, in place; alpha equals the rank."""
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ImportError as error:
        raise BrokenPluginError("lora_rank needs the package peft; try: pip install 'instax3d[sv3d]'") from error
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_LORA_TARGETS)
    updates: _LowRankUpdates = LoraModel(unet, {"default": config}, "default")
    return updates
