"""FLAME against the numbers of the original implementations, on reference models of few vertices."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from instax3d_plugins.flame.config import FlameConfig
from instax3d_plugins.flame.contour import contour_row, landmarks_by_rule
from instax3d_plugins.flame.convert import convert_model
from instax3d_plugins.flame.data import read_landmarks, read_masks, read_model
from instax3d_plugins.flame.lbs import Lbs
from instax3d_plugins.flame.model import FlameModel

from instax3d.config import load_config
from instax3d.errors import AssetError, UnsafeFileError
from instax3d.fitting import fit_head
from instax3d.headmodel import HeadParameters
from instax3d.interfaces import MeshPrior
from instax3d.plugin import Kind
from instax3d.registry import build
from instax3d.testing import HeadModelSuite, views_of_model

pytestmark = pytest.mark.fixtures


@pytest.fixture(scope="module")
def folder(fixtures_dir) -> Path:
    return fixtures_dir / "flame"


@pytest.fixture(scope="module")
def expected(folder):
    return dict(np.load(folder / "flame_expected.npz"))


def poses(expected) -> torch.Tensor:
    parts = [expected["global_orient"], expected["neck"], expected["jaw"]]
    eyes = expected["eyes"].reshape(-1, 2, 3)
    return torch.tensor(np.concatenate([np.stack(parts, 1), eyes], 1)).double()


@pytest.fixture(scope="module")
def whole(folder) -> FlameModel:
    """The reference model with landmarks and masks."""
    data = read_model(folder / "flame_plain.pkl", "2020")
    data = replace(data, landmarks=read_landmarks(folder / "landmark_embedding.npy"))
    data = replace(data, masks=read_masks(folder / "FLAME_masks.pkl"))
    return FlameModel(FlameConfig(expression_components=100), data)


class TestFlame(HeadModelSuite):
    expected_failures: ClassVar[dict[str, str]] = dict.fromkeys(
        (
            "test_the_neutral_head_is_at_zero_and_of_a_head_s_size",
            "test_landmarks_are_in_order",
            "test_regions_are_where_they_belong",
            "test_every_joint_turns_what_follows_it_about_its_place",
        ),
        "the reference model is no face: its vertices, masks and pose correctives are drawn at random",
    )

    @pytest.fixture
    def plugin(self, whole):
        return whole


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("flame_plain", ""),
        ("flame_chumpy", ""),
        ("flame_small_plain_p0", "_small"),
        ("flame_small_chumpy_select_p0", "_small"),
    ],
)
def test_vertices_and_joints_are_the_originals(folder, expected, name, suffix):
    lbs = Lbs(read_model(folder / f"{name}.pkl"), shapes=300, expressions=100, dtype=torch.float64)
    shape, expression = (torch.tensor(expected[key]).double() for key in ("shape", "expression"))
    for row, pose in enumerate(poses(expected)):
        vertices = lbs.vertices(shape[row], expression[row], pose)
        joints = lbs.joints(shape[row], expression[row], pose)
        np.testing.assert_allclose(vertices, expected[f"vertices{suffix}"][row], rtol=0, atol=1e-6)
        np.testing.assert_allclose(joints, expected[f"joints{suffix}"][row], rtol=0, atol=1e-6)
        chosen = torch.tensor([len(vertices) - 1, 0, len(vertices) // 2])
        torch.testing.assert_close(lbs.vertices(shape[row], expression[row], pose, chosen), vertices[chosen])


def test_the_interface_gives_them_in_single_precision(whole, expected):
    for row, pose in enumerate(poses(expected)):
        shape, expression = (torch.tensor(expected[key][row]) for key in ("shape", "expression"))
        parameters = HeadParameters(shape, expression, pose.float())
        np.testing.assert_allclose(whole(parameters), expected["vertices"][row], rtol=0, atol=1e-5)
        np.testing.assert_allclose(whole.posed_joints(parameters), expected["joints"][row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("files", ["landmark_embedding.npy", "landmark_embedding_numpy.npy", "."])
def test_landmarks_by_the_rule_of_flame_pytorch(folder, expected, files):
    landmarks, faces = read_landmarks(folder / files), torch.tensor(read_model(folder / "flame_plain.pkl").faces)
    for row, pose in enumerate(poses(expected)):
        vertices = torch.tensor(expected["vertices"][row])
        found = landmarks_by_rule(vertices, faces, landmarks, pose, "flame_pytorch")
        np.testing.assert_allclose(found, expected["landmarks68_flame_pytorch"][row], rtol=0, atol=1e-5)


def test_landmarks_by_the_rule_of_deca(folder, whole):
    expected = dict(np.load(folder / "flame_deca_expected.npz"))
    for row in range(len(expected["pose"])):
        pose = torch.zeros(5, 3)
        pose[0], pose[2] = torch.tensor(expected["pose"][row]).reshape(2, 3)
        pose[3:] = torch.tensor(expected["eyes"][row]).reshape(2, 3)
        shape, expression = torch.zeros(300), torch.zeros(100)
        for whole_code, name in ((shape, "shape"), (expression, "expression")):
            code = torch.tensor(expected[name][row])
            whole_code[: len(code)] = code
        vertices = whole(HeadParameters(shape, expression, pose))
        np.testing.assert_allclose(vertices, expected["vertices"][row], rtol=0, atol=1e-5)
        by_rule = whole.landmarks_by_rule(vertices, pose, "deca")
        np.testing.assert_allclose(by_rule, expected["landmarks2d"][row], rtol=0, atol=1e-5)
        np.testing.assert_allclose(whole.landmarks(vertices), expected["landmarks3d"][row], rtol=0, atol=1e-5)
        assert contour_row(pose, "deca") == expected["dynamic_row_deca"][row]


def test_masks_are_read(folder, whole):
    expected = dict(np.load(folder / "masks_expected.npz"))
    assert set(read_masks(folder / "FLAME_masks.pkl")) == set(expected)
    for name, vertices in expected.items():
        if name not in ("neck", "scalp", "face", "lips"):
            assert torch.nonzero(whole.regions[name])[:, 0].tolist() == sorted(vertices.tolist())
    ears = set(expected["left_ear"]) | set(expected["right_ear"])
    assert set(torch.nonzero(whole.regions["ears"])[:, 0].tolist()) == ears


def test_derivatives_are_those_of_small_steps(whole):
    torch.manual_seed(0)
    lbs = Lbs(whole.data, shapes=3, expressions=2, dtype=torch.float64)
    inputs = [torch.randn(n, dtype=torch.float64).requires_grad_() for n in (3, 2, 15)]
    assert torch.autograd.gradcheck(
        lambda shape, expression, pose: lbs.vertices(shape, expression, pose.reshape(5, 3), torch.arange(4)), inputs
    )


def test_conversion_keeps_everything_and_needs_no_pickle(folder, tmp_path, expected):
    source = tmp_path / "official"
    source.mkdir()
    shutil.copy(folder / "flame_chumpy.pkl", source / "flame2023_Open.pkl")
    for name in ("landmark_embedding.npy", "FLAME_masks.pkl"):
        shutil.copy(folder / name, source)
    said = convert_model(source, tmp_path / "flame.npz")
    count = len(read_model(folder / "flame_chumpy.pkl").template)
    assert f"FLAME 2023-open, {count} vertices" in said
    assert "landmarks and masks" in said
    with np.load(tmp_path / "flame.npz", allow_pickle=False) as stored:
        assert not any(stored[name].dtype.hasobject for name in stored.files)
    before, after = read_model(source / "flame2023_Open.pkl"), read_model(tmp_path / "flame.npz")
    assert (after.version, after.identity) == ("2023-open", before.identity)
    np.testing.assert_array_equal(after.directions, before.directions)
    config = FlameConfig(model=str(tmp_path / "flame.npz"), landmarks=None, masks=None)
    model = FlameModel(config)
    assert model.name == "flame-2023-open"
    rest = model(model.neutral())
    np.testing.assert_allclose(rest, before.template, atol=1e-6)


def test_versions_are_not_mixed(folder, tmp_path):
    shutil.copy(folder / "flame_plain.pkl", tmp_path / "generic_model.pkl")
    assert read_model(tmp_path / "generic_model.pkl").version == "2020"
    assert read_model(folder / "flame_plain.pkl").version == "unknown"
    assert read_model(folder / "flame_plain.pkl", "2023").version == "2023"
    with pytest.raises(AssetError, match="is FLAME 2020, not 2023"):
        read_model(tmp_path / "generic_model.pkl", "2023")
    small = read_model(folder / "flame_small_plain_p0.pkl").identity
    assert small != read_model(folder / "flame_plain.pkl").identity
    assert read_model(folder / "flame_chumpy.pkl").identity == read_model(folder / "flame_plain.pkl").identity


def test_files_that_are_not_flame_are_refused(folder, tmp_path):
    with pytest.raises(AssetError, match="not a FLAME model"):
        read_model(folder / "FLAME_masks.pkl")
    with pytest.raises(AssetError, match="no landmarks of FLAME"):
        read_landmarks(folder / "flame_dynamic_embedding.npy")
    (tmp_path / "x.npz").write_bytes(b"PK no")
    with pytest.raises(AssetError, match="convert-flame"):
        read_model(tmp_path / "x.npz")
    with pytest.raises(UnsafeFileError, match="system"):
        convert_model(folder / "hostile" / "flame_hostile_system.pkl", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
    with pytest.raises(AssetError, match="must hold one model"):
        convert_model(tmp_path, tmp_path / "out.npz")


def test_without_files_the_prior_says_what_to_get(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTAX3D_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match="assets get flame-2023-open"):
        build(MeshPrior, "flame").head_model()


def test_the_prior_takes_the_users_files(folder):
    prior = build(
        MeshPrior,
        "flame",
        model=str(folder / "flame_plain.pkl"),
        landmarks=str(folder / "landmark_embedding.npy"),
        masks=str(folder / "FLAME_masks.pkl"),
        version="2020",
        expression_components=10,
    )
    model = prior.head_model()
    assert model.name == "flame-2020"
    assert len(model.expression_names) == 10
    assert model(model.neutral()).shape == read_model(folder / "flame_plain.pkl").template.shape


def test_the_core_fits_it_to_views(whole):
    """The reference model is no face, but its landmarks, pose and size must be found from several sides."""
    views = views_of_model(whole, count=3)
    moved = torch.eye(4)
    moved[:3, 3] = torch.tensor([0.02, -0.03, 0.01])
    cameras = replace(views.cameras, viewmats=views.cameras.viewmats @ moved)
    model = FlameModel(FlameConfig(expression_components=5), whole.data)
    mesh = fit_head(model, replace(views, cameras=cameras), shape_components=20)
    assert mesh.rig is not None
    assert mesh.metrics["views_used"] == 3
    assert mesh.metrics["landmark_error"] < 0.01
    rest = whole(whole.neutral())
    face = whole.landmarks(rest)
    assert float((mesh.landmarks + moved[:3, 3] - face)[17:].norm(dim=1).mean()) < 0.003
    assert mesh.units_per_meter == pytest.approx(1, rel=0.1)
    torch.testing.assert_close(mesh.rig.vertices(mesh.rig.parameters), mesh.vertices, atol=1e-5, rtol=1e-4)


def test_a_version_is_given_as_a_number_or_a_text():
    for given in ("mesh_prior.version=2020", "mesh_prior.version='2020'"):
        config = load_config(overrides=["mesh_prior=flame", given], source="photo").choices[Kind.MESH_PRIOR].config
        assert config.version == "2020"
