"""Pictures of how far the tuning is: the truth above what is generated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from diffusers import AutoencoderKL

from instax3d.io.images import write_png

from .. import vae
from .latents import Encoded
from .module import Sv3dFinetuning

_COLUMNS = 7
"""Every third of the 21 frames."""


class Pictures(lightning.Callback):
    """After each measurement, a PNG of the first clip that is held out."""

    def __init__(
        self, folder: Path, clip: Callable[[], Encoded], decoder: Callable[[], AutoencoderKL], *, steps: int
    ) -> None:
        self._folder, self._clip, self._decoder, self._steps = folder, clip, decoder, steps

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        assert isinstance(pl_module, Sv3dFinetuning)
        clip = self._clip()
        # on every rank, since sharded networks only run together
        made = pl_module.sampled(clip, steps=self._steps).cpu()
        if not trainer.is_global_zero:
            return
        truth = vae.SCALE * clip.moments.chunk(2, 1)[0]
        every = slice(len(made) // _COLUMNS - 1, None, len(made) // _COLUMNS)
        both = torch.cat([truth[every], made[every]])
        with torch.inference_mode():
            images = (vae.decode(self._decoder().to("cpu"), both) / 2 + 0.5).clamp(0, 1)
        rows = [torch.cat(list(row), 2) for row in images.split(_COLUMNS)]
        self._folder.mkdir(parents=True, exist_ok=True)
        write_png(self._folder / f"{trainer.global_step:06d}.png", torch.cat(rows, 1))
