"""A source of turntables that costs nothing, for tests of what makes and keeps them; announces itself."""

import time
from collections.abc import Iterator

from instax3d.plugin import Kind, PluginConfig, PluginSpec, hookimpl

INSTAX3D_API = 1


class CheapConfig(PluginConfig):
    size: int = 16
    seconds: float = 0.0
    """How long a clip takes."""
    amount: int | None = None
    """How many there are."""
    fails_at: int | None = None


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    yield PluginSpec(
        kind=Kind.CLIP_SOURCE,
        name="cheap",
        target="cheap_turntables:source",
        config="cheap_turntables:CheapConfig",
        summary="Noise.",
    )


def __getattr__(name: str) -> type:
    """The source itself, made when it is asked for: this module imports no torch."""
    if name != "source":
        raise AttributeError(name)
    import torch

    from instax3d.datasets import AZIMUTHS_DEG, INPUT_VIEW
    from instax3d.errors import DatasetError
    from instax3d.geometry.cameras import orbit
    from instax3d.interfaces import ClipSource
    from instax3d.types import TurntableClip, Views

    class Cheap(ClipSource[CheapConfig]):
        license = "test"

        def clips(self) -> int | None:
            return self.config.amount

        def make(self, index: int, *, seed: int) -> TurntableClip:
            time.sleep(self.config.seconds)
            if index == self.config.fails_at:
                raise DatasetError(f"clip {index} cannot be made")
            size = self.config.size
            generator = torch.Generator().manual_seed(1000 * seed + index)
            images = torch.rand(len(AZIMUTHS_DEG), 3, size, size, generator=generator)
            alpha = torch.ones(len(AZIMUTHS_DEG), 1, size, size)
            cameras = orbit(AZIMUTHS_DEG, [5.0] * len(AZIMUTHS_DEG), radius=2.0, size=size, fov_deg=33.8)
            return TurntableClip(Views(images, alpha, cameras, alpha, photo_index=INPUT_VIEW), 5.0, {"index": index})

    return Cheap
