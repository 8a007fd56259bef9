"""Between images in [-1, 1] and latents: SV3D's image autoencoder (KL, eight times smaller)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .networks import AutoencoderKL

SCALE = 0.18215
"""Denoised latents are the autoencoder's times this. The condition's latent is not scaled."""
FACTOR = 8
"""Pixels per latent pixel, along each axis."""


def encode_moments(vae: AutoencoderKL, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n moments h8 w8"]:
    """Mean and logarithm of the variance, along the channels; images in [-1, 1], not scaled."""
    assert vae.quant_conv is not None, "only decoders are without"
    moments: Tensor = vae.quant_conv(vae.encoder(images.to(vae.dtype)))
    return moments


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

    ``chunk`` images are decoded at a time, which changes memory and not the result; ``on_chunk`` gets the number of
    images decoded so far.
    """
    decoded: list[Tensor] = []
    for part in latents.split(chunk):
        hidden = part.to(vae.device, vae.dtype) / SCALE
        if vae.post_quant_conv is not None:
            hidden = vae.post_quant_conv(hidden)
        decoded.append(vae.decoder(hidden).float().cpu())
        on_chunk(sum(len(images) for images in decoded))
    return torch.cat(decoded)
