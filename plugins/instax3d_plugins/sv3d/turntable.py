"""Samples the frames of a turntable from a framed photo, within the memory there is."""

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.io.progress import count

from . import clip, vae
from .checkpoint import Checkpoint, Decoder
from .embeddings import CONDITION_AUGMENTATION
from .free_memory import free_memory
from .memory import MemoryPlan, Workload, announcement, choose_plan, leaner
from .sampler import Condition, sample

_LOG = logging.getLogger("instax3d.sv3d")


@dataclass(frozen=True)
class SamplingSettings:
    """Where and how a turntable is sampled; see `Sv3dConfig`."""

    device: torch.device
    dtype: torch.dtype
    steps: int = 50
    guidance: float = 2.5
    memory: str = "auto"
    decode_chunk: int = 7
    decoder: Decoder = "vae"
    compile: bool = False


def make_turntable(
    checkpoint: Checkpoint,
    image: Float[Tensor, "3 h w"],
    vector: Float[Tensor, "frames features"],
    settings: SamplingSettings,
    *,
    seed: int,
) -> Float[Tensor, "frames 3 h w"]:
    """All frames in [0, 1], on the CPU; the last is the input view, generated like the others.

    When memory runs out, a leaner plan is logged and tried. Random numbers are drawn on the CPU: the same seed
    gives the same noise on every device.

    Args:
        image: the photo on white, in [0, 1]; its sides are multiples of 64.
        vector: see `embeddings.vector_condition`.

    Raises:
        IncompatiblePipelineError: there is not enough memory for any plan.
        torch.OutOfMemoryError: even the leanest plan ran out of memory.
    """
    workload = Workload.of(
        checkpoint,
        size=image.shape[-1],
        steps=settings.steps,
        decode_chunk=settings.decode_chunk,
        dtype=settings.dtype,
    )
    free = free_memory(settings.device)
    plan = choose_plan(workload, settings.memory, free, settings.device)
    _LOG.info(announcement(plan, workload, free, settings.device, settings.dtype))
    while True:
        try:
            return _Attempt(checkpoint, settings, plan).frames(image, vector, seed)
        except torch.OutOfMemoryError:
            next_plan = leaner(plan, settings.device)
            if next_plan is None:
                raise
            plan = next_plan
        # outside the handler, whose traceback keeps the tensors alive
        _LOG.info(f"out of memory on {settings.device}; SV3D restarts with {plan.description}")
        _free(settings.device)


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@dataclass
class _Attempt:
    """One attempt to sample a turntable with a memory plan."""

    checkpoint: Checkpoint
    settings: SamplingSettings
    plan: MemoryPlan
    _loaded: dict[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def frames(self, image: Tensor, vector: Tensor, seed: int) -> Tensor:
        settings, generator = self.settings, torch.Generator().manual_seed(seed)
        photo = image[None] * 2 - 1
        augmented = photo + CONDITION_AUGMENTATION * torch.randn(photo.shape, generator=generator)
        clip_encoder = self._get("image_encoder", self.checkpoint.load_image_encoder)
        token = clip.embed(clip_encoder, photo).cpu()[None, 0]
        del clip_encoder
        self._drop("image_encoder")
        encoder = self._get("vae", self.checkpoint.load_vae)
        latent = vae.encode_mode(encoder, augmented.to(settings.device)).float().cpu()
        del encoder
        self._drop("vae")
        noise = torch.randn(len(vector), *latent.shape[1:], generator=generator)
        unet = self._get("unet", self.checkpoint.load_unet)
        latents = sample(
            unet,
            Condition(token, latent, vector),
            noise,
            steps=settings.steps,
            guidance=settings.guidance,
            together=self.plan.together,
            on_step=lambda done, _: count(done, settings.steps, "denoising steps"),
        ).cpu()
        del unet
        self._drop("unet")
        return self._decoded(latents)

    def _decoded(self, latents: Tensor) -> Tensor:
        first_stage = self.settings.decoder == "first_stage"
        load = self.checkpoint.load_first_stage if first_stage else self.checkpoint.load_vae
        decoder = self._get(self.settings.decoder, load)
        chunk = self.settings.decode_chunk
        while True:
            try:
                frames = vae.decode(
                    decoder, latents, chunk=chunk, on_chunk=lambda done: count(done, len(latents), "frames decoded")
                )
                return (frames / 2 + 0.5).clamp(0, 1)
            except torch.OutOfMemoryError:
                if chunk == 1:
                    raise
            chunk = max(1, chunk // 2)
            _LOG.info(f"out of memory while decoding frames; now {chunk} at a time")
            _free(self.settings.device)

    def _get(self, part: str, load: Callable[[torch.dtype], Any]) -> Any:
        """The network, loaded and on the device as the plan has it."""
        if part not in self._loaded:
            network = load(self.settings.dtype)
            if part == "unet" and self.plan.resident == "none":
                network.enable_group_offload(
                    onload_device=self.settings.device,
                    offload_device=torch.device("cpu"),
                    offload_type="leaf_level",
                )
            else:
                network.to(self.settings.device)
            if part == "unet" and self.settings.compile:
                network.compile()
            self._loaded[part] = network
        return self._loaded[part]

    def _drop(self, part: str) -> None:
        """Free the network, unless the plan keeps all of them on the device."""
        if self.plan.resident != "all":
            self._loaded.pop(part)
            _free(self.settings.device)
