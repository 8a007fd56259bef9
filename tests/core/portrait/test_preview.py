"""The turntable video and the contact sheet."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from instax3d.errors import PortraitError
from instax3d.geometry.cameras import orbit
from instax3d.portrait.orbit import Orbit
from instax3d.portrait.preview import write_contact_sheet, write_video
from instax3d.types import HeadMesh


def colored(*colors: tuple[float, float, float], height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.tensor(colors)[:, :, None, None].expand(-1, 3, height, width).contiguous()


def decoded(path: Path, width: int, height: int) -> tuple[str, np.ndarray]:
    """ffmpeg's description of the video and its frames [n, h, w, 3]."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stderr.decode(), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def test_the_video_plays_every_frame_in_its_color(tmp_path: Path):
    images = colored((1.0, 1.0, 1.0), (0.8, 0.2, 0.1), (0.1, 0.7, 0.2), (0.2, 0.3, 0.9), (0.0, 0.0, 0.0))
    write_video(tmp_path / "turn.mp4", images, fps=5)
    told, frames = decoded(tmp_path / "turn.mp4", 48, 32)
    assert "Video: h264" in told
    assert "yuv420p(tv, bt709" in told
    assert "5 fps" in told
    assert len(frames) == 5
    expected = (images[:, :, 0, 0] * 255).round().numpy()
    assert np.abs(frames.mean((1, 2)) - expected).max() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["turn.mp4"]


def test_odd_sizes_are_padded_not_scaled(tmp_path: Path):
    images = torch.rand(2, 3, 31, 45, generator=torch.Generator().manual_seed(0)).round()
    images = images.repeat_interleave(2, 2)[:, :, :31].repeat_interleave(2, 3)[..., :45]
    write_video(tmp_path / "odd.mp4", images)
    _, frames = decoded(tmp_path / "odd.mp4", 46, 32)
    gray = frames[0, :31, :45].mean(-1)
    assert np.abs(gray - images[0].mean(0).numpy() * 255).mean() < 25


def test_a_single_frame_is_a_video(tmp_path: Path):
    write_video(tmp_path / "one.mp4", colored((0.5, 0.5, 0.5)))
    assert len(decoded(tmp_path / "one.mp4", 48, 32)[1]) == 1


def test_without_ffmpeg_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg._io, "get_ffmpeg_exe", missing)
    with pytest.raises(PortraitError, match="pip install --force-reinstall imageio-ffmpeg"):
        write_video(tmp_path / "turn.mp4", colored((0.5, 0.5, 0.5)))
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path):
    with pytest.raises((OSError, PortraitError)):
        write_video(tmp_path / "nowhere" / "turn.mp4", colored((0.5, 0.5, 0.5)))
    assert list(tmp_path.iterdir()) == []


def cells(path: Path, height: int, width: int) -> np.ndarray:
    """The colors in the middles of the sheet's cells."""
    pixels = np.array(Image.open(path))
    rows, columns = (pixels.shape[0] + 4) // (height + 4), (pixels.shape[1] + 4) // (width + 4)
    assert pixels.shape == (rows * (height + 4) - 4, columns * (width + 4) - 4, 3)
    return pixels[height // 2 :: height + 4, width // 2 :: width + 4]


def test_the_sheet_shows_the_pictures_row_by_row_after_the_photo(tmp_path: Path):
    images = colored(*[(index / 20, 0.5, 0.25) for index in range(12)])
    photo = colored((1.0, 0.0, 0.0), height=64, width=64)[0]
    write_contact_sheet(tmp_path / "sheet.png", images, first=photo)
    shown = cells(tmp_path / "sheet.png", 32, 48)
    assert shown.shape[:2] == (3, 5)
    flat = shown.reshape(-1, 3)
    assert flat[0].tolist() == [255, 0, 0]
    assert flat[1:13, 0].tolist() == [round(index / 20 * 255) for index in range(12)]
    assert (flat[13:] == 255).all()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (9, 3), (12, 4), (13, 5), (22, 6)])
def test_the_sheet_has_few_empty_cells(tmp_path: Path, count: int, columns: int):
    write_contact_sheet(tmp_path / "sheet.png", colored(*[(0.5, 0.5, 0.5)] * count))
    assert cells(tmp_path / "sheet.png", 32, 48).shape[1] == columns


def test_the_photo_is_shown_whole_on_white(tmp_path: Path):
    photo = colored((0.0, 0.0, 1.0), height=20, width=200)[0]
    write_contact_sheet(tmp_path / "sheet.png", colored((0.5, 0.5, 0.5)), first=photo)
    cell = np.array(Image.open(tmp_path / "sheet.png"))[:32, :48]
    blue = (cell == (0, 0, 255)).all(-1)
    assert blue.any(1).sum() == 5
    assert blue.any(0).sum() == 48
    assert (cell[~blue] == 255).all()


def test_a_large_sheet_is_reduced(tmp_path: Path):
    write_contact_sheet(tmp_path / "sheet.png", colored((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), height=1500, width=1500))
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (2 * 1024 + 4, 1024)


def test_the_turntable_is_seen_from_as_high_as_the_views():
    views = orbit([0.0, 90.0, 180.0, 270.0], [12.0] * 4, radius=0.8, size=64, focal=100.0, center=(0.0, 0.1, 0.0))
    corners = torch.tensor([[-0.1, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.2, 0.1]])
    turntable = Orbit.around(HeadMesh(corners, torch.tensor([[0, 1, 2]])), views)
    assert turntable.elevation_deg == pytest.approx(12.0, abs=0.2)
    assert torch.allclose(turntable.turn(4).centers, views.centers, atol=0.005)
    assert turntable.cameras([0.0], 0.0).centers[0, 1] == pytest.approx(float(turntable.center[1]))
    assert Orbit.from_dict(turntable.to_dict()).elevation_deg == turntable.elevation_deg
