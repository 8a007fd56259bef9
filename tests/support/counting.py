"""Counts what a network would take, on tensors without contents."""

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from instax3d_plugins.sv3d.layout import describe
from instax3d_plugins.sv3d.unet import build_unet
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Counted:
    numbers: float
    """Most that were alive at once, those of the weights and inputs left out."""
    operations: float


class _Alive(TorchDispatchMode):
    def __init__(self, given: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        # transposed weights are views of them, not new numbers
        self._known = {tensor.untyped_storage()._cdata for tensor in given}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._known:
                    self._known.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _counted(network: torch.nn.Module, *inputs: torch.Tensor) -> Counted:
    alive = _Alive([*network.parameters(), *inputs])
    with torch.no_grad(), FlopCounterMode(display=False) as operations, alive:
        network(*inputs)
    return Counted(alive.most / 4, float(operations.get_total_flops()))


def count_unet(*, branches: int, frames: int, side: int) -> tuple[Counted, tuple[int, ...]]:
    """One run of the full-size UNet of SV3D_p; also the widths of its levels."""
    config = describe("p").unet
    with FakeTensorMode():
        unet = build_unet(dict(config))
        inputs = (
            torch.zeros(branches, frames, 8, side, side),
            torch.zeros(branches),
            torch.zeros(branches, 1, 1024),
            torch.zeros(branches, frames, 1280),
        )
        return _counted(unet, *inputs), tuple(config["block_out_channels"])


def count_vae(*, frames: int, side: int) -> Counted:
    """The full-size decoder on so many frames."""
    with FakeTensorMode():
        vae = AutoencoderKL(**describe("p").vae)
        latents = torch.zeros(frames, 4, side, side)
        return _counted(vae.decoder, latents)
