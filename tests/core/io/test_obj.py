"""Meshes to OBJ and back."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from instax3d.errors import PortraitError
from instax3d.io.obj import read_obj, write_obj


@given(
    arrays("float32", (5, 3), elements=st.floats(-1e6, 1e6, width=32)),
    arrays("int64", (4, 3), elements=st.integers(0, 4)),
)
@settings(max_examples=50, deadline=None)
def test_there_and_back_is_exact(tmp_path_factory: pytest.TempPathFactory, points, corners):
    path = tmp_path_factory.mktemp("obj") / "mesh.obj"
    vertices, faces = torch.from_numpy(points.copy()), torch.from_numpy(corners.copy())
    write_obj(path, vertices, faces)
    read_vertices, read_faces = read_obj(path)
    assert torch.equal(read_vertices, vertices)
    assert torch.equal(read_faces, faces)


def test_trimesh_reads_it(tmp_path: Path):
    trimesh = pytest.importorskip("trimesh")
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    write_obj(tmp_path / "mesh.obj", vertices, faces)
    mesh = trimesh.load(tmp_path / "mesh.obj", process=False)
    assert mesh.faces.tolist() == faces.tolist()
    assert mesh.volume == pytest.approx(1 / 6)


def test_foreign_obj_files_are_read(tmp_path: Path):
    path = tmp_path / "mesh.obj"
    path.write_text(
        "# made elsewhere\nmtllib a.mtl\nv 0 0 0 1 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\n\ng head\n"
        "f 1/1/1 2/1/1 3/1/1 4/1/1\nf 1//1 2//1 3//1\nf -4 -3 -1\n"
    )
    vertices, faces = read_obj(path)
    assert vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 1, 3]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("v 0 0\n", "line 1"),
        ("v 0 0 zero\n", "line 1"),
        ("v 0 0 0\nf 1 1 2\n", "line 2.*no vertex 2"),
        ("v 0 0 0\nf 1 0 1\n", "no vertex 0"),
        ("v 0 0 0\nf 1 1\n", "three corners"),
        ("v 0 0 0\nf 1 1 -2\n", "no vertex -2"),
        ("v 0 0 nan\n", "not finite"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, problem: str):
    (tmp_path / "mesh.obj").write_text(text)
    with pytest.raises(PortraitError, match=problem):
        read_obj(tmp_path / "mesh.obj")


def test_a_missing_file_says_so(tmp_path: Path):
    with pytest.raises(PortraitError, match="cannot read"):
        read_obj(tmp_path / "mesh.obj")


def test_an_empty_mesh(tmp_path: Path):
    write_obj(tmp_path / "mesh.obj", torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    vertices, faces = read_obj(tmp_path / "mesh.obj")
    assert vertices.shape == faces.shape == (0, 3)
