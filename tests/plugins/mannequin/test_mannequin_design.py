"""The tool that measures the mannequin's table, and the table that it shipped."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from instax3d_plugins.mannequin.cage import Cage, boundary_loops
from instax3d_plugins.mannequin.crossings import crossing_pairs
from instax3d_plugins.mannequin.design import __main__ as design
from instax3d_plugins.mannequin.design import detail
from instax3d_plugins.mannequin.design.contacts import self_contacts
from instax3d_plugins.mannequin.design.detail import fitted_detail
from instax3d_plugins.mannequin.design.fits import Fit, refinement
from instax3d_plugins.mannequin.design.half import Half, Outlines
from instax3d_plugins.mannequin.design.measure import Skin
from instax3d_plugins.mannequin.design.outline_points import Curve, Feature, Sizes
from instax3d_plugins.mannequin.design.shapes import _push
from instax3d_plugins.mannequin.design.surface import ClosestPointMesh, vertex_normals
from instax3d_plugins.mannequin.design.triangles import join
from instax3d_plugins.mannequin.table import METERS, MannequinTable


@pytest.fixture(scope="module")
def cage():
    table = MannequinTable.packaged()
    return Cage(table.faces, table.on_midline)


@pytest.mark.data
@pytest.mark.slow
def test_the_shipped_table_is_the_tools(data_dir):
    from instax3d_plugins.mannequin.design.build import build

    made, shipped = build(data_dir / "ict_facekit"), MannequinTable.packaged()
    assert set(made) == set(MannequinTable.__dataclass_fields__)
    for name, values in made.items():
        expected = getattr(shipped, name)
        assert values.shape == expected.shape, name
        if values.dtype.kind == "U":
            assert values.tolist() == expected.tolist()
        else:
            assert np.abs(values.astype(np.int64) - expected).max() <= 1, name


@pytest.mark.data
@pytest.mark.slow
def test_the_published_folder_is_read_like_the_packed_one(data_dir, tmp_path):
    from instax3d_plugins.mannequin.design.reference import Reference

    from instax3d.heads.facekit import UNPAIRED

    packed = Reference.load(data_dir / "ict_facekit")
    meshes = data_dir / "ict_facekit" / "FaceXModel"
    folder = tmp_path / "FaceXModel"
    shutil.copytree(meshes, folder)
    for name in UNPAIRED:
        if not (folder / f"{name}.obj").exists():
            (folder / f"{name}.obj").symlink_to(meshes / "generic_neutral_mesh.obj")
    published = Reference.load(tmp_path)
    np.testing.assert_array_equal(published.neutral, packed.neutral)
    np.testing.assert_array_equal(published.faces, packed.faces)
    np.testing.assert_allclose(published.identities, packed.identities[: len(published.identities)], atol=2e-3)
    np.testing.assert_allclose(published.expression("jawOpen"), packed.expression("jawOpen"), atol=2e-3)
    assert list(published.expression_names) == sorted(published.expression_names)
    assert np.abs(published.expression("mouthPucker")).max() == 0  # the stand-in


def test_the_tool_writes_the_arrays_of_the_table_and_nothing_else(tmp_path, monkeypatch):
    stored = {}

    def of_numpy_2_0(file, *arrays, **named):
        """Before numpy 2.1 every keyword is an array to store."""
        stored.update(named)
        Path(file if isinstance(file, Path) else file.name).write_bytes(b"npz")

    monkeypatch.setattr(np, "savez_compressed", of_numpy_2_0)
    monkeypatch.setattr(design, "build", lambda folder: {"faces": np.zeros(3, np.int16)})
    monkeypatch.setattr(sys, "argv", ["design", str(tmp_path), str(tmp_path / "table.npz")])
    design.main()
    assert set(stored) == {"faces"}
    assert [path.name for path in tmp_path.iterdir()] == ["table.npz"]


def test_control_points_are_found_again(cage):
    generator = np.random.default_rng(2)
    once, fine = cage.levels[1], cage.levels[2]
    controls = generator.normal(size=(len(once.half), 3))
    controls[once.mirror[once.half] == once.half, 0] = 0
    targets = cage.refine(once.whole(controls), 1)[fine.half]
    np.testing.assert_allclose(Fit.of_half(cage, 1, 0.0).vectors(targets), controls, atol=1e-3)
    rough = Fit.of_half(cage, 1, 10.0).vectors(targets)
    assert np.square(rough).sum() < 0.8 * np.square(controls).sum()


def test_subdivision_keeps_what_is_straight(cage):
    refine = refinement(cage, 0)
    np.testing.assert_allclose(np.asarray(refine.sum(1)).ravel(), 1)
    level = cage.levels[2]
    assert refine.shape == (len(level.mirror), len(cage.levels[0].mirror))
    np.testing.assert_array_equal(level.mirror[level.mirror], np.arange(len(level.mirror)))
    np.testing.assert_allclose(refine @ np.ones((refine.shape[1], 3)), 1)


@pytest.mark.slow
def test_contacts_keep_a_fit_from_crossing(cage):
    once, fine = cage.levels[1], cage.levels[2]
    table = MannequinTable.packaged()
    start = cage.refine(once.whole(table.cage * METERS), 1)
    lids = table.expr_names.tolist().index("eyeBlinkLeft")
    rows = slice(*table.expr_start[lids : lids + 2])
    moves = np.zeros((len(once.mirror), 3))
    moves[table.expr_points[rows]] = 1.5 * METERS * table.expr_moves[rows]  # too far
    fit = Fit.of_whole(cage, 1, 1e-3, np.ones(len(fine.mirror)))
    assert len(crossing_pairs(start + fit.skin(moves), fine.faces)) > 20

    def find(before, moved):
        return self_contacts(before, moved, fine.faces, 5e-5)

    found = fit.apart(moves, start, start, find, stages=2)
    assert len(crossing_pairs(start + fit.skin(found), fine.faces)) == 0
    shifts = np.linalg.norm(fit.skin(found - moves), axis=1)
    assert shifts.max() < 0.01
    assert np.median(shifts) < 1e-5  # only the lids give way


def test_components_are_moved_least_to_keep_contacts_apart():
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(7, 4))  # numbers, components
    towards = sp.csr_matrix(np.array([[1.0, -1, 0, 0, 0, 0, 0], [0, 1, -1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, -1]]))
    own, allowed = np.full(3, 2.0), np.array([0.2, 0.0, 100.0])
    force, moved = np.zeros((3, 4)), shapes.copy()
    arrays = towards.indptr, towards.indices, towards.data
    _push(force, moved, *arrays, towards.toarray(), own, allowed, 0.0, 200)
    np.testing.assert_allclose(moved, shapes + towards.T @ force, atol=1e-12)
    apart = np.linalg.norm(towards @ moved, axis=1)
    np.testing.assert_allclose(apart[:2], allowed[:2], atol=1e-9)
    # the distance of the third was never too far, and the first is pushed straight back
    assert not force[2].any()
    assert apart[2] == pytest.approx(np.linalg.norm(shapes[3] - shapes[6]))
    np.testing.assert_allclose(force[0] * 0.2, -(towards @ moved)[0] * np.linalg.norm(force[0]), atol=1e-9)


def test_detail_brings_the_skin_to_a_reference(cage, monkeypatch):
    monkeypatch.setattr(detail, "ROUNDS", 2)
    fine, left = cage.levels[-1], cage.levels[-1].half
    controls = MannequinTable.packaged().cage / 1000  # about centimeters
    skin = Skin(cage, controls, sp.csr_matrix((0, 0)), np.zeros(0), np.zeros((len(left), 3)))
    start = skin.vertices
    place = np.full(len(start), -1)
    place[left] = np.arange(len(left))
    faces = place[fine.faces[(place[fine.faces] >= 0).all(1)]]
    bulge = (
        0.15
        * vertex_normals(start, fine.faces)
        * np.exp(-((start - start[start[:, 1].argmax()]) ** 2) / 20).prod(1)[:, None]
    )
    bulge[fine.mirror == np.arange(len(start)), 0] = 0
    none = np.zeros(0, np.int64)
    half = Half(left, (start + bulge)[left], faces, Outlines(none, none, none, none, none))
    moved = fitted_detail(skin, half, np.zeros(len(start), bool))
    border = np.isin(left, np.concatenate(boundary_loops(fine.faces)))
    assert np.abs(moved[border]).max() == 0
    after = ClosestPointMesh(start[left] + moved, faces).closest(half.vertices)[1]
    before = ClosestPointMesh(start[left], faces).closest(half.vertices)[1]
    assert before.max() > 0.1
    assert after.max() < 0.25 * before.max()
    assert np.abs(moved[bulge[left, 1] == 0]).max(initial=0) < 0.05
    np.testing.assert_allclose(moved / skin.count, np.round(moved / skin.count), atol=1e-6)


def test_the_mirror_of_a_subdivided_cage_mirrors_its_faces(cage):
    for level in cage.levels:
        mirrored = {tuple(np.roll(face, -face.argmin())) for face in level.mirror[level.faces][:, ::-1]}
        assert mirrored == {tuple(np.roll(face, -face.argmin())) for face in level.faces}


def test_boundary_loops_follow_the_faces():
    ring = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    (loop,) = boundary_loops(ring)
    assert loop.tolist() == [0, 1, 2, 3]


def test_closest_points_on_a_surface():
    surface = ClosestPointMesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])
    )
    points = np.array([[0.3, 0.1, 2.0], [2.0, 0.5, 0.0], [0.25, 0.75, -1.0]])
    closest, distance, face = surface.closest(points)
    np.testing.assert_allclose(closest, [[0.3, 0.1, 0], [1, 0.5, 0], [0.25, 0.75, 0]], atol=1e-12)
    np.testing.assert_allclose(distance, [2, 1, 1])
    assert face.tolist() == [0, 0, 1]
    values = np.array([0.0, 1, 3, 2])  # x + 2 y
    np.testing.assert_allclose(surface.interpolation(points) @ values, [0.5, 2.0, 1.75])


def test_points_on_a_curve_are_spaced_by_the_target_sizes():
    vertices = np.stack([np.linspace(0, 10, 11), np.zeros(11), np.zeros(11)], 1)
    curve = Curve.along(vertices[:, :2], vertices, np.arange(11), closed=False)
    sizes = Sizes((Feature(np.array([[0.0, 0, 0]]), 0.2, 0.1),), 1.0)
    steps = np.diff(curve.spaced(sizes, 2))
    assert steps[0] == pytest.approx(0.2, abs=0.05)
    assert steps[-1] == pytest.approx(1.1, abs=0.2)
    assert bool((np.diff(steps) > 0).all())


def test_a_fan_with_a_hole_is_joined():
    angle = np.arange(12) * np.pi / 6
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    chart = np.vstack([3 * circle, circle, 2 * circle])
    diagonal = np.array([[25, 1]])  # Delaunay might take the other one
    faces = join(chart, np.arange(12), 12 + np.arange(12), np.c_[chart, np.zeros(36)], diagonal)
    assert len(faces) == 48
    assert any({25, 1} <= set(face) for face in faces.tolist())
    assert sorted(len(loop) for loop in boundary_loops(faces)) == [12, 12]
