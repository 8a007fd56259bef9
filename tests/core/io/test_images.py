"""Conversions between tensors and pixels, PNG files and writing in one step."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image

from instax3d.io.files import atomic, write_text
from instax3d.io.images import off_white, over_white, to_float, to_uint8, write_png


@given(arrays("uint8", (3, 4, 3)))
def test_pixels_there_and_back_are_the_same(pixels: np.ndarray):
    assert np.array_equal(to_uint8(to_float(torch.from_numpy(pixels))).numpy(), pixels)


def test_values_are_rounded_and_clipped():
    image = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).reshape(1, 2, 2)
    assert to_uint8(image).flatten().tolist() == [0, 0, 1, 255]


def test_channels_move_to_the_end():
    image = torch.zeros(3, 2, 5)
    image[1, 0, 4] = 1
    assert to_uint8(image).nonzero().tolist() == [[0, 4, 1]]


def test_off_white_undoes_over_white():
    generator = torch.Generator().manual_seed(0)
    color = torch.rand(2, 3, 8, 8, generator=generator)
    alpha = torch.rand(2, 1, 8, 8, generator=generator).clamp(min=0.05)
    torch.testing.assert_close(off_white(over_white(color, alpha), alpha), color, atol=1e-5, rtol=0)
    assert (off_white(torch.ones(3, 1, 1), torch.zeros(1, 1, 1)) == 1).all()


def test_a_png_with_alpha_laid_over_white_is_the_image(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    alpha = torch.rand(1, 16, 16, generator=generator)
    image = over_white(torch.rand(3, 16, 16, generator=generator), alpha)
    write_png(tmp_path / "a.png", image, alpha)
    read = to_float(torch.from_numpy(np.array(Image.open(tmp_path / "a.png"))))
    assert read.shape == (4, 16, 16)
    torch.testing.assert_close(read[3:], alpha, atol=0.51 / 255, rtol=0)
    # Off by the rounding of the colors and, near white, of the coverage.
    torch.testing.assert_close(over_white(read[:3], read[3:]), image, atol=1.5 / 255, rtol=0)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail():
        with atomic(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_keeps_the_suffix_and_is_not_yet_visible(tmp_path: Path):
    target = tmp_path / "a.png"
    with atomic(target) as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        assert not target.exists()
        temporary.write_bytes(b"x")
    assert target.read_bytes() == b"x"
