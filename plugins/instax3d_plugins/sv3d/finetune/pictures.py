"""Pictures of the progress of training: the ground truth above the generated frames."""

from collections.abc import Callable
from pathlib import Path

import lightning
import torch

from instax3d.io.images import write_png

from .. import vae
from ..networks import AutoencoderKL, moved
from .latents import EncodedClip
from .module import Sv3dFinetuning

_COLUMNS = 7
"""Every third of the 21 frames."""


class Pictures(lightning.Callback):
    """After each validation, a PNG of the first held-out clip."""

    def __init__(
        self, folder: Path, clip: Callable[[], EncodedClip], decoder: Callable[[], AutoencoderKL], *, steps: int
    ) -> None:
        self._folder, self._clip, self._decoder, self._steps = folder, clip, decoder, steps

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Sv3dFinetuning)
        clip = self._clip()
        # on every rank, since sharded networks only run together
        generated = pl_module.sampled(clip, steps=self._steps).cpu()
        if not trainer.is_global_zero:
            return
        truth = vae.SCALE * clip.moments.chunk(2, 1)[0]
        every = slice(len(generated) // _COLUMNS - 1, None, len(generated) // _COLUMNS)
        both = torch.cat([truth[every], generated[every]])
        with torch.inference_mode():
            images = (vae.decode(moved(self._decoder(), torch.device("cpu")), both) / 2 + 0.5).clamp(0, 1)
        rows = [torch.cat(list(row), 2) for row in images.split(_COLUMNS)]
        self._folder.mkdir(parents=True, exist_ok=True)
        write_png(self._folder / f"{trainer.global_step:06d}.png", torch.cat(rows, 1))
