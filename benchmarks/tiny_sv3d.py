"""An SV3D small enough to train on a CPU: the same classes and layout, a thousandth of the size, 64 pixels a side."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from instax3d_sv3d.checkpoint import save_folder
from instax3d_sv3d.layout import ANGLE_DIM, CONDITION_AUGMENTATION_DIM, Architecture
from instax3d_sv3d.unet import build_unet
from instax3d_sv3d.vae import SCALE
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SIZE = 64
_CHANNELS = 16
"""Of the latents: SV3D's 4 would leave 8x8x4 numbers of a picture of 64x64."""


def architecture(*, wide: int = 32, channels: int = _CHANNELS) -> Architecture:
    """SV3D_p's, with ``wide`` channels in the UNet's first level and twice as many in the others."""
    levels = ["DownEncoderBlock2D"] * 4
    return Architecture(
        "p",
        21,
        unet={
            "sample_size": 8,
            "in_channels": 2 * channels,
            "out_channels": channels,
            "block_out_channels": [wide, 2 * wide, 2 * wide, 2 * wide],
            "addition_time_embed_dim": CONDITION_AUGMENTATION_DIM,
            "projection_class_embeddings_input_dim": CONDITION_AUGMENTATION_DIM + 2 * ANGLE_DIM,
            "layers_per_block": 1,
            "cross_attention_dim": 32,
            "transformer_layers_per_block": 1,
            "num_attention_heads": [1, 2, 2, 2],
            "num_frames": 21,
            "down_block_types": [*["CrossAttnDownBlockSpatioTemporal"] * 3, "DownBlockSpatioTemporal"],
            "up_block_types": ["UpBlockSpatioTemporal", *["CrossAttnUpBlockSpatioTemporal"] * 3],
        },
        vae={
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": channels,
            "block_out_channels": [16, 32, 48, 64],
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "down_block_types": levels,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "scaling_factor": SCALE,
        },
        image_encoder={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "projection_dim": 32,
            "hidden_act": "gelu",
        },
    )


def write_tiny(folder: Path, made: Architecture, vae: AutoencoderKL, *, seed: int) -> None:
    """A checkpoint with this autoencoder; UNet and CLIP's tower have random weights."""
    torch.manual_seed(seed)
    unet = build_unet(dict(made.unet))
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**made.image_encoder))
    save_folder(
        folder, made, {"unet": unet.state_dict, "vae": vae.state_dict, "image_encoder": tower.state_dict}
    )


def train_autoencoder(made: Architecture, frames: Tensor, *, steps: int, seed: int) -> AutoencoderKL:
    """Mean squared error and a trace of KL on frames in [-1, 1]; latents then brought to the scale of SV3D's."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(**made.vae)
    optimizer = torch.optim.AdamW(vae.parameters(), 3e-3)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        batch = frames[torch.randint(len(frames), (24,))]
        moments = vae.quant_conv(vae.encoder(batch))
        mean, log_variance = moments.chunk(2, 1)
        log_variance = log_variance.clamp(-30, 10)
        latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        made_again = vae.decoder(vae.post_quant_conv(latents))
        error = functional.mse_loss(made_again, batch)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        optimizer.zero_grad()
        (error + 1e-5 * kl).backward()
        optimizer.step()
        rates.step()
        if (step + 1) % 100 == 0:
            psnr = -10 * float(torch.log10(error / 4))
            print(f"autoencoder: {step + 1} of {steps} steps, PSNR {psnr:.1f} dB", flush=True)
    return _standardised(vae.eval(), frames[torch.randperm(len(frames))[:512]])


@torch.no_grad()
def _standardised(vae: AutoencoderKL, frames: Tensor) -> AutoencoderKL:
    """The same autoencoder whose scaled latents have mean 0 and deviation 1, folded into its 1x1 convolutions."""
    mean = vae.quant_conv(vae.encoder(frames)).chunk(2, 1)[0]
    centre, factor = mean.mean((0, 2, 3)), 1 / SCALE / mean.std((0, 2, 3))
    count = len(centre)
    encode, decode = vae.quant_conv, vae.post_quant_conv
    encode.bias[:count] -= centre
    encode.weight[:count] *= factor[:, None, None, None]
    encode.bias[:count] *= factor
    encode.bias[count:] += 2 * factor.log()
    decode.bias += decode.weight[:, :, 0, 0] @ centre
    decode.weight /= factor[None, :, None, None]
    return vae
