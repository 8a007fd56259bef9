"""Names and sizes of SV3D's tensors, in the official flat file and in diffusers' and transformers' classes. No torch.

The official file is the state dictionary of Stability AI's generative-models; `PREFIXES` says where its parts lie. For
each tensor of a part, `TensorSource` holds its official name and how it is stored there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Variant = Literal["u", "p"]
"""SV3D_u has no camera condition; SV3D_p is conditioned on elevation and azimuth of every frame."""
Shape = tuple[int, ...]
Part = Literal["unet", "vae", "image_encoder", "first_stage"]

PREFIXES: Mapping[Part, str] = {
    "unet": "model.diffusion_model.",
    "vae": "conditioner.embedders.1.encoder.",
    "image_encoder": "conditioner.embedders.0.open_clip.model.visual.",
    "first_stage": "first_stage_model.",
}
"""Where the parts lie in the official file. ``vae`` encodes the condition and decodes the frames; ``first_stage`` is a
second decoder (without encoder), with which the original program decodes."""
TOLERATED = ("model_ema.", "conditioner.embedders.", "denoiser.")
"""Further tensors that official files may contain and that are not needed here: averages from training, remains of
CLIP's text tower, constants of the denoiser."""

CONDITION_AUGMENTATION_DIM = 256
ANGLE_DIM = 512
"""Widths of the sinusoids of the condition's noise level, and of each frame's polar angle and azimuth."""
VECTOR_DIM: Mapping[Variant, int] = {"u": CONDITION_AUGMENTATION_DIM, "p": CONDITION_AUGMENTATION_DIM + 2 * ANGLE_DIM}

OFFICIAL_FRAMES = 21
_LAYERS = 2
"""Residual blocks in each level of the UNet and of the VAE's encoder."""


@dataclass(frozen=True)
class TensorSource:
    """Where a tensor lies in the official file, and how it is stored there."""

    name: str
    """Within its part, without the prefix."""
    form: Literal["same", "transposed", "pointwise", "q", "k", "v"] = "same"
    """``pointwise``: a 1x1 convolution there, a matrix here; ``q``, ``k``, ``v``: a third of the rows."""

    def official_shape(self, shape: Shape) -> Shape:
        """The official shape of a tensor that has ``shape`` here."""
        if self.form == "transposed":
            return shape[::-1]
        if self.form == "pointwise" and len(shape) == 2:
            return (*shape, 1, 1)
        if self.form in ("q", "k", "v"):
            return (3 * shape[0], *shape[1:])
        return shape

    def take(self, tensor: Any) -> Any:
        """This tensor, from the official one (an array or tensor)."""
        if self.form == "transposed":
            return tensor.T
        if self.form == "pointwise":
            return tensor.reshape(tensor.shape[:2]) if tensor.ndim == 4 else tensor
        if self.form in ("q", "k", "v"):
            third = tensor.shape[0] // 3
            at = "qkv".index(self.form) * third
            return tensor[at : at + third]
        return tensor


def _renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """The name after the first rule whose pattern begins it."""
    for pattern, replacement in rules:
        renamed, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return renamed
    return name


_RESIDUAL = (
    (r"norm1\.", "in_layers.0."),
    (r"conv1\.", "in_layers.2."),
    (r"time_emb_proj\.", "emb_layers.1."),
    (r"norm2\.", "out_layers.0."),
    (r"conv2\.", "out_layers.3."),
    (r"conv_shortcut\.", "skip_connection."),
)
_ATTENTION = (
    (r"temporal_transformer_blocks\.", "time_stack."),
    (r"time_pos_embed\.linear_1\.", "time_pos_embed.0."),
    (r"time_pos_embed\.linear_2\.", "time_pos_embed.2."),
)
_UNET_ENDS = (
    (r"time_embedding\.linear_1\.", "time_embed.0."),
    (r"time_embedding\.linear_2\.", "time_embed.2."),
    (r"add_embedding\.linear_1\.", "label_emb.0.0."),
    (r"add_embedding\.linear_2\.", "label_emb.0.2."),
    (r"conv_in\.", "input_blocks.0.0."),
    (r"conv_norm_out\.", "out.0."),
    (r"conv_out\.", "out.2."),
)


def _residual(name: str) -> str:
    name = name.removeprefix("spatial_res_block.")
    if name.startswith("temporal_res_block."):
        return "time_stack." + _renamed(name.removeprefix("temporal_res_block."), _RESIDUAL)
    return _renamed(name, _RESIDUAL)


def unet_source(name: str) -> TensorSource:
    """Of a tensor of `UNetSpatioTemporalConditionModel`."""
    block = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    if block:
        side, level, what, index, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
        if what == "downsamplers":
            return TensorSource(f"input_blocks.{(_LAYERS + 1) * (level + 1)}.0.{rest.replace('conv.', 'op.', 1)}")
        if what == "upsamplers":
            # behind the attention, where the level has one: all but the coarsest
            return TensorSource(f"output_blocks.{(_LAYERS + 1) * level + _LAYERS}.{1 if level == 0 else 2}.{rest}")
        number = (_LAYERS + 1) * level + index + (side == "down")
        inside = f"0.{_residual(rest)}" if what == "resnets" else f"1.{_renamed(rest, _ATTENTION)}"
        return TensorSource(f"{'input' if side == 'down' else 'output'}_blocks.{number}.{inside}")
    middle = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
    if middle and middle[1] == "resnets":
        return TensorSource(f"middle_block.{2 * int(middle[2])}.{_residual(middle[3])}")
    if middle:
        return TensorSource(f"middle_block.1.{_renamed(middle[3], _ATTENTION)}")
    return TensorSource(_renamed(name, _UNET_ENDS))


_CLIP_ENDS = (
    (r"embeddings\.class_embedding", "class_embedding"),
    (r"embeddings\.patch_embedding\.", "conv1."),
    (r"embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"pre_layrnorm\.", "ln_pre."),  # the spelling of transformers
    (r"post_layernorm\.", "ln_post."),
)
_CLIP_LAYER = (
    (r"layer_norm1\.", "ln_1."),
    (r"layer_norm2\.", "ln_2."),
    (r"self_attn\.out_proj\.", "attn.out_proj."),
    (r"mlp\.fc1\.", "mlp.c_fc."),
    (r"mlp\.fc2\.", "mlp.c_proj."),
)
_FORMS: Mapping[str, Literal["q", "k", "v"]] = {"q": "q", "k": "k", "v": "v"}


def clip_source(name: str) -> TensorSource:
    """Of a tensor of `CLIPVisionModelWithProjection`."""
    if name == "visual_projection.weight":
        return TensorSource("proj", "transposed")
    name = name.removeprefix("vision_model.")
    layer = re.match(r"encoder\.layers\.(\d+)\.(.*)", name)
    if not layer:
        return TensorSource(_renamed(name, _CLIP_ENDS))
    place, rest = f"transformer.resblocks.{layer[1]}.", layer[2]
    projection = re.match(r"self_attn\.([qkv])_proj\.(weight|bias)", rest)
    if projection:
        return TensorSource(f"{place}attn.in_proj_{projection[2]}", _FORMS[projection[1]])
    return TensorSource(place + _renamed(rest, _CLIP_LAYER))


_VAE_ATTENTION = (
    (r"group_norm\.", "norm."),
    (r"to_q\.", "q."),
    (r"to_k\.", "k."),
    (r"to_v\.", "v."),
    (r"to_out\.0\.", "proj_out."),
)


def vae_source(levels: int) -> Callable[[str], TensorSource]:
    """Of a tensor of `AutoencoderKL` with ``levels`` levels; the official decoder counts them in reverse."""

    def source(name: str) -> TensorSource:
        block = re.match(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(resnets\.(\d+)|\w+samplers\.0)\.(.*)", name)
        if block:
            coder, side, level, rest = block[1], block[2], int(block[3]), block[6]
            at = f"{coder}.{side}.{levels - 1 - level if side == 'up' else level}."
            if block[5] is None:
                return TensorSource(f"{at}{side}sample.{rest}")
            return TensorSource(f"{at}block.{block[5]}.{rest.replace('conv_shortcut', 'nin_shortcut')}")
        middle = re.match(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name)
        if middle and middle[2] == "resnets":
            return TensorSource(f"{middle[1]}.mid.block_{int(middle[3]) + 1}.{middle[4]}")
        if middle:
            inside = _renamed(middle[4], _VAE_ATTENTION)
            form: Literal["same", "pointwise"] = "same" if inside.startswith("norm.") else "pointwise"
            return TensorSource(f"{middle[1]}.mid.attn_1.{inside}", form)
        return TensorSource(name.replace(".conv_norm_out.", ".norm_out."))

    return source


@dataclass(frozen=True)
class Architecture:
    """Arguments of the classes that hold the three networks, as diffusers and transformers name them."""

    variant: Variant
    frames: int
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    image_encoder: Mapping[str, Any]


def variant_of(vector_dim: int) -> Variant | None:
    """By the width of the vector condition, the only difference between the official files."""
    return next((variant for variant, width in VECTOR_DIM.items() if width == vector_dim), None)


def infer(shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> Architecture:
    """The architecture behind the shapes of an official file.

    Shapes do not tell the numbers of heads and of frames: official sizes have 64 channels to a head in the UNet, 80
    in CLIP, and 21 frames; a file of other sizes gives ``instax3d.unet_head_dim``, ``instax3d.clip_heads`` and
    ``instax3d.frames`` in its safetensors metadata.

    Raises:
        KeyError: a tensor whose shape is needed is missing; its official name is the argument.
        ValueError: the vector condition is neither SV3D_u's nor SV3D_p's, or metadata are not numbers.
    """
    metadata = metadata or {}
    unet, vae, clip = PREFIXES["unet"], PREFIXES["vae"], PREFIXES["image_encoder"]
    vector = shapes[unet + "label_emb.0.0.weight"][1]
    variant = variant_of(vector)
    if variant is None:
        raise ValueError(f"its vector condition has {vector} numbers, SV3D_u's has 256 and SV3D_p's 1280")
    levels = sum(f"{vae}encoder.down.{level}.block.0.conv1.weight" in shapes for level in range(8))
    grid = shapes[clip + "positional_embedding"][0] - 1
    width, _, patch, _ = shapes[clip + "conv1.weight"]
    return describe(
        variant,
        NetworkSizes(
            frames=int(metadata.get("instax3d.frames", OFFICIAL_FRAMES)),
            latent_channels=shapes[vae + "post_quant_conv.weight"][0],
            unet_widths=tuple(
                shapes[f"{unet}input_blocks.{3 * level + 1}.0.out_layers.3.weight"][0] for level in range(4)
            ),
            unet_head_dim=int(metadata.get("instax3d.unet_head_dim", 64)),
            vae_widths=tuple(shapes[f"{vae}encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)),
            clip_width=width,
            clip_hidden=shapes[clip + "transformer.resblocks.0.mlp.c_fc.weight"][0],
            clip_layers=len([name for name in shapes if re.fullmatch(re.escape(clip) + r".*\.ln_1\.weight", name)]),
            clip_heads=int(metadata.get("instax3d.clip_heads", max(1, width // 80))),
            clip_image=round(grid**0.5) * patch,
            clip_patch=patch,
            context=shapes[clip + "proj"][1],
        ),
    )


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the three networks; by default the official ones."""

    frames: int = OFFICIAL_FRAMES
    latent_channels: int = 4
    unet_widths: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels of the UNet's four levels; the last has no attention."""
    unet_head_dim: int = 64
    """Channels to a head of its attention."""
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of the autoencoder's levels."""
    clip_width: int = 1280
    clip_hidden: int = 5120
    clip_layers: int = 32
    clip_heads: int = 16
    clip_image: int = 224
    """Side of CLIP's input, pixels."""
    clip_patch: int = 14
    context: int = 1024
    """Numbers in CLIP's embedding."""


OFFICIAL_SIZES = NetworkSizes()


def describe(variant: Variant, sizes: NetworkSizes = OFFICIAL_SIZES) -> Architecture:
    """The architecture of these sizes."""
    return Architecture(
        variant,
        sizes.frames,
        unet=_unet_config(variant, sizes),
        vae=_vae_config(sizes),
        image_encoder=_clip_config(sizes),
    )


def _unet_config(variant: Variant, sizes: NetworkSizes) -> dict[str, Any]:
    """Of diffusers' `UNetSpatioTemporalConditionModel`."""
    return {
        "sample_size": 72,
        "in_channels": 2 * sizes.latent_channels,
        "out_channels": sizes.latent_channels,
        "block_out_channels": list(sizes.unet_widths),
        "addition_time_embed_dim": CONDITION_AUGMENTATION_DIM,
        "projection_class_embeddings_input_dim": VECTOR_DIM[variant],
        "layers_per_block": _LAYERS,
        "cross_attention_dim": sizes.context,
        "transformer_layers_per_block": 1,
        "num_attention_heads": [max(1, channels // sizes.unet_head_dim) for channels in sizes.unet_widths],
        "num_frames": sizes.frames,
        "down_block_types": [*["CrossAttnDownBlockSpatioTemporal"] * 3, "DownBlockSpatioTemporal"],
        "up_block_types": ["UpBlockSpatioTemporal", *["CrossAttnUpBlockSpatioTemporal"] * 3],
    }


def _vae_config(sizes: NetworkSizes) -> dict[str, Any]:
    """Of diffusers' `AutoencoderKL`."""
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": sizes.latent_channels,
        "block_out_channels": list(sizes.vae_widths),
        "layers_per_block": _LAYERS,
        "down_block_types": ["DownEncoderBlock2D"] * len(sizes.vae_widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(sizes.vae_widths),
        "scaling_factor": 0.18215,
    }


def _clip_config(sizes: NetworkSizes) -> dict[str, Any]:
    """Of transformers' `CLIPVisionConfig`."""
    return {
        "hidden_size": sizes.clip_width,
        "intermediate_size": sizes.clip_hidden,
        "num_hidden_layers": sizes.clip_layers,
        "num_attention_heads": sizes.clip_heads,
        "image_size": sizes.clip_image,
        "patch_size": sizes.clip_patch,
        "projection_dim": sizes.context,
        "hidden_act": "gelu",
    }
