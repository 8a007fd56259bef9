"""What the regressors' numbers mean: groups, cameras and rotations."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

DEEP3D_FOCAL, DEEP3D_CENTER, DEEP3D_SIDE = 1015.0, 112.0, 224
FACEVERSE_FOCAL, FACEVERSE_CENTER, FACEVERSE_SIDE = 1000.0, 127.5, 256
CAMERA_DISTANCE = 10.0
"""Of Deep3D and FaceVerse, in decimeters."""
DECA_SIDE = 224


@dataclass(frozen=True)
class DecaCode:
    """DECA's 236 numbers."""

    shape: Float[Tensor, "b 100"]
    tex: Float[Tensor, "b 50"]
    exp: Float[Tensor, "b 50"]
    pose: Float[Tensor, "b 6"]
    """Axis-angle of the whole head and of the jaw."""
    cam: Float[Tensor, "b 3"]
    """Scale and shift of the weak perspective."""
    light: Float[Tensor, "b 9 3"]
    """Spherical harmonics, degree 2."""

    @classmethod
    def of(cls, output: Float[Tensor, "b 236"]) -> "DecaCode":
        """Split the encoder's output."""
        *parts, light = output.split([100, 50, 50, 6, 3, 27], dim=1)
        return cls(*parts, light.reshape(-1, 9, 3))


def weak_perspective(points: Float[Tensor, "b n 3"], cam: Float[Tensor, "b 3"]) -> Float[Tensor, "b n 3"]:
    """FLAME points in DECA's crop: x right, y down, in [-1, 1] where shown, z growing away from the camera."""
    scale, shift = cam[:, None, :1], torch.nn.functional.pad(cam[:, None, 1:], (0, 1))
    return scale * (points + shift) * torch.tensor([1.0, -1.0, -1.0])


def crop_pixels(points: Float[Tensor, "*batch c"]) -> Float[Tensor, "*batch 2"]:
    """Pixels of DECA's crop of 224x224 for points in [-1, 1]."""
    return points[..., :2] * (DECA_SIDE / 2) + DECA_SIDE / 2


@dataclass(frozen=True)
class Deep3DCode:
    """Deep3D's 257 numbers."""

    id: Float[Tensor, "b 80"]
    exp: Float[Tensor, "b 64"]
    tex: Float[Tensor, "b 80"]
    angle: Float[Tensor, "b 3"]
    """Pitch, yaw and roll, radians; see `rotation`."""
    gamma: Float[Tensor, "b 27"]
    trans: Float[Tensor, "b 3"]

    @classmethod
    def of(cls, output: Float[Tensor, "b 257"]) -> "Deep3DCode":
        """Split the network's output."""
        return cls(*output.split([80, 64, 80, 3, 27, 3], dim=1))


@dataclass(frozen=True)
class FaceVerseCode:
    """FaceVerse's 621 numbers (version 4)."""

    id: Float[Tensor, "b 156"]
    exp: Float[Tensor, "b 177"]
    tex: Float[Tensor, "b 251"]
    gamma: Float[Tensor, "b 27"]
    angle: Float[Tensor, "b 3"]
    trans: Float[Tensor, "b 3"]
    eyes: Float[Tensor, "b 4"]
    """Of the left, then the right eye: downwards and to the subject's right, radians; see `eye_rotation`."""

    @property
    def gaze(self) -> Float[Tensor, "b 2 3"]:
        """Axis-angle of the left and the right eye in the axes of `instax3d.headmodel` (y up, z to the front)."""
        down, right = self.eyes.reshape(-1, 2, 2).unbind(-1)
        turns = eye_rotation(torch.stack([down, -right], -1).reshape(-1, 2))
        return axis_angles(turns).reshape(-1, 2, 3)

    @classmethod
    def of(cls, output: Float[Tensor, "b 621"]) -> "FaceVerseCode":
        """Split the network's output."""
        return cls(*output.split([156, 177, 251, 27, 3, 3, 4], dim=1))


def rotation(angles: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Deep3D's and FaceVerse's head rotation Rz Ry Rx, for columns, from the head's axes to the camera's.

    Deep3D's axes are x to the image's right, y up, z to the viewer; FaceVerse's are OpenCV's: y down, z away.
    """
    x, y, z = (_about(axis, angles[:, axis]) for axis in range(3))
    return z @ y @ x


def eye_rotation(eye: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3 3"]:
    """An eye's rotation Ry Rx in the head, for columns, in FaceVerse's axes (y down, z to the back of the head)."""
    return _about(1, eye[:, 1]) @ _about(0, eye[:, 0])


def to_camera(points: Float[Tensor, "b n 3"], angles: Float[Tensor, "b 3"], trans: Float[Tensor, "b 3"]) -> Tensor:
    """Points of Deep3D's head [b, n, 3] in front of its camera: z is the depth."""
    moved = points @ rotation(angles).mT + trans[:, None]
    return torch.cat([moved[..., :2], CAMERA_DISTANCE - moved[..., 2:]], -1)


def axis_angles(rotations: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3"]:
    """Axes by their angles in radians, of rotations of less than half a turn."""
    skew = rotations - rotations.mT
    sine_axis = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], -1) / 2
    sine = sine_axis.norm(dim=-1, keepdim=True)
    cosine = (rotations.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True) - 1) / 2
    return sine_axis * torch.where(sine > 1e-6, torch.atan2(sine, cosine) / sine.clamp_min(1e-6), 1.0)


def _about(axis: int, angle: Float[Tensor, "b"]) -> Float[Tensor, "b 3 3"]:
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.zeros(len(angle), 3, 3, dtype=angle.dtype)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1
    matrix[:, first, first] = matrix[:, second, second] = cos
    matrix[:, second, first], matrix[:, first, second] = sin, -sin
    return matrix
