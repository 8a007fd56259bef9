"""SV3D's UNet: diffusers' spatio-temporal UNet with a condition for every frame."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .networks import UNetSpatioTemporalConditionModel

_EPSILON = 1e-5
"""Epsilon of every group normalization in the original; diffusers has 1e-6 in most."""


class SV3DUNet(UNetSpatioTemporalConditionModel):
    """Holds the weights of SV3D_u and SV3D_p under diffusers' names; `.layout` maps them to the official ones."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                module.eps = _EPSILON

    def forward(  # type: ignore[override]  # conditioned on a vector for every frame rather than on time ids
        self,
        sample: Float[Tensor, "batch frames channels h w"],
        timestep: Float[Tensor, "batch"],
        encoder_hidden_states: Float[Tensor, "batch 1 context"],
        vector: Float[Tensor, "batch frames features"],
    ) -> Float[Tensor, "batch frames out h w"]:
        """The network's output F (a prediction of v).

        Args:
            sample: the noisy latent times c_in, and the latent of the condition, along the channels; h and w are
                multiples of 8.
            timestep: c_noise of each clip.
            encoder_hidden_states: CLIP's embedding of the condition image.
            vector: of every frame, by `embeddings.vector_condition`.
        """
        batch, frames = sample.shape[:2]
        # sinusoids are taken in float32 whatever the network's precision
        noise = self.time_embedding(self.time_proj(timestep.float()).to(sample.dtype))
        camera = self.add_embedding(vector.flatten(0, 1).to(sample.dtype))
        embedding = noise.repeat_interleave(frames, 0) + camera
        context = encoder_hidden_states.to(sample.dtype).repeat_interleave(frames, 0)
        shared: dict[str, Tensor] = {"temb": embedding, "image_only_indicator": sample.new_zeros(batch, frames)}
        with_attention = {**shared, "encoder_hidden_states": context}

        hidden = self.conv_in(sample.flatten(0, 1))
        skips = [hidden]
        for block in self.down_blocks:
            hidden, block_outputs = block(hidden_states=hidden, **(with_attention if _attends(block) else shared))
            skips += block_outputs
        hidden = self.mid_block(hidden_states=hidden, **with_attention)
        for block in self.up_blocks:
            resnets = block.get_submodule("resnets")
            assert isinstance(resnets, nn.ModuleList)
            count = len(resnets)
            block_skips = tuple(skips[-count:])
            del skips[-count:]
            hidden = block(
                hidden_states=hidden,
                res_hidden_states_tuple=block_skips,
                **(with_attention if _attends(block) else shared),
            )
            del block_skips
        output: Tensor = self.conv_out(self.conv_act(self.conv_norm_out(hidden))).unflatten(0, (batch, frames))
        return output


def _attends(block: nn.Module) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


def build_unet(config: dict[str, Any]) -> SV3DUNet:
    """The network with that configuration, on torch's current device (none is allocated on ``meta``)."""
    unet = SV3DUNet(**config)
    unet.eval()
    return unet


def precision(unet: nn.Module) -> torch.dtype:
    """The dtype of its weights."""
    return next(unet.parameters()).dtype
