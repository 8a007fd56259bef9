"""Inception-ResNet v1 of FaceNet (Szegedy et al. 2016; Schroff et al. 2015), under facenet-pytorch's names.

Weights: ``20180402-114759-vggface2.pt`` or ``-casia-webface.pt``, whose ``logits`` are not used.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SIZE = 160
"""Width and height of its training faces; RGB as (x - 127.5) / 128."""
_EPS = 1e-3


class _Conv(nn.Module):
    """Convolution without bias, batch normalization, ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int | tuple[int, int] = 1, stride: int = 1, pad: bool = False):
        super().__init__()
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (high // 2, wide // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(n_in, n_out, (high, wide), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(n_out, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _Residual(nn.Module):
    """Branches side by side, a 1x1 convolution over all of them, added to the input at ``scale``."""

    def __init__(self, channels: int, *branches: nn.Module, joined: int, scale: float, last: bool = False) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            setattr(self, f"branch{index}", branch)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self._count, self._scale, self._last = len(branches), scale, last

    def forward(self, x: Tensor) -> Tensor:
        branches = torch.cat([getattr(self, f"branch{index}")(x) for index in range(self._count)], 1)
        out = x + self._scale * self.conv2d(branches)
        return out if self._last else functional.relu(out)


class _Reduction(nn.Module):
    """Branches of stride 2 and a maximum, side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            setattr(self, f"branch{index}", branch)
        self._count = len(branches)

    def forward(self, x: Tensor) -> Tensor:
        branches = [getattr(self, f"branch{index}")(x) for index in range(self._count)]
        return torch.cat([*branches, functional.max_pool2d(x, 3, 2)], 1)


def _block35() -> _Residual:
    return _Residual(
        256,
        _Conv(256, 32),
        nn.Sequential(_Conv(256, 32), _Conv(32, 32, 3, pad=True)),
        nn.Sequential(_Conv(256, 32), _Conv(32, 32, 3, pad=True), _Conv(32, 32, 3, pad=True)),
        joined=96,
        scale=0.17,
    )


def _block17() -> _Residual:
    sides = nn.Sequential(_Conv(896, 128), _Conv(128, 128, (1, 7), pad=True), _Conv(128, 128, (7, 1), pad=True))
    return _Residual(896, _Conv(896, 128), sides, joined=256, scale=0.1)


def _block8(scale: float, last: bool = False) -> _Residual:
    sides = nn.Sequential(_Conv(1792, 192), _Conv(192, 192, (1, 3), pad=True), _Conv(192, 192, (3, 1), pad=True))
    return _Residual(1792, _Conv(1792, 192), sides, joined=384, scale=scale, last=last)


class InceptionResnetV1(nn.Module):
    """Faces [n, 3, 160, 160] in about [-1, 1] to unit vectors [n, 512]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = _Conv(3, 32, 3, 2)
        self.conv2d_2a = _Conv(32, 32, 3)
        self.conv2d_2b = _Conv(32, 64, 3, pad=True)
        self.conv2d_3b = _Conv(64, 80)
        self.conv2d_4a = _Conv(80, 192, 3)
        self.conv2d_4b = _Conv(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = _Reduction(
            _Conv(256, 384, 3, 2),
            nn.Sequential(_Conv(256, 192), _Conv(192, 192, 3, pad=True), _Conv(192, 256, 3, 2)),
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = _Reduction(
            nn.Sequential(_Conv(896, 256), _Conv(256, 384, 3, 2)),
            nn.Sequential(_Conv(896, 256), _Conv(256, 256, 3, 2)),
            nn.Sequential(_Conv(896, 256), _Conv(256, 256, 3, pad=True), _Conv(256, 256, 3, 2)),
        )
        self.repeat_3 = nn.Sequential(*(_block8(0.2) for _ in range(5)))
        self.block8 = _block8(1.0, last=True)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=_EPS)

    def features(self, faces: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1792"]:
        """Input of the last layer."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(faces)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(functional.max_pool2d(x, 3, 2))))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        pooled: Tensor = x.mean((2, 3))
        return pooled

    def forward(self, faces: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 512"]:
        return functional.normalize(self.last_bn(self.last_linear(self.features(faces))), dim=1)
