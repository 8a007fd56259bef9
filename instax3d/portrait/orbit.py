"""`Orbit`: where the cameras stand that a portrait is shown from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from instax3d.geometry.cameras import orbit
from instax3d.types import Cameras, HeadMesh


@dataclass(frozen=True, eq=False)
class Orbit:
    """The cameras that a portrait is shown from: a circle about the head's up axis."""

    center: Float[Tensor, "3"]
    axes: Float[Tensor, "3 3"]
    """Columns: the head's left, up and front in the world."""
    radius: float
    focal: float
    """Pixels, for images of ``size``."""
    size: int
    elevation_deg: float = 0.0
    """Of the cameras, as most of the views have it."""

    def cameras(self, azimuths_deg: list[float], elevation_deg: float | None = None) -> Cameras:
        """One camera per azimuth; 0 is in front of the face. Without ``elevation_deg`` the orbit's own counts."""
        height = self.elevation_deg if elevation_deg is None else elevation_deg
        about_origin = orbit(
            azimuths_deg, [height] * len(azimuths_deg), radius=self.radius, focal=self.focal, size=self.size
        )
        to_head = torch.eye(4)
        to_head[:3, :3] = self.axes.T
        to_head[:3, 3] = -self.axes.T @ self.center
        return Cameras(about_origin.viewmats @ to_head, about_origin.Ks, self.size, self.size)

    def turn(self, frames: int) -> Cameras:
        """A full turn in even steps that starts in front."""
        return self.cameras([360.0 * index / frames for index in range(frames)])

    def to_dict(self) -> dict[str, Any]:
        return {
            "center": self.center.tolist(),
            "axes": self.axes.tolist(),
            "radius": self.radius,
            "focal": self.focal,
            "size": self.size,
            "elevation_deg": self.elevation_deg,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Orbit":
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        circle = cls(
            torch.tensor(values["center"], dtype=torch.float32),
            torch.tensor(values["axes"], dtype=torch.float32),
            float(values["radius"]),
            float(values["focal"]),
            int(values["size"]),
            float(values.get("elevation_deg", 0.0)),  # older portraits have none
        )
        if circle.center.shape != (3,) or circle.axes.shape != (3, 3) or circle.size < 1 or circle.radius <= 0:
            raise ValueError("an orbit has a center of 3 numbers, 3x3 axes, a radius and a size")
        return circle

    @classmethod
    def around(cls, mesh: HeadMesh, cameras: Cameras) -> "Orbit":
        """The orbit that frames the head as the views do."""
        middle = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2
        axes = _upright(torch.eye(3) if mesh.axes is None else mesh.axes, cameras)
        center = _nearest_to_optical_axes(cameras, middle)
        outward = cameras.centers - center
        radius = float(outward.norm(dim=1).median())
        height = float((outward @ axes[:, 1] / outward.norm(dim=1)).clamp(-1, 1).asin().rad2deg().median())
        size = max(cameras.width, cameras.height)
        size -= size % 2  # video codecs want even sizes
        return cls(center, axes, radius, float(cameras.Ks[:, 0, 0].median()), size, height)


def _upright(head: Float[Tensor, "3 3"], cameras: Cameras) -> Float[Tensor, "3 3"]:
    """The head's axes with the cameras' common up: a bowed head is shown bowed, on an upright bust."""
    up = -cameras.viewmats[:, 1, :3].mean(0)
    if float(up.norm()) < 0.5:  # the cameras have no common up
        return head
    up = functional.normalize(up, dim=0)
    left = functional.normalize(torch.linalg.cross(up, head[:, 2]), dim=0)
    return torch.stack([left, up, torch.linalg.cross(left, up)], 1)


def _nearest_to_optical_axes(cameras: Cameras, start: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The point that all cameras look at, in the least-squares sense; weakly drawn to ``start``, which decides
    where the cameras do not (a single one, or parallel ones)."""
    forward = cameras.viewmats[:, 2, :3]
    across = torch.eye(3) - forward[:, :, None] * forward[:, None, :]
    pull = 1e-2 * len(cameras)
    matrix = across.sum(0) + pull * torch.eye(3)
    vector = (across @ cameras.centers[..., None]).sum(0)[:, 0] + pull * start
    point: Tensor = torch.linalg.solve(matrix, vector)
    return point
