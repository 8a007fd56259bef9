"""Gaussians to the standard PLY layout and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plyfile import PlyData, PlyElement

from instax3d.errors import PortraitError
from instax3d.io.ply import read_ply, write_ply
from instax3d.types import Gaussians


def gaussians(n: int = 7, degree: int = 0, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=1)
    return Gaussians(
        means=torch.randn(n, 3, generator=generator),
        quats=quats,
        scales=torch.rand(n, 3, generator=generator) * 0.01 + 1e-4,
        opacities=torch.rand(n, generator=generator) * 0.98 + 0.01,
        sh=torch.randn(n, (degree + 1) ** 2, 3, generator=generator),
    )


def refusal(path: Path) -> str:
    with pytest.raises(PortraitError) as caught:
        read_ply(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def rewritten(path: Path, **changes: object) -> None:
    """Write the file again with columns replaced, or left out where None."""
    data = PlyData.read(str(path), mmap=False)["vertex"].data
    kept = [name for name in data.dtype.names if changes.get(name, 0) is not None]
    table = np.empty(len(data), [(name, "<f4") for name in kept])
    for name in kept:
        table[name] = changes.get(name, data[name])
    PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(path))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [1, 50])
def test_there_and_back(tmp_path: Path, degree: int, n: int):
    original = gaussians(n, degree)
    write_ply(tmp_path / "a.ply", original)
    read = read_ply(tmp_path / "a.ply")
    assert read.sh_degree == degree
    assert torch.equal(read.means, original.means)
    assert torch.equal(read.sh, original.sh)
    torch.testing.assert_close(read.quats, original.quats)
    torch.testing.assert_close(read.scales, original.scales, rtol=1e-5, atol=0)
    torch.testing.assert_close(read.opacities, original.opacities, rtol=1e-5, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]


def test_the_layout_is_the_reference_implementations(tmp_path: Path):
    original = gaussians(3, degree=1)
    write_ply(tmp_path / "a.ply", original)
    file = PlyData.read(str(tmp_path / "a.ply"), mmap=False)
    assert file.byte_order == "<"
    assert not file.text
    vertex = file["vertex"]
    names = [prop.name for prop in vertex.properties]
    rest = [f"f_rest_{index}" for index in range(9)]
    assert names == [
        "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest,
        "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
    ]  # fmt: skip
    assert {prop.val_dtype for prop in vertex.properties} == {"f4"}
    # Channel-major: all bands of red, then of green, then of blue.
    assert vertex["f_rest_1"][2] == original.sh[2, 2, 0]
    assert vertex["f_rest_3"][2] == original.sh[2, 1, 1]
    assert vertex["f_dc_2"][1] == original.sh[1, 0, 2]
    assert vertex["opacity"][0] == pytest.approx(float(original.opacities[0].logit()), rel=1e-5)
    assert vertex["scale_1"][0] == pytest.approx(float(original.scales[0, 1].log()), rel=1e-5)
    assert vertex["rot_0"][0] == pytest.approx(float(original.quats[0, 0]), rel=1e-5)
    assert (vertex["nx"] == 0).all()
    assert (tmp_path / "a.ply").stat().st_size < 1200


def test_extreme_opacities_scales_and_long_quaternions_are_written(tmp_path: Path):
    original = gaussians(4)
    original.opacities[:2] = torch.tensor([0.0, 1.0])
    original.scales[0, 0] = 0.0
    original.quats[1] *= 7
    write_ply(tmp_path / "a.ply", original)
    read = read_ply(tmp_path / "a.ply")
    torch.testing.assert_close(read.opacities, original.opacities, atol=2e-6, rtol=1e-5)
    assert 0 <= read.scales[0, 0] < 1e-30
    torch.testing.assert_close(read.quats[1], original.quats[1] / 7)


def test_gaussians_that_are_not_finite_are_not_written(tmp_path: Path):
    broken = gaussians(5)
    broken.means[2, 1] = torch.nan
    broken.scales[4, 0] = torch.inf
    with pytest.raises(PortraitError, match="2 of 5"):
        write_ply(tmp_path / "a.ply", broken)
    assert list(tmp_path.iterdir()) == []


def test_foreign_types_orders_and_extra_properties_are_read(tmp_path: Path):
    path = tmp_path / "a.ply"
    original = gaussians(3)
    write_ply(path, original)
    data = PlyData.read(str(path), mmap=False)["vertex"].data
    names = [name for name in reversed(data.dtype.names) if not name.startswith("n")]
    table = np.empty(3, [("extra", "u1"), *((name, ">f8") for name in names)])
    for name in names:
        table[name] = data[name]
    PlyData([PlyElement.describe(table, "vertex")], text=True).write(str(path))
    read = read_ply(path)
    torch.testing.assert_close(read.means, original.means)
    torch.testing.assert_close(read.opacities, original.opacities)


def test_other_files_are_refused_with_what_they_lack(tmp_path: Path):
    path = tmp_path / "a.ply"
    assert "there is no file" in refusal(path)
    path.write_text("hello")
    assert "cannot be read" in refusal(path)
    points = np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4")])
    PlyData([PlyElement.describe(points, "vertex")]).write(str(path))
    assert "lacks f_dc_0, f_dc_1, f_dc_2, opacity and more" in refusal(path)
    PlyData([PlyElement.describe(points, "point")]).write(str(path))
    assert "cannot be read" in refusal(path)


def test_broken_columns_are_refused(tmp_path: Path):
    path = tmp_path / "a.ply"
    for changes, problem in (
        ({"f_rest_8": None}, "8 f_rest"),
        ({"f_rest_6": None, "f_rest_7": None, "f_rest_8": None}, "6 f_rest"),
        ({"x": np.nan}, "3 of 3"),
        ({"scale_0": 1000.0}, "3 of 3"),
        ({f"rot_{index}": 0.0 for index in range(4)}, "3 of 3"),
    ):
        write_ply(path, gaussians(3, degree=1))
        rewritten(path, **changes)
        assert problem in refusal(path)


def test_lists_where_numbers_should_be_are_refused(tmp_path: Path):
    path = tmp_path / "a.ply"
    write_ply(path, gaussians(1))
    header, _ = path.read_bytes().split(b"end_header\n")
    header = header.replace(b"property float x\n", b"property list uchar float x\n")
    path.write_bytes(header + b"end_header\n" + b"\x01" + bytes(17 * 4))
    assert "lists" in refusal(path)


def test_a_count_beyond_the_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.ply"
    write_ply(path, gaussians(3))
    for count in (b"4", b"99999999999999"):
        path.write_bytes(path.read_bytes().replace(b"element vertex 3", b"element vertex " + count))
        assert "cannot be read" in refusal(path)
        write_ply(path, gaussians(3))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_damage_anywhere_is_an_error_or_gaussians(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    path = tmp_path_factory.mktemp("damaged") / "a.ply"
    write_ply(path, gaussians(2, degree=1))
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(damaged))
    try:
        read = read_ply(path)
    except PortraitError:
        return
    assert read.means.isfinite().all()
    assert ((read.opacities >= 0) & (read.opacities <= 1)).all()
