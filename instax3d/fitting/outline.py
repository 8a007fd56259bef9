"""The outline of a head against the outline of a person."""
# No `from __future__ import annotations`: jaxtyping reads the annotations at run time.

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..mesh_raster import rasterise
from ..types import Cameras

RASTER_SIDE = 256
"""Longest side at which outlines are compared; a pixel of a portrait is then about 1.5 mm."""


@dataclass(frozen=True)
class SignedDistance:
    """Distance to a mask's edge in pixels of the comparison size, positive inside."""

    value: Float[Tensor, "h w"]
    gradient: Float[Tensor, "h w 2"]
    """Unit vectors inwards."""

    @classmethod
    def of(cls, alpha: Float[Tensor, "h w"], width: int, height: int) -> "SignedDistance":
        """From a matte, resampled to the comparison size; beyond the image nothing is known."""
        small = cv2.resize(alpha.numpy(), (width, height), interpolation=cv2.INTER_AREA)
        mask = (small > 0.5).astype(np.uint8)
        if mask.min() == mask.max():  # no edge to compare with
            value = np.full(mask.shape, 1e3 * (2.0 * mask.max() - 1), np.float32)
        else:
            inside, outside = (cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (mask, 1 - mask))
            # a pixel beside the edge lies half a pixel from it; the matte says how much of it is covered
            value = np.where(mask > 0, inside - 0.5, 0.5 - outside)
            near = np.abs(value) < 1
            value[near] = np.clip(small[near] - 0.5, -0.5, 0.5)
            value = cv2.GaussianBlur(value, (0, 0), 1.0)
        gradient = np.stack(np.gradient(value)[::-1], -1)
        gradient /= np.maximum(np.linalg.norm(gradient, axis=-1, keepdims=True), 1e-6)
        return cls(torch.from_numpy(value.astype(np.float32)), torch.from_numpy(gradient.astype(np.float32)))


@dataclass(frozen=True)
class Rim:
    """Points of a mesh on its outline in one view, with the nearest edge of the person's mask."""

    triangles: Int[Tensor, "n 3"]
    """Vertices of the triangle that carries each point."""
    weights: Float[Tensor, "n 3"]
    """Barycentric."""
    pixels: Float[Tensor, "n 2"]
    """Where each point was seen, in the view's pixels."""
    distance: Float[Tensor, "n"]
    """How far inside the mask, in the view's pixels; negative where it sticks out."""
    inwards: Float[Tensor, "n 2"]
    """Unit direction in the image towards the inside of the mask."""


def comparison_cameras(cameras: Cameras) -> Cameras:
    """The cameras at the size at which outlines are compared."""
    return cameras.scaled(min(1.0, RASTER_SIDE / max(cameras.width, cameras.height)))


def head_rim(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    counts: Bool[Tensor, "vertices"],
    camera: Cameras,
    person: SignedDistance,
    pixel: float,
) -> Rim:
    """The mesh's outline in one view, without the image's border and where its vertices do not count.

    Args:
        vertices: in the world.
        counts: which vertices may take part.
        camera: one camera of the comparison size.
        person: of that size.
        pixel: pixels of the view per pixel of the comparison size.
    """
    raster = rasterise(
        vertices.numpy(),
        faces.numpy(),
        camera.viewmats[0].numpy(),
        camera.Ks[0].numpy(),
        camera.width,
        camera.height,
    )
    mask = raster.mask
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    edge = mask & ~inner
    edge[[0, -1]] = edge[:, [0, -1]] = False
    y, x = np.nonzero(edge)
    triangles = faces[torch.from_numpy(raster.face[y, x]).long()]
    keep = counts[triangles].all(1)
    rows, columns = torch.from_numpy(y)[keep], torch.from_numpy(x)[keep]
    # a pixel on the rim has its centre about half a pixel inside the outline
    return Rim(
        triangles[keep],
        torch.from_numpy(raster.weights[y, x])[keep],
        torch.stack([columns + 0.5, rows + 0.5], 1) * pixel,
        (person.value[rows, columns] - 0.5) * pixel,
        person.gradient[rows, columns],
    )
