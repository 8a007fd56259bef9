"""Parameters in other trackers' formats: each way and back, and the same vertices by their conventions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from instax3d_plugins.flame.data import FlameData, read_model, write_npz
from instax3d_plugins.flame.lbs import Lbs
from instax3d_plugins.flame.parameters import from_deca, from_vhap, to_deca, to_vhap
from scipy.spatial.transform import Rotation

from instax3d.errors import AssetError
from instax3d.heads.head_parameters import FittedHead, read_head, write_head


@pytest.fixture
def data() -> FlameData:
    """A synthetic model of FLAME's layout."""
    generator = np.random.default_rng(0)
    normal = generator.normal
    weights, regressor = generator.random((30, 5)), generator.random((5, 30))
    return FlameData(
        "2023",
        normal(size=(30, 3)) * 0.1,
        generator.integers(0, 30, (40, 3)),
        normal(size=(30, 3, 400)) * 0.003,
        normal(size=(30, 3, 36)) * 0.003,
        regressor / regressor.sum(1, keepdims=True),
        weights / weights.sum(1, keepdims=True),
    )


@pytest.fixture
def head(data) -> FittedHead:
    generator = np.random.default_rng(1)
    shape, expression = generator.normal(size=100), generator.normal(size=50)
    pose = generator.normal(size=(5, 3)) * 0.3
    root = _lbs(data).joints(*_padded(shape, expression), torch.tensor(pose))[0].numpy()
    return FittedHead(
        *("flame-2023", data.identity, shape, expression, pose),
        rotation=Rotation.from_rotvec([0.3, -0.4, 0.2]).as_matrix(),
        translation=np.array([0.3, -0.2, 1.5]),
        scale=2.0,
        root=root,
    )


def _lbs(data) -> Lbs:
    return Lbs(data, shapes=300, expressions=100, dtype=torch.float64)


def _padded(shape, expression) -> tuple[torch.Tensor, torch.Tensor]:
    padded = np.zeros(300), np.zeros(100)
    for whole, part in zip(padded, (shape, expression), strict=True):
        whole[: len(part)] = part
    return torch.tensor(padded[0]), torch.tensor(padded[1])


def test_a_placed_head_is_the_same_for_vhap_in_meters(data, head, tmp_path):
    vertices = _lbs(data).vertices(*_padded(head.shape, head.expression), torch.tensor(head.pose)).numpy()
    world = head.scale * vertices @ head.rotation.T + head.translation
    write_head(tmp_path / "p.npz", head)
    assert "divide the world by 2" in to_vhap(tmp_path / "p.npz", tmp_path / "flame_param.npz")
    with np.load(tmp_path / "flame_param.npz", allow_pickle=False) as stored:
        pose = np.vstack(
            [stored["rotation"], stored["neck_pose"], stored["jaw_pose"], stored["eyes_pose"].reshape(2, 3)]
        )
        shape, expression = stored["shape"], stored["expr"][0]
        assert (shape.shape, expression.shape) == ((300,), (100,))
        theirs = _lbs(data).vertices(*_padded(shape, expression), torch.tensor(pose).double()).numpy()
        theirs = theirs + stored["translation"]
    np.testing.assert_allclose(theirs, world / 2, atol=1e-6)
    from_vhap(tmp_path / "flame_param.npz", tmp_path / "back.npz")
    back = read_head(tmp_path / "back.npz")
    ours = _lbs(data).vertices(*_padded(back.shape, back.expression), torch.tensor(back.pose).double()).numpy()
    np.testing.assert_allclose(ours @ back.rotation.T + back.translation, world / 2, atol=1e-6)


def test_decas_codes_there_and_back(head, tmp_path):
    write_head(tmp_path / "p.npz", head)
    with pytest.raises(AssetError, match="rotates neck or eyes"):
        to_deca(tmp_path / "p.npz", tmp_path / "codes.npz")
    pose = head.pose.copy()
    pose[[1, 3, 4]] = 0
    still = replace(head, pose=pose, rotation=np.eye(3))
    write_head(tmp_path / "p.npz", still)
    to_deca(tmp_path / "p.npz", tmp_path / "codes.npz")
    assert "neither the FLAME version" in from_deca(tmp_path / "codes.npz", tmp_path / "back.npz")
    back = read_head(tmp_path / "back.npz")
    np.testing.assert_allclose(back.pose, pose, atol=1e-6)
    np.testing.assert_allclose(back.shape, head.shape, atol=1e-6)
    np.testing.assert_allclose(back.expression, head.expression, atol=1e-6)
    turned = replace(still, rotation=head.rotation, shape=np.r_[head.shape, 2.5])
    write_head(tmp_path / "p.npz", turned)
    assert "2.50 sigma" in to_deca(tmp_path / "p.npz", tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as codes:
        found = Rotation.from_rotvec(codes["pose"][0, :3]).as_matrix()
    np.testing.assert_allclose(found, head.rotation @ Rotation.from_rotvec(pose[0]).as_matrix(), atol=1e-6)


def test_what_a_format_cannot_express_is_refused(head, tmp_path):
    write_head(tmp_path / "p.npz", replace(head, model="mannequin"))
    for convert in (to_deca, to_vhap):
        with pytest.raises(AssetError, match="do not transfer"):
            convert(tmp_path / "p.npz", tmp_path / "out.npz")
    write_head(tmp_path / "p.npz", replace(head, root=None))
    with pytest.raises(AssetError, match="root joint"):
        to_vhap(tmp_path / "p.npz", tmp_path / "out.npz")
    np.savez(tmp_path / "codes.npz", shape=np.ones((1, 100)), pose=np.ones((1, 5)))
    with pytest.raises(AssetError, match="5 numbers, not 6"):
        from_deca(tmp_path / "codes.npz", tmp_path / "out.npz")
    write_head(tmp_path / "p.npz", head)
    to_vhap(tmp_path / "p.npz", tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as stored:
        entries = {**stored, "static_offset": np.ones((1, 5023, 3))}
    np.savez(tmp_path / "v.npz", **entries)
    with pytest.raises(AssetError, match="static_offset"):
        from_vhap(tmp_path / "v.npz", tmp_path / "out.npz")
    (tmp_path / "x.npz").write_bytes(b"none")
    with pytest.raises(AssetError, match="numbers"):
        from_vhap(tmp_path / "x.npz", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_parameters_without_a_shape_are_refused(head, tmp_path):
    write_head(tmp_path / "p.npz", head)
    to_vhap(tmp_path / "p.npz", tmp_path / "v.npz")
    with np.load(tmp_path / "v.npz") as stored:
        entries = {name: stored[name] for name in stored.files if name != "shape"}
    np.savez(tmp_path / "v.npz", **entries)
    with pytest.raises(AssetError, match="has no 'shape'"):
        from_vhap(tmp_path / "v.npz", tmp_path / "out.npz")


def test_a_conversion_that_fails_leaves_no_half_written_file(head, tmp_path, monkeypatch):
    def full_disk(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    write_head(tmp_path / "p.npz", head)
    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(AssetError, match="No space left"):
        to_vhap(tmp_path / "p.npz", tmp_path / "v.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_a_synthetic_model_survives_conversion(data, tmp_path):
    write_npz(tmp_path / "flame.npz", data)
    assert read_model(tmp_path / "flame.npz").identity == data.identity
    with pytest.raises(AssetError, match="is FLAME 2023, not 2020"):
        read_model(tmp_path / "flame.npz", "2020")
