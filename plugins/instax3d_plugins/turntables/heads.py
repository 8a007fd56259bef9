"""Turntables of drawn heads."""

import numpy as np
import torch

from instax3d.datasets import AZIMUTHS_DEG, FIELD_OF_VIEW_DEG, INPUT_VIEW
from instax3d.geometry.cameras import orbit
from instax3d.headmodel import HeadModel
from instax3d.interfaces import ClipSource
from instax3d.registry import build
from instax3d.types import TurntableClip, Views

from .config import HeadsConfig
from .drawing import artist
from .person import random_person
from .person_mesh import build_person_mesh

_DISTANCE = 0.78
"""From the axis to the camera, meters: head and shoulders fill the frame."""
_HEADROOM = 0.165
"""The views' center lies this far below the top of the bald head, meters."""
_AXIS_BEHIND = -0.01
"""Where the turntable's axis passes through the head (z), meters."""
_FINE_FROM = 160
"""From this size on the head's triangles are split twice: skin has detail of a millimeter."""


class HeadsSource(ClipSource[HeadsConfig]):
    """A new person for each clip, before white; shape, expression, skin, hair, clothes and light are random."""

    def make(self, index: int, *, seed: int) -> TurntableClip:
        """Draw one person from 21 sides."""
        model = build(HeadModel, self.config.head)
        person = random_person(model, np.random.default_rng([seed, index]), turn_deg=self.config.turn_deg)
        mesh = build_person_mesh(model, person, detail=2 if self.config.size >= _FINE_FROM else 1)
        cameras = orbit(
            [(azimuth + person.turn_deg) % 360 for azimuth in AZIMUTHS_DEG],
            [self.config.elevation_deg] * len(AZIMUTHS_DEG),
            radius=_DISTANCE,
            size=self.config.size,
            fov_deg=FIELD_OF_VIEW_DEG,
            center=(0.0, mesh.top - _HEADROOM, _AXIS_BEHIND),
        )
        images, alpha = artist(mesh, person).draw(cameras)
        views = Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=INPUT_VIEW)
        about: dict[str, str | float] = {"hair": person.style.name, "turn_deg": round(person.turn_deg, 3)}
        return TurntableClip(views, self.config.elevation_deg, about)
