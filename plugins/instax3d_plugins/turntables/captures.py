"""Turntables chosen from the frames of captures."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch.nn import functional

from instax3d.datasets import AZIMUTHS_DEG, INPUT_VIEW
from instax3d.errors import DatasetError
from instax3d.inputs.capture import load_frames, read_capture
from instax3d.interfaces import ClipSource
from instax3d.types import Cameras, TurntableClip, Views

from .config import CapturesConfig

_TRANSFORMS = ("transforms_train.json", "transforms.json")


class CapturesSource(ClipSource[CapturesConfig]):
    """Selects from each capture the frames nearest to the turntable's azimuths.

    Frames keep their framing; they are padded to a white square and scaled.
    """

    license = "that of the captures"

    @cached_property
    def _folders(self) -> list[Path]:
        folder = self.config.folder
        if not folder.is_dir():
            raise DatasetError(f"there is no folder {folder}; give one that holds captures, with folder=PATH")
        captures = [path for path in sorted(folder.iterdir()) if any((path / name).is_file() for name in _TRANSFORMS)]
        if not captures:
            raise DatasetError(f"no subfolder of {folder} is a capture (has a transforms.json)")
        return captures

    def clips(self) -> int:
        """As many as there are captures."""
        return len(self._folders)

    def make(self, index: int, *, seed: int) -> TurntableClip:
        """Choose the frames of one capture; nothing is random.

        Raises:
            DatasetError: it lacks a frame near one of the azimuths.
            CaptureError: it cannot be read.
        """
        folder = self._folders[index]
        capture = read_capture(folder)
        azimuths, elevations = self._angles(capture.cameras)
        targets = (np.array(AZIMUTHS_DEG) + self.config.front_deg) % 360
        apart = np.abs((azimuths - targets[:, None] + 180) % 360 - 180)
        # among frames of several elevations those of the input view's
        level = elevations[apart[INPUT_VIEW].argmin()]
        apart = np.maximum(apart, np.abs(elevations - level))
        chosen, gap = apart.argmin(1), apart.min(1)
        if gap.max() > self.config.tolerance_deg:
            raise DatasetError(
                f"{folder} has no frame within {self.config.tolerance_deg:g} degrees of azimuth "
                f"{targets[gap.argmax()]:.1f} (nearest: {gap.max():.1f}); leave the capture out, or raise tolerance_deg"
            )
        if len(set(chosen.tolist())) < len(chosen):
            raise DatasetError(f"{folder} has too few frames around the head: one frame is nearest to two azimuths")
        cameras = capture.cameras[chosen.tolist()]
        images, alpha = load_frames(cameras, tuple(capture.files[k] for k in chosen))
        views = _squared(
            Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=INPUT_VIEW), self.config.size
        )
        return TurntableClip(
            views, round(float(level), 4), {"capture": folder.name, "gap_deg": round(float(gap.max()), 3)}
        )

    def _angles(self, cameras: Cameras) -> tuple[Float[ndarray, "views"], Float[ndarray, "views"]]:
        """Azimuth and elevation of each camera, around the point nearest to all their axes, degrees."""
        centers, axes = cameras.centers.double().numpy(), cameras.viewmats[:, 2, :3].double().numpy()
        away = np.eye(3) - axes[:, :, None] * axes[:, None, :]
        middle = np.linalg.lstsq(away.sum(0), (away @ centers[:, :, None]).sum(0)[:, 0], rcond=None)[0]
        x, y, z = (centers - middle).T
        if self.config.up == "z":
            y, z = z, -y
        return np.degrees(np.arctan2(x, z)) % 360, np.degrees(np.arctan2(y, np.hypot(x, z)))


def _squared(views: Views, size: int) -> Views:
    """Padded to a white square, then resized to ``size``."""
    cameras = views.cameras
    side = max(cameras.width, cameras.height)
    left, top = (side - cameras.width) // 2, (side - cameras.height) // 2
    frame = (left, side - cameras.width - left, top, side - cameras.height - top)
    images, alpha = functional.pad(views.images, frame, value=1.0), functional.pad(views.alpha, frame)
    Ks = cameras.Ks.clone()
    Ks[:, 0, 2] += left
    Ks[:, 1, 2] += top
    if size != side:
        images, alpha = (
            functional.interpolate(part, (size, size), mode="bilinear", antialias=True).clamp(0, 1)
            for part in (images, alpha)
        )
    Ks[:, :2] *= size / side
    cameras = replace(cameras, Ks=Ks, width=size, height=size)
    return Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=views.photo_index)
