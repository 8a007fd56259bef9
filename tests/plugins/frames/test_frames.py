"""The `frames` view generator."""

from pathlib import Path

import numpy as np
import pytest
import torch
from instax3d_plugins.frames.config import FramesConfig
from instax3d_plugins.frames.generator import FramesGenerator
from PIL import Image
from pydantic import ValidationError

from instax3d.errors import IncompatiblePipelineError
from instax3d.geometry.cameras import orbit, write_transforms
from instax3d.inputs.capture import read_capture
from instax3d.types import Capture, Face, Photo


@pytest.fixture
def capture(tmp_path: Path) -> Capture:
    """Three frames of 90x60 pixels with a dot at the projection of the world's origin."""
    cameras = orbit([0.0, 45.0, 90.0], [0.0, 10.0, 20.0], radius=2.0, focal=70.0, size=(90, 60))
    cameras.Ks[:, 0, 2] = 30
    for index in range(3):
        pixels = np.zeros((60, 90, 4), np.uint8)
        pixels[27:33, 27:33] = (255, 0, 0, 255)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    write_transforms(tmp_path / "transforms.json", cameras, [f"{index}.png" for index in range(3)])
    return read_capture(tmp_path)


def test_frames_become_fully_trusted_views_in_their_own_world(capture: Capture):
    views = FramesGenerator(FramesConfig()).generate(capture, seed=0)
    assert views.images.shape == (3, 3, 60, 90)
    assert views.photo_index is None
    assert torch.equal(views.confidence, torch.ones_like(views.alpha))
    assert views.faces == ()
    assert torch.equal(views.cameras.viewmats, capture.cameras.viewmats)
    assert torch.equal(views.cameras.Ks, capture.cameras.Ks)
    assert views.cameras.names == ("0.png", "1.png", "2.png")
    assert views.alpha.sum().item() == 3 * 36


def test_reduced_frames_keep_points_in_place(capture: Capture):
    views = FramesGenerator(FramesConfig(max_size=30)).generate(capture, seed=0)
    assert views.images.shape == (3, 3, 20, 30)
    assert (views.cameras.width, views.cameras.height) == (30, 20)
    at = views.cameras.project(torch.zeros(1, 3))[:, 0, :2]
    rows, columns = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(30) + 0.5, indexing="ij")
    for k in range(3):
        weight = views.alpha[k, 0] / views.alpha[k].sum()
        center = torch.stack([(columns * weight).sum(), (rows * weight).sum()])
        torch.testing.assert_close(center, at[k], atol=1e-3, rtol=0)


def test_a_photo_is_refused():
    face = Face((0.0, 0.0, 1.0, 1.0), 1.0, torch.zeros(68, 2))
    with pytest.raises(IncompatiblePipelineError, match="needs a capture"):
        FramesGenerator(FramesConfig()).generate(Photo(torch.zeros(3, 8, 8), None, face), seed=0)


def test_sizes_must_be_positive():
    with pytest.raises(ValidationError):
        FramesConfig(max_size=0)
