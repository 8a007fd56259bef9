"""diffusers' and transformers' classes as type checkers can follow them.

Imported from the modules that define them: checkers read the lazy exports of `diffusers` as placeholders.
"""

from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from torch import nn
from transformers import CLIPVisionModelWithProjection

__all__ = ["AutoencoderKL", "CLIPVisionModelWithProjection", "UNetSpatioTemporalConditionModel", "moved"]

Network = TypeVar("Network", bound=nn.Module)


def moved(network: Network, device: torch.device) -> Network:
    """The network itself, moved to the device."""
    # both libraries wrap `to`, which hides its signature
    nn.Module.to(network, device)
    return network
