"""An SV3D small enough to train on a CPU, for pictures of 64x64: its own UNet class at two million parameters.

Its autoencoder is not learnt: a linear one in closed form, the principal components of 8x8 patches. CLIP's tower is
tiny and has random weights.
"""

from dataclasses import dataclass
from typing import Any

import torch
from instax3d_plugins.sv3d.layout import ANGLE_DIM, CONDITION_AUGMENTATION_DIM
from instax3d_plugins.sv3d.unet import SV3DUNet, build_unet
from instax3d_plugins.sv3d.vae import FACTOR, SCALE
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SIZE = 64
CHANNELS = 6
"""Of the latents: SV3D's 4 would leave too little of a picture of 64x64, and more are mostly noise to be removed."""

UNET: dict[str, Any] = {
    "sample_size": SIZE // FACTOR,
    "in_channels": 2 * CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": [64, 64],
    "addition_time_embed_dim": CONDITION_AUGMENTATION_DIM,
    "projection_class_embeddings_input_dim": CONDITION_AUGMENTATION_DIM + 2 * ANGLE_DIM,
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "transformer_layers_per_block": 1,
    "num_attention_heads": [2, 2],
    "num_frames": 21,
    "down_block_types": ["DownBlockSpatioTemporal"] * 2,
    "up_block_types": ["UpBlockSpatioTemporal"] * 2,
}
"""SV3D_p's layout, told its cameras, of two levels and with attention in the middle alone. Group normalization has 32
groups: narrower levels would leave it single channels, and smaller ones single numbers."""
CLIP: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "projection_dim": 32,
    "hidden_act": "gelu",
}


class PatchAutoencoder(nn.Module):
    """Principal components of patches, with the parts that the product's encoding and decoding call.

    Scaled latents have mean 0 and, over all channels together, deviation 1: distances between them are those between
    images. Their variance given an image is nearly none.
    """

    def __init__(self, frames: Tensor) -> None:
        super().__init__()
        patches = nn.functional.unfold(frames, FACTOR, stride=FACTOR).transpose(1, 2).reshape(-1, 3 * FACTOR**2)
        mean = patches.mean(0)
        _, _, axes = torch.pca_lowrank(patches - mean, CHANNELS, niter=6)
        factor = SCALE * ((patches - mean) @ axes).square().mean().sqrt()
        kernels = axes.T.reshape(CHANNELS, 3, FACTOR, FACTOR)
        self.encoder = nn.Conv2d(3, CHANNELS, FACTOR, FACTOR)
        self.encoder.weight.data = kernels / factor
        self.encoder.bias.data = -(mean @ axes) / factor
        self.decoder = nn.ConvTranspose2d(CHANNELS, 3, FACTOR, FACTOR, bias=False)
        self.decoder.weight.data = kernels * factor
        # the mean patch comes in by one more input that is always 1
        self.post_quant_conv = _AppendOne()
        self.decoder.weight.data = torch.cat([self.decoder.weight.data, mean.reshape(1, 3, FACTOR, FACTOR)])
        self.quant_conv = _WithLogVariance()
        self.requires_grad_(False)

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.decoder.weight.device


class _AppendOne(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return torch.cat([latents, torch.ones_like(latents[:, :1])], 1)


class _WithLogVariance(nn.Module):
    def forward(self, mean: Tensor) -> Tensor:
        return torch.cat([mean, torch.full_like(mean, -30.0)], 1)


@dataclass(frozen=True)
class MiniatureSV3D:
    """Gives the networks as a checkpoint does."""

    autoencoder: PatchAutoencoder
    seed: int = 0

    def load_unet(self) -> SV3DUNet:
        torch.manual_seed(self.seed)
        return build_unet(dict(UNET))

    def load_vae(self) -> PatchAutoencoder:
        return self.autoencoder

    def load_image_encoder(self) -> CLIPVisionModelWithProjection:
        torch.manual_seed(self.seed)
        return CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)).eval()
