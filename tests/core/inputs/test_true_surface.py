"""The true surfaces that captures bring."""

from pathlib import Path

import numpy as np
import pytest
import torch
from captures import write_capture
from plyfile import PlyData, PlyElement

from instax3d.errors import CaptureError
from instax3d.inputs.capture import read_capture
from instax3d.inputs.true_surface import read_true_surface
from instax3d.io.obj import write_obj

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])


def write_ply(path, vertices, polygons, text=False):
    points = np.array([tuple(v) for v in vertices], [(axis, "f4") for axis in "xyz"])
    elements = [PlyElement.describe(points, "vertex")]
    if polygons is not None:
        faces = np.empty(len(polygons), [("vertex_indices", object)])
        faces["vertex_indices"] = [np.array(polygon, np.int32) for polygon in polygons]
        elements.append(PlyElement.describe(faces, "face"))
    PlyData(elements, text=text).write(str(path))


def test_captures_bring_their_surface_as_mesh_or_cloud(tmp_path):
    write_capture(tmp_path)
    assert read_capture(tmp_path).surface is None
    vertices, faces = SQUARE
    write_ply(tmp_path / "mesh.ply", vertices, None)
    assert read_capture(tmp_path).surface.faces is None
    write_ply(tmp_path / "mesh.ply", vertices, [[0, 1, 2, 3]], text=True)
    surfaces = [read_capture(tmp_path).surface]
    write_obj(tmp_path / "mesh.obj", torch.from_numpy(vertices).float(), torch.from_numpy(faces))
    surfaces.append(read_capture(tmp_path).surface)
    np.savez(tmp_path / "mesh.npz", vertices=vertices, faces=faces)
    surfaces.append(read_capture(tmp_path).surface)
    for surface in surfaces:
        assert np.array_equal(surface.vertices.numpy(), vertices.astype(np.float32))
        assert np.array_equal(surface.faces.numpy(), faces)


class Hostile:
    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mesh.npz", {"vertices": np.array([Hostile()], object)}),
        ("mesh.npz", {"points": np.zeros((3, 3))}),
        ("mesh.npz", {"vertices": np.zeros((3, 2))}),
        ("mesh.npz", {"vertices": np.full((3, 3), np.nan)}),
        ("mesh.npz", {"vertices": np.zeros((3, 3)), "faces": np.array([[0, 1, 3]])}),
        ("mesh.npz", {"vertices": np.zeros((3, 3)), "faces": np.array([[0, 1, 2, 0]])}),
        ("mesh.npz", b"no archive"),
        ("mesh.obj", b"v 0 0 zero"),
        ("mesh.ply", b"ply\nformat ascii 1.0\nelement vertex 99999999999\nend_header\n"),
        ("mesh.ply", b"something else"),
    ],
)
def test_a_file_that_is_not_a_surface_is_refused_in_one_sentence(tmp_path, monkeypatch, name, values):
    monkeypatch.chdir(tmp_path)
    if isinstance(values, bytes):
        (tmp_path / name).write_bytes(values)
    else:
        np.savez(tmp_path / name, **values)
    with pytest.raises(CaptureError, match=rf"{name} is not the surface of a head .*remove it") as caught:
        read_true_surface(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()
