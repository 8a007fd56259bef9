"""Between images in [-1, 1] and latents: SV3D's image autoencoder (KL, eight times smaller)."""

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor

SCALE = 0.18215
"""Latents that are denoised are the autoencoder's times this. The condition's latent is not scaled."""
FACTOR = 8
"""Pixels to a latent pixel."""


def encode_moments(vae: AutoencoderKL, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n moments h8 w8"]:
    """Mean and logarithm of the variance, along the channels; images in [-1, 1], not scaled."""
    made: Tensor = vae.quant_conv(vae.encoder(images.to(vae.dtype)))
    return made


def encode_mode(vae: AutoencoderKL, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n channels h8 w8"]:
    """The most likely latents, not scaled."""
    return encode_moments(vae, images).chunk(2, 1)[0]


def decode(
    vae: AutoencoderKL,
    latents: Float[Tensor, "n channels h w"],
    *,
    chunk: int = 14,
    on_chunk: Callable[[int], None] = lambda done: None,
) -> Float[Tensor, "n 3 h8 w8"]:
    """Images, nominally in [-1, 1] and not clipped, of scaled latents; on the CPU, float32.

    ``chunk`` images are decoded at a time, which changes memory and not the result; ``on_chunk`` is told how many are
    done.
    """
    made = []
    for part in latents.split(chunk):
        inside = part.to(vae.device, vae.dtype) / SCALE
        if vae.post_quant_conv is not None:
            inside = vae.post_quant_conv(inside)
        made.append(vae.decoder(inside).float().cpu())
        on_chunk(sum(len(images) for images in made))
    return torch.cat(made)
