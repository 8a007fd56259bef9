"""A complete SV3D of the smallest size, in the official layout, with random weights."""

from pathlib import Path

import numpy as np
from instax3d_sv3d.checkpoint import official_shapes
from instax3d_sv3d.layout import VECTOR_DIM, Architecture, Variant
from safetensors.numpy import save_file

METADATA = {"instax3d.unet_head_dim": "32", "instax3d.clip_heads": "2"}
"""Numbers of heads, which shapes do not tell."""


def tiny_architecture(variant: Variant, frames: int) -> Architecture:
    levels, widths = 4, [32, 32, 64, 64]
    return Architecture(
        variant,
        frames,
        unet={
            "sample_size": 72,
            "in_channels": 8,
            "out_channels": 4,
            "block_out_channels": widths,
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": VECTOR_DIM[variant],
            "layers_per_block": 2,
            "cross_attention_dim": 16,
            "transformer_layers_per_block": 1,
            "num_attention_heads": [1, 1, 2, 2],
            "num_frames": frames,
            "down_block_types": [*["CrossAttnDownBlockSpatioTemporal"] * 3, "DownBlockSpatioTemporal"],
            "up_block_types": ["UpBlockSpatioTemporal", *["CrossAttnUpBlockSpatioTemporal"] * 3],
        },
        vae={
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": 4,
            "block_out_channels": [32] * levels,
            "layers_per_block": 2,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "scaling_factor": 0.18215,
        },
        image_encoder={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "projection_dim": 16,
            "hidden_act": "gelu",
        },
    )


def tiny_tensors(variant: Variant, frames: int = 5, *, seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors by their official names, left-overs of the text tower included."""
    architecture, generator = tiny_architecture(variant, frames), np.random.default_rng(seed)
    made = {}
    for part in ("unet", "vae", "image_encoder", "first_stage"):
        for name, shape in official_shapes(architecture, part).items():
            fan_in = max(1, int(np.prod(shape[1:])))
            around = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
            drawn = generator.standard_normal(shape, dtype=np.float32)
            made[name] = np.asarray(around + drawn * (0.05 if len(shape) <= 1 else 0.7 / fan_in**0.5), np.float32)
    made["conditioner.embedders.0.open_clip.model.logit_scale"] = np.array(4.6, np.float32)
    made["model_ema.decay"] = np.array(0.9999, np.float32)
    return made


def write_tiny(path: Path, variant: Variant, frames: int = 5, *, seed: int = 0) -> Path:
    save_file(tiny_tensors(variant, frames, seed=seed), path, {**METADATA, "instax3d.frames": str(frames)})
    return path
