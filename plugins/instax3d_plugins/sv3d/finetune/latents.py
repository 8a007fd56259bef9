"""What training needs of a clip, computed once: latents of its frames and CLIP's embedding of its input view."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from instax3d.datasets import INPUT_VIEW
from instax3d.datasets.reading import Clip
from instax3d.errors import DatasetError
from instax3d.io.files import atomic

from .. import clip as clip_tower
from .. import vae

_CHUNK = 7
"""Frames encoded at a time."""


@dataclass(frozen=True)
class Encoded:
    """One clip as SV3D sees it."""

    moments: Float[Tensor, "frames moments h w"]
    """Mean and logarithm of the variance of each frame's latent, not scaled."""
    token: Float[Tensor, "1 context"]
    """CLIP's embedding of the input view."""
    elevation_deg: float

    @property
    def condition(self) -> Float[Tensor, "channels h w"]:
        """The input view's most likely latent, not scaled. The noise that sampling adds to the photo first (deviation
        1e-5) is below the precision it is kept in."""
        return self.moments[INPUT_VIEW].chunk(2)[0]

    def latents(self, generator: torch.Generator) -> Float[Tensor, "frames channels h w"]:
        """A draw of all frames' latents, scaled for denoising."""
        mean, log_variance = self.moments.chunk(2, 1)
        spread = (0.5 * log_variance.clamp(-30, 20)).exp()
        return vae.SCALE * (mean + spread * torch.randn(mean.shape, generator=generator))


@runtime_checkable
class Encoders(Protocol):
    """What latents are made with; a `Checkpoint` has them."""

    def load_vae(self) -> AutoencoderKL: ...

    def load_image_encoder(self) -> CLIPVisionModelWithProjection: ...


class LatentStore:
    """Encoded clips in a folder, named by what they were made of: other clips, sizes or networks never mix."""

    def __init__(self, folder: Path, checkpoint: Encoders, size: int) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._size = size
        self._model = _identity(checkpoint)

    def path(self, clip: Clip) -> Path:
        """Where a clip's are, or will be."""
        told = f"{self._model} {clip.sha256} {self._size}"
        return self._folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.safetensors"

    @torch.inference_mode()
    def fill(self, clips: Sequence[Clip], on_clip: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Encode what is not there yet, on the GPU if there is one; both encoders are freed afterwards.

        Raises:
            DatasetError, CaptureError: a clip cannot be read.
        """
        missing = [clip for clip in clips if not self.path(clip).is_file()]
        if not missing:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        encoder, tower = self._checkpoint.load_vae().to(device), self._checkpoint.load_image_encoder().to(device)
        for done, clip in enumerate(missing, 1):
            turntable = clip.load(self._size)
            images = turntable.views.images * 2 - 1
            moments = torch.cat([vae.encode_moments(encoder, part.to(device)).cpu() for part in images.split(_CHUNK)])
            token = clip_tower.embed(tower, images[INPUT_VIEW : INPUT_VIEW + 1].to(device)).cpu()[0]
            with atomic(self.path(clip)) as temporary:
                save_file(
                    {
                        "moments": moments.half().contiguous(),
                        "token": token.half().contiguous(),
                        "elevation_deg": torch.tensor(turntable.elevation_deg, dtype=torch.float64),
                    },
                    temporary,
                )
            on_clip(done, len(missing))

    def load(self, clip: Clip) -> Encoded:
        """Read one; float32.

        Raises:
            DatasetError: it is not there or cannot be read.
        """
        path = self.path(clip)
        try:
            kept = load_file(path)
            return Encoded(kept["moments"].float(), kept["token"].float(), float(kept["elevation_deg"]))
        except (OSError, KeyError, SafetensorError) as error:
            raise DatasetError(f"cannot read the latents {path} ({error}); remove that file and start again") from error


def _identity(checkpoint: Encoders) -> str:
    """Of the networks that encode: by their weights."""
    digest = hashlib.sha256()
    for model in (checkpoint.load_vae(), checkpoint.load_image_encoder()):
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
