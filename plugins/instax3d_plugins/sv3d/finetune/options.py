"""Options of fine-tuning. Never imports torch."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from instax3d.plugin import PluginConfig

from ..config import CameraModulation


@dataclass(frozen=True)
class TrainerOptions:
    """Where training runs; Lightning's words."""

    accelerator: str = "auto"
    devices: str = "1"
    strategy: str = "auto"


class FinetuneConfig(PluginConfig):
    """How SV3D is fine-tuned. The defaults are the paper's where it states a value."""

    steps: PositiveInt = 4000
    """Optimization steps of one clip each (paper: 4,000 with batch 1), on every device."""
    rate: PositiveFloat = 1e-5
    """Learning rate of AdamW (0.9, 0.999), constant (paper: 1e-5)."""
    weight_decay: NonNegativeFloat = 0.01
    """AdamW's."""
    size: int = Field(576, ge=64, le=1024, multiple_of=64)
    """Side of the frames, pixels; larger ones are resized to it."""
    camera: CameraModulation = "invariant"
    """As in sampling: ``invariant`` sets SV3D_p's camera embedding to zero (which the paper found better)."""
    sigma_log_mean: float = 1.5
    """P_mean: noise levels are drawn with ln sigma ~ N(P_mean, P_std^2), one for a clip. The paper states none. 0.7 and
    1.6 are those of SVD's base model; V3D, which tunes SVD for orbits, uses 1.5 and 2.0."""
    sigma_log_std: PositiveFloat = 2.0
    """P_std."""
    dropout: float = Field(0.1, ge=0, le=1 / 3)
    """Probability of dropping CLIP's token alone, the latent alone, and both, for guidance. The vector condition, and
    with it the camera, is never dropped: sampling keeps it in both branches."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    """Lightning's names; -mixed keeps weights in float32."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass rather than keep them."""
    lora_rank: NonNegativeInt = 0
    """Above 0 only low-rank updates of the attention's matrices are trained (PEFT), and merged at the end."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Above 0 an exponential moving average of the weights is kept, evaluated, and written at the end."""
    held_out: NonNegativeInt = 8
    """How many of the last clips are held out: the loss is evaluated on them, and the first is sampled as a picture."""
    check_every: PositiveInt = 250
    """Steps between checkpoints, evaluations of the loss on held-out clips, and pictures."""
    picture_steps: NonNegativeInt = 25
    """Sampling steps of the pictures; 0 for none."""
    seed: NonNegativeInt = 0
