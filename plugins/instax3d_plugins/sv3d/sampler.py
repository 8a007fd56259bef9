"""From noise to the latents of a turntable: Euler steps over EDM's noise levels, which is DDIM with eta 0."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .schedule import Scalings, edm_sigmas, triangle_scales
from .unet import SV3DUNet, precision


@dataclass(frozen=True)
class Condition:
    """What the frames are generated from; float32."""

    token: Float[Tensor, "1 1 context"]
    """CLIP's embedding of the photo."""
    latent: Float[Tensor, "1 channels h w"]
    """The autoencoder's mode of the photo, not scaled."""
    vector: Float[Tensor, "frames features"]
    """See `embeddings.vector_condition`; guidance does not drop it."""


def initial_noise(unit: Float[Tensor, "frames channels h w"]) -> Float[Tensor, "frames channels h w"]:
    """Unit normal noise at the first noise level."""
    first = edm_sigmas(1)[0]
    return unit * (1 + first**2).sqrt()


def sample(
    unet: SV3DUNet,
    condition: Condition,
    unit_noise: Float[Tensor, "frames channels h w"],
    *,
    steps: int,
    guidance: float,
    together: bool = True,
    on_step: Callable[[int, Tensor], None] = lambda done, latents: None,
) -> Float[Tensor, "frames channels h w"]:
    """Scaled latents of all frames, float32, on the network's device.

    Args:
        unit_noise: unit normal.
        guidance: the scale at the frame opposite to the photo (`triangle_scales`).
        together: run the network on the conditioned and the unconditioned branch at once; one after the other takes
            less memory.
        on_step: told, before each step and at the end, how many steps are done and the latents there.
    """
    device = next(unet.parameters()).device
    sigmas = edm_sigmas(steps)
    scale = triangle_scales(len(unit_noise), guidance).to(device)[:, None, None, None]
    branches = _Branches(unet, condition, len(unit_noise), together)
    latents = initial_noise(unit_noise.to(device).float())
    for index, (sigma, following) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist())):
        on_step(index, latents)
        c = Scalings.at(torch.tensor(sigma))
        plain, conditioned = branches(float(c.c_in) * latents, float(c.c_noise))
        # c_skip x is in both branches, so that guiding F guides the clean estimate
        guided = float(c.c_skip) * latents + float(c.c_out) * (plain + scale * (conditioned - plain))
        latents = latents + (following - sigma) * (latents - guided) / sigma
    on_step(steps, latents)
    return latents


class _Branches:
    """The network without and with the photo."""

    def __init__(self, unet: SV3DUNet, condition: Condition, frames: int, together: bool) -> None:
        device, dtype = next(unet.parameters()).device, precision(unet)
        self._unet = unet
        self._together = together
        both = torch.tensor([0.0, 1.0], device=device, dtype=dtype)
        self._token = both[:, None, None] * condition.token.to(device, dtype)
        latent = condition.latent.to(device, dtype)[:, None].expand(1, frames, -1, -1, -1)
        self._latent = both[:, None, None, None, None] * latent
        self._vector = condition.vector.to(device)[None].expand(2, -1, -1)

    def __call__(self, scaled: Tensor, c_noise: float) -> tuple[Tensor, Tensor]:
        """F for the scaled latents, unconditioned and conditioned; float32."""
        noisy = scaled.to(self._latent.dtype)[None].expand(2, -1, -1, -1, -1)
        sample = torch.cat([noisy, self._latent], 2)
        level = torch.full((2,), c_noise, device=sample.device)
        if self._together:
            plain, conditioned = self._unet(sample, level, self._token, self._vector).float()
        else:
            plain, conditioned = (
                self._unet(sample[at : at + 1], level[:1], self._token[at : at + 1], self._vector[at : at + 1])[
                    0
                ].float()
                for at in range(2)
            )
        return plain, conditioned
