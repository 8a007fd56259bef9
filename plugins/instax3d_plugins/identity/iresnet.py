"""The residual network of ArcFace (Deng et al. 2019; He et al. 2016, "improved" units), under insightface's names.

Weights: ``backbone.pth`` of arcface_torch, a plain state dict of iresnet50 or iresnet100.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SIZE = 112
"""Width and height of aligned faces; RGB as (x / 255 - 0.5) / 0.5."""
_DEPTHS = {"iresnet50": (3, 4, 14, 3), "iresnet100": (3, 13, 30, 3)}
_EPS = 1e-5


class _Block(nn.Module):
    """BN, convolution, BN, PReLU, convolution of the stride, BN; added to the (reduced) input."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in, eps=_EPS)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out, eps=_EPS)
        self.prelu = nn.PReLU(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out, eps=_EPS)
        if stride > 1:
            self.downsample: nn.Module = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out, eps=_EPS)
            )
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        added: Tensor = self.bn3(self.conv2(out)) + self.downsample(x)
        return added


class IResNet(nn.Module):
    """Aligned faces [n, 3, 112, 112] in [-1, 1] to vectors [n, 512]; their directions are compared."""

    def __init__(self, depth: str = "iresnet50") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, eps=_EPS)
        self.prelu = nn.PReLU(64)
        channels = 64
        for number, (n_out, count) in enumerate(zip((64, 128, 256, 512), _DEPTHS[depth]), 1):
            blocks = [_Block(channels, n_out, 2), *(_Block(n_out, n_out, 1) for _ in range(count - 1))]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            channels = n_out
        self.bn2 = nn.BatchNorm2d(512, eps=_EPS)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512, eps=_EPS)

    @classmethod
    def of(cls, state: dict[str, Any]) -> "IResNet":
        """The network with these weights; the depth follows from their names.

        Raises:
            ValueError: they are not of iresnet50 or iresnet100.
        """
        count = len({name.split(".")[1] for name in state if name.startswith("layer3.")})
        depth = next((name for name, depths in _DEPTHS.items() if depths[2] == count), None)
        if depth is None:
            raise ValueError(f"these are not the weights of {' or '.join(_DEPTHS)}: layer3 has {count} blocks")
        network = cls(depth)
        network.load_state_dict(state)
        return network.eval()

    def forward(self, faces: Float[Tensor, "n 3 112 112"]) -> Float[Tensor, "n 512"]:
        x = self.prelu(self.bn1(self.conv1(faces)))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        embedded: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return embedded

    def directions(self, faces: Float[Tensor, "n 3 112 112"]) -> Float[Tensor, "n 512"]:
        """Unit vectors, whose cosine compares identities."""
        return functional.normalize(self(faces), dim=1)
