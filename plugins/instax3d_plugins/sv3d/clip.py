"""CLIP's embedding of the condition image, preprocessed as SV3D's conditioner does."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from .networks import CLIPVisionModelWithProjection

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def preprocess(images: Float[Tensor, "n 3 h w"], size: int = 224) -> Float[Tensor, "n 3 size size"]:
    """Images in [-1, 1] as input of CLIP's vision tower: downsampled with antialiasing, then normalized.

    The resampling is that of kornia's antialiased bicubic resize with aligned corners: a Gaussian of deviation
    (factor - 1) / 2 where the image gets smaller, its kernel four deviations wide, edges mirrored.
    """
    factors = [side / size for side in images.shape[-2:]]
    if max(factors) > 1:
        images = _blurred(images, factors)
    resized = functional.interpolate(images, size=(size, size), mode="bicubic", align_corners=True)
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return ((resized + 1) / 2 - mean) / deviation


def embed(encoder: CLIPVisionModelWithProjection, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 features"]:
    """One token per image in [-1, 1]; float32."""
    size = encoder.config.image_size
    assert isinstance(size, int), "other configurations make no network and are refused when they are read"
    pixels = preprocess(images.float(), size).to(encoder.device, encoder.dtype)
    embeddings: Tensor = encoder(pixel_values=pixels).image_embeds
    return embeddings.float()[:, None]


def _blurred(images: Float[Tensor, "n 3 h w"], factors: list[float]) -> Float[Tensor, "n 3 h w"]:
    kernels = [_gaussian(max((factor - 1) / 2, 0.001)).to(images) for factor in factors]
    (down,), (across,) = kernels[0].shape, kernels[1].shape
    padded = functional.pad(images, (across // 2, across // 2, down // 2, down // 2), mode="reflect")
    channels = images.shape[1]
    rows = kernels[0].view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = kernels[1].view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return functional.conv2d(functional.conv2d(padded, rows, groups=channels), columns, groups=channels)


def _gaussian(deviation: float) -> Float[Tensor, "taps"]:
    taps = int(max(4 * deviation, 3))
    taps += 1 - taps % 2
    at = torch.arange(taps, dtype=torch.float32) - taps // 2
    weights = torch.exp(-((at / deviation) ** 2) / 2)
    return weights / weights.sum()
