"""The clips in the order in which they are trained on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

from instax3d.datasets.reading import Clip
from instax3d.errors import DatasetError

from .latents import Encoded, LatentStore


@dataclass(frozen=True)
class Item:
    """A clip, and the number of the step that it serves (of all devices: what is random follows from it)."""

    number: int
    clip: Encoded


class Order(IterableDataset[Item]):
    """Endless. Every round visits each clip once in an order of its own; ranks share the rounds.

    Item k depends on the seed and k alone, so a run that is taken up again goes on with the same clips.
    """

    def __init__(
        self, clips: Sequence[Clip], store: LatentStore, *, seed: int, first_step: int, rank: int, ranks: int
    ) -> None:
        self._clips, self._store, self._seed = clips, store, seed
        self._first, self._rank, self._ranks = first_step, rank, ranks

    def __iter__(self) -> Iterator[Item]:
        number = self._first * self._ranks + self._rank
        while True:
            turn, place = divmod(number, len(self._clips))
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + turn)
            chosen = int(torch.randperm(len(self._clips), generator=generator)[place])
            yield Item(number, self._store.load(self._clips[chosen]))
            number += self._ranks


class _HeldOut(torch.utils.data.Dataset[Item]):
    def __init__(self, clips: Sequence[Clip], store: LatentStore) -> None:
        self._clips, self._store = clips, store

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Item:
        return Item(index, self._store.load(self._clips[index]))


class TurntableLatents(lightning.LightningDataModule):
    """Turntables as latents, cached on disk by the first process."""

    def __init__(
        self,
        clips: Sequence[Clip],
        store: LatentStore,
        *,
        held_out: int,
        seed: int,
        first_step: int = 0,
        on_clip: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        super().__init__()
        if len(clips) <= held_out:
            raise DatasetError(
                f"there are {len(clips)} clips and {held_out} are to be held out; make more, or lower held_out"
            )
        self._all, self._store, self._seed, self._first = clips, store, seed, first_step
        self._on_clip = on_clip
        self.clips = clips[: len(clips) - held_out]
        self.held_out = clips[len(clips) - held_out :]

    def prepare_data(self) -> None:
        self._store.fill(self._all, self._on_clip)

    def train_dataloader(self) -> DataLoader[Item]:
        trainer = self.trainer
        assert trainer is not None
        order = Order(
            self.clips,
            self._store,
            seed=self._seed,
            first_step=self._first,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
        )
        return DataLoader(order, batch_size=None)

    def val_dataloader(self) -> Any:
        return DataLoader(_HeldOut(self.held_out, self._store), batch_size=None) if self.held_out else []

    def transfer_batch_to_device(self, batch: Item, device: torch.device, dataloader_idx: int) -> Item:
        """Stays on the CPU, where random numbers are drawn, the same for every device."""
        return batch
