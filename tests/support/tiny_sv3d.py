"""A complete SV3D of the smallest size, in the official layout, with random weights."""

from pathlib import Path

import numpy as np
from instax3d_plugins.sv3d.checkpoint import official_shapes
from instax3d_plugins.sv3d.layout import Architecture, NetworkSizes, Variant, describe
from safetensors.numpy import save_file

METADATA = {"instax3d.unet_head_dim": "32", "instax3d.clip_heads": "2"}
"""Numbers of heads, which shapes do not tell."""


def tiny_architecture(variant: Variant, frames: int) -> Architecture:
    sizes = NetworkSizes(
        frames=frames,
        unet_widths=(32, 32, 64, 64),
        unet_head_dim=32,
        vae_widths=(32,) * 4,
        clip_width=32,
        clip_hidden=64,
        clip_layers=2,
        clip_heads=2,
        clip_image=56,
        context=16,
    )
    return describe(variant, sizes)


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
