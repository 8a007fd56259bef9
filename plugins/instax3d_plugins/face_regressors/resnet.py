"""The trunk that DECA, Deep3D and FaceVerse share: ResNet-50 without its classifier."""

from jaxtyping import Float
from torch import Tensor, nn

WIDTH = 2048
"""Features of the trunk."""
_BLOCKS = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the 3x3 one takes the stride."""

    def __init__(self, inside: int, planes: int, stride: int) -> None:
        super().__init__()
        outside = 4 * planes
        self.conv1 = nn.Conv2d(inside, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = nn.Sequential()
        if stride > 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        inner = self.bn1(self.conv1(x)).relu()
        inner = self.bn2(self.conv2(inner)).relu()
        added: Tensor = self.bn3(self.conv3(inner)) + self.downsample(x)
        return added.relu()


class ResNet50(nn.Module):
    """He et al. 2016, with the names and strides of the usual checkpoints (``conv1``, ``layer1.0.conv1``, ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inside = 64
        for number, count in enumerate(_BLOCKS):
            planes, blocks = 64 * 2**number, []
            for block in range(count):
                blocks.append(Bottleneck(inside, planes, stride=2 if block == 0 and number > 0 else 1))
                inside = 4 * planes
            setattr(self, f"layer{number + 1}", nn.Sequential(*blocks))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2048"]:
        """Features averaged over the image."""
        x = self.maxpool(self.bn1(self.conv1(image)).relu())
        for number in range(len(_BLOCKS)):
            x = getattr(self, f"layer{number + 1}")(x)
        pooled: Tensor = x.mean((2, 3))
        return pooled
