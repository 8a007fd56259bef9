"""The cascade: proposals at all sizes, refined and classified twice, with five points at the end."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from .networks import ONet, PNet, RNet

STEP = 0.709
"""Ratio between successive scales of the image pyramid."""
THRESHOLDS = (0.6, 0.7, 0.7)
"""Least face probability after each network."""
_CELL, _STRIDE = 12, 2
"""The proposal network's field of view and step, pixels."""

Boxes = Float[Tensor, "n 4"]
"""Left, top, right, bottom."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Detected faces, in pixels with pixel centers at +0.5."""

    boxes: Boxes
    scores: Float[Tensor, "n"]
    points: Float[Tensor, "n 5 2"]
    """Eyes, nose and mouth corners, as `instax3d.types.FIVE_POINTS`."""


@dataclass(frozen=True)
class Cascade:
    """The three networks with their weights, in evaluation mode."""

    pnet: PNet
    rnet: RNet
    onet: ONet

    @torch.no_grad()
    def find(self, image: Float[Tensor, "3 h w"], smallest: float) -> Detections:
        """All faces at least ``smallest`` pixels wide in an image of values 0 to 255."""
        boxes = self._propose(image, smallest)
        boxes, crops = _crops(image, boxes, 24)
        shifts, probabilities = self.rnet(crops)
        passed = probabilities[:, 1] > THRESHOLDS[1]
        boxes, scores, shifts = boxes[passed], probabilities[passed, 1], shifts[passed]
        keep = suppress(boxes, scores, 0.7)
        boxes = _square(_moved(boxes[keep], shifts[keep]))

        boxes, crops = _crops(image, boxes, 48)
        shifts, offsets, probabilities = self.onet(crops)
        passed = probabilities[:, 1] > THRESHOLDS[2]
        boxes, scores, shifts, offsets = boxes[passed], probabilities[passed, 1], shifts[passed], offsets[passed]
        size = boxes[:, 2:] - boxes[:, :2] + 1
        points = size[:, None] * offsets.reshape(-1, 2, 5).mT + boxes[:, None, :2] - 1
        boxes = _moved(boxes, shifts)
        keep = suppress(boxes, scores, 0.7, by_smaller=True)
        return Detections(boxes[keep], scores[keep], points[keep])

    def _propose(self, image: Float[Tensor, "3 h w"], smallest: float) -> Boxes:
        height, width = image.shape[1:]
        scale, proposals = _CELL / smallest, []
        while min(height, width) * scale >= _CELL:
            small = _resized(image, int(height * scale + 1), int(width * scale + 1))
            shifts, probabilities = self.pnet(_normalized(small[None]))
            row, column = torch.nonzero(probabilities[0, 1] >= THRESHOLDS[0], as_tuple=True)
            corner = torch.stack([column, row], 1).float() * _STRIDE
            box = torch.cat([((corner + 1) / scale).floor(), ((corner + _CELL) / scale).floor()], 1)
            part = torch.cat([box, probabilities[0, 1, row, column][:, None], shifts[0, :, row, column].T], 1)
            proposals.append(part[suppress(part[:, :4], part[:, 4], 0.5)])
            scale *= STEP
        if not proposals:
            return torch.zeros(0, 4)
        merged = torch.cat(proposals)
        merged = merged[suppress(merged[:, :4], merged[:, 4], 0.7)]
        boxes, shifts = merged[:, :4], merged[:, 5:]
        size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        return _square(boxes + shifts * size)


def suppress(
    boxes: Boxes, scores: Float[Tensor, "n"], threshold: float, *, by_smaller: bool = False
) -> Int[Tensor, "keep"]:
    """Non-maximum suppression: the highest-scoring boxes, none of which overlaps a higher one by more than
    ``threshold``.

    The overlap is the intersection over the union or, ``by_smaller``, over the smaller box, where corners count
    as pixels of the box, as in the original program.
    """
    extra = 1.0 if by_smaller else 0.0
    area = (boxes[:, 2:] - boxes[:, :2] + extra).prod(1)
    order, keep = scores.argsort(descending=True, stable=True), []
    while len(order):
        first, rest = order[0], order[1:]
        keep.append(first)
        low = torch.maximum(boxes[first, :2], boxes[rest, :2])
        high = torch.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = (high - low + extra).clamp_min(0).prod(1)
        whole = torch.minimum(area[first], area[rest]) if by_smaller else area[first] + area[rest] - shared
        order = rest[shared / whole <= threshold]
    return torch.stack(keep) if keep else torch.zeros(0, dtype=torch.int64)


def _moved(boxes: Boxes, shifts: Boxes) -> Boxes:
    size = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    return boxes + shifts * size


def _square(boxes: Boxes) -> Boxes:
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.amax(1, keepdim=True)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return torch.cat([corner, corner + side], 1)


def _crops(image: Float[Tensor, "3 h w"], boxes: Boxes, side: int) -> tuple[Boxes, Float[Tensor, "m 3 side side"]]:
    """The boxes that are not empty, and their contents, resized. The original counts corners from 1."""
    height, width = image.shape[1:]
    corners = boxes.trunc().long()
    low, high = corners[:, :2].clamp_min(1), torch.minimum(corners[:, 2:], torch.tensor([width, height]))
    nonempty = (high > low - 1).all(1)
    cut = [
        _resized(image[:, y - 1 : y2, x - 1 : x2], side, side)
        for (x, y), (x2, y2) in zip(low[nonempty].tolist(), high[nonempty].tolist(), strict=True)
    ]
    return boxes[nonempty], _normalized(torch.stack(cut) if cut else torch.zeros(0, 3, side, side))


def _resized(image: Float[Tensor, "3 h w"], height: int, width: int) -> Float[Tensor, "3 height width"]:
    return functional.interpolate(image[None], (height, width), mode="area")[0]


def _normalized(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    return (images - 127.5) * 0.0078125
