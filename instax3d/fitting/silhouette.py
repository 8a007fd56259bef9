"""The silhouette of a head against the outline of a person."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instax3d.geometry.mesh_raster import rasterize
from instax3d.types import Cameras

RASTER_SIDE = 256
"""Longest side of the images in which outlines are compared; a pixel of a portrait is then about 1.5 mm."""

SILHOUETTE_POINTS = 40
"""About so many points of a view's silhouette are compared."""


@dataclass(frozen=True, eq=False)
class SignedDistance:
    """Distance to a mask's edge in pixels of the comparison size (`comparison_cameras`), positive inside."""

    value: Float[Tensor, "h w"]
    gradient: Float[Tensor, "h w 2"]
    """Unit vectors inwards."""

    @classmethod
    def of(cls, alpha: Float[Tensor, "h w"], width: int, height: int) -> "SignedDistance":
        """From a matte in [0, 1], resampled to the comparison size."""
        small = cv2.resize(alpha.numpy(), (width, height), interpolation=cv2.INTER_AREA)
        mask = (small > 0.5).astype(np.uint8)
        if mask.min() == mask.max():  # no edge to compare with
            value: np.ndarray = np.full(mask.shape, 1e3 * (2.0 * mask.max() - 1), np.float32)
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


@dataclass(frozen=True, eq=False)
class Silhouette:
    """Points on the silhouettes of a mesh in several views, with the distance to the person's outline there."""

    triangles: Int[Tensor, "n 3"]
    """Vertices of the triangle that carries each point."""
    weights: Float[Tensor, "n 3"]
    """Barycentric."""
    view: Int[Tensor, "n"]
    """In which each point was seen."""
    pixels: Float[Tensor, "n 2"]
    """Where it was seen, in the view's pixels."""
    distance: Float[Tensor, "n"]
    """How far it lies inside the person's outline, in the view's pixels; negative where it sticks out."""
    inwards: Float[Tensor, "n 2"]
    """Unit vectors in the image from the person's outline to the inside."""

    @classmethod
    def of(
        cls,
        vertices: Float[Tensor, "vertices 3"],
        faces: Int[Tensor, "faces 3"],
        eligible: Bool[Tensor, "vertices"],
        cameras: Cameras,
        outlines: Mapping[int, SignedDistance],
    ) -> "Silhouette":
        """The silhouette of a mesh in the views in which the person's outline is known.

        Args:
            vertices: in the world.
            faces: of the mesh.
            eligible: vertices whose triangles may be part of it; the others only cover them.
            cameras: all views' cameras.
            outlines: the person's, by view.
        """
        small = comparison_cameras(cameras)
        pixel = cameras.width / small.width
        parts = [_in_view(vertices, faces, eligible, small[view], outlines[view], pixel, view) for view in outlines]
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def comparison_cameras(cameras: Cameras) -> Cameras:
    """The cameras at the size at which outlines are compared: `RASTER_SIDE` pixels at most."""
    return cameras.scaled(min(1.0, RASTER_SIDE / max(cameras.width, cameras.height)))


def _in_view(
    vertices: Float[Tensor, "vertices 3"],
    faces: Int[Tensor, "faces 3"],
    eligible: Bool[Tensor, "vertices"],
    camera: Cameras,
    person: SignedDistance,
    pixel: float,
    view: int,
) -> Silhouette:
    """The silhouette in one view of the comparison size, without the image's border.

    ``pixel``: size of a pixel there, in pixels of the view.
    """
    raster = rasterize(
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
    edge &= eligible.numpy()[faces.numpy()].all(1)[raster.face]  # where there is no face, there is no edge either
    y, x = np.nonzero(edge)
    every = slice(None, None, max(1, len(y) // SILHOUETTE_POINTS))
    y, x = y[every], x[every]
    rows, columns = torch.from_numpy(y), torch.from_numpy(x)
    return Silhouette(
        faces[torch.from_numpy(raster.face[y, x]).long()],
        torch.from_numpy(raster.weights[y, x]),
        torch.full((len(rows),), view),
        torch.stack([columns + 0.5, rows + 0.5], 1) * pixel,
        (person.value[rows, columns] - 0.5) * pixel,  # a silhouette pixel's center is about half a pixel inside
        person.gradient[rows, columns],
    )
