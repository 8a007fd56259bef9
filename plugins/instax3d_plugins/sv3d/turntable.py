"""From a framed photo to the frames of a turntable, with the networks where memory allows them to be."""

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
from .memory import Job, Way, announcement, choose, free_memory, leaner
from .sampler import Condition, sample

_LOG = logging.getLogger("instax3d.sv3d")


@dataclass(frozen=True)
class Settings:
    """How a turntable is made."""

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
    settings: Settings,
    *,
    seed: int,
) -> Float[Tensor, "frames 3 h w"]:
    """All frames in [0, 1], on the CPU; the last is the input view, generated like the others.

    Where memory runs out, a leaner way is tried and said. Random numbers are drawn on the CPU: the same seed gives the
    same noise on every device.

    Args:
        image: the photo on white, in [0, 1]; its sides are multiples of 64.
        vector: see `embeddings.vector_condition`.

    Raises:
        IncompatiblePipelineError: there is not enough memory in any way.
        torch.OutOfMemoryError: what was planned to fit did not, in the leanest way.
    """
    job = Job.of(
        checkpoint,
        size=image.shape[-1],
        steps=settings.steps,
        decode_chunk=settings.decode_chunk,
        dtype=settings.dtype,
    )
    free = free_memory(settings.device)
    way = choose(job, settings.memory, free, settings.device)
    _LOG.info(announcement(way, job, free, settings.device, settings.dtype))
    while True:
        try:
            return _Run(checkpoint, settings, way).frames(image, vector, seed)
        except torch.OutOfMemoryError:
            following = leaner(way, settings.device)
            if following is None:
                raise
            way = following
        # outside the handler, whose traceback holds on to the tensors
        _LOG.info(f"memory ran out on {settings.device}; SV3D begins anew with {way.does}")
        _free(settings.device)


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@dataclass
class _Run:
    """One attempt."""

    checkpoint: Checkpoint
    settings: Settings
    way: Way
    _loaded: dict[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def frames(self, image: Tensor, vector: Tensor, seed: int) -> Tensor:
        settings, generator = self.settings, torch.Generator().manual_seed(seed)
        photo = image[None] * 2 - 1
        augmented = photo + CONDITION_AUGMENTATION * torch.randn(photo.shape, generator=generator)
        with_clip = self._get("image_encoder", self.checkpoint.load_image_encoder)
        token = clip.embed(with_clip, photo).cpu()[None, 0]
        del with_clip
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
            together=self.way.together,
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
                made = vae.decode(
                    decoder, latents, chunk=chunk, on_chunk=lambda done: count(done, len(latents), "frames decoded")
                )
                return (made / 2 + 0.5).clamp(0, 1)
            except torch.OutOfMemoryError:
                if chunk == 1:
                    raise
            chunk = max(1, chunk // 2)
            _LOG.info(f"memory ran out while frames were decoded; now {chunk} at a time")
            _free(self.settings.device)

    def _get(self, part: str, load: Callable[[torch.dtype], Any]) -> Any:
        """The network, ready for work on the device."""
        if part not in self._loaded:
            network = load(self.settings.dtype)
            if part == "unet" and self.way.resident == "none":
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
        """Leave the device to the others, where they do not all fit."""
        if self.way.resident != "all":
            self._loaded.pop(part)
            _free(self.settings.device)
