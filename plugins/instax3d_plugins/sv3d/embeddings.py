"""The vector condition of SV3D's UNet: noise level of the condition and, for SV3D_p, each frame's camera.

Follows `ConcatTimestepEmbedderND` of Stability AI's generative-models: cosines before sines, angles in radians.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .config import CameraModulation
from .layout import ANGLE_DIM, CONDITION_AUGMENTATION_DIM, Variant

CONDITION_AUGMENTATION = 1e-5
"""Standard deviation of the noise on the condition image, in sampling and training of both variants."""


def sinusoid(values: Float[Tensor, "n"], width: int) -> Float[Tensor, "n width"]:
    """[cos | sin] of each value times ``width / 2`` frequencies from 1 down to nearly 1/10,000; float32."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32, device=values.device) / half)
    phases = values.float()[:, None] * frequencies
    return torch.cat([phases.cos(), phases.sin()], -1)


def vector_condition(
    variant: Variant,
    azimuths_deg: Sequence[float],
    elevations_deg: Sequence[float],
    *,
    camera: CameraModulation = "aware",
    augmentation: float = CONDITION_AUGMENTATION,
) -> Float[Tensor, "frames features"]:
    """The UNet's vector condition of each frame: [noise level 256], for SV3D_p also [polar angle 512 | azimuth 512].

    Args:
        azimuths_deg: one per frame, relative to the input view, which comes last with 0; degrees.
        elevations_deg: one per frame, positive above; the polar angle is 90 degrees minus it.
        camera: ``aware`` embeds SV3D_p's cameras; ``invariant`` sets their embedding to zero, after the sinusoid (the
            sinusoid of 0 is not zero). SV3D_u has no camera condition.
        augmentation: the condition's noise level.
    """
    frames = len(azimuths_deg)
    level = sinusoid(torch.full((frames,), augmentation), CONDITION_AUGMENTATION_DIM)
    if variant == "u":
        return level
    if camera == "invariant":
        return torch.cat([level, torch.zeros(frames, 2 * ANGLE_DIM)], -1)
    azimuths = torch.tensor(azimuths_deg, dtype=torch.float64).deg2rad()
    polars = torch.tensor([90.0 - elevation for elevation in elevations_deg], dtype=torch.float64).deg2rad()
    return torch.cat([level, sinusoid(polars, ANGLE_DIM), sinusoid(azimuths % (2 * math.pi), ANGLE_DIM)], -1)
