"""EDM's denoising loss for a clip, in SV3D's parametrization."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..schedule import Scalings
from ..unet import SV3DUNet
from .latents import Encoded


@dataclass(frozen=True)
class Draw:
    """All that is random in one step."""

    latents: Float[Tensor, "frames channels h w"]
    """z, scaled."""
    noise: Float[Tensor, "frames channels h w"]
    """n, unit normal."""
    sigma: float
    keep_token: bool
    keep_latent: bool

    @classmethod
    def of(
        cls, clip: Encoded, generator: torch.Generator, *, log_mean: float, log_std: float, dropout: float
    ) -> "Draw":
        """Draw on the CPU. One noise level for the clip; conditions are dropped as `keeps` says."""
        latents = clip.latents(generator)
        noise = torch.randn(latents.shape, generator=generator)
        sigma = float((log_mean + log_std * torch.randn((), generator=generator)).exp())
        token, latent = keeps(float(torch.rand((), generator=generator)), dropout)
        return cls(latents, noise, sigma, token, latent)


def keeps(uniform: float, dropout: float) -> tuple[bool, bool]:
    """Whether CLIP's token and the latent are kept: three equal shares lose the token, both, and the latent."""
    return uniform >= 2 * dropout, not dropout <= uniform < 3 * dropout


def loss_of(
    unet: torch.nn.Module | SV3DUNet,
    clip: Encoded,
    draw: Draw,
    vector: Float[Tensor, "frames features"],
    device: torch.device,
) -> Float[Tensor, ""]:
    """The mean squared error of F against v = (n - sigma z) / sqrt(1 + sigma^2).

    With D = c_skip x + c_out F this is EDM's (1 + sigma^2) / sigma^2 |D - z|^2 for unit data deviation, without its
    division by small sigmas (Karras et al. 2022, eq. 8; the weighting is generative-models' ``VWeighting``).
    """
    level = torch.tensor(draw.sigma)
    c = Scalings.at(level)
    noisy = float(c.c_in) * (draw.latents + draw.sigma * draw.noise)
    told = draw.keep_latent * clip.condition.expand_as(noisy)
    sample = torch.cat([noisy, told], 1)[None].to(device)
    token = (draw.keep_token * clip.token)[None].to(device)
    made = unet(sample, c.c_noise[None].to(device), token, vector[None].to(device))
    target = (draw.noise - draw.sigma * draw.latents) / (1 + draw.sigma**2) ** 0.5
    return functional.mse_loss(made[0].float(), target.to(device))
