"""Files of others are read without running anything: the reference ones, hostile ones, and broken ones."""

import collections
import copyreg
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csc_matrix

from instax3d.errors import UnsafeFileError
from instax3d.io.safeload import read_checkpoint, read_npy, read_pickle

HOSTILE = {
    "flame_hostile_open.pkl": r"__builtin__\.open",
    "flame_hostile_system.pkl": r"posix\.system",
    "flame_hostile_eval.pkl": r"__builtin__\.eval",
    "flame_hostile_subprocess.pkl": r"subprocess\.",
    "flame_hostile_getattr.pkl": r"__builtin__\.(getattr|__import__)",
    "flame_hostile_numpy_runstring.pkl": r"numpy\.testing\._private\.utils\.runstring",
    "flame_hostile_dotted.pkl": r"numpy\.",
    "landmark_hostile.npy": "uses",
    "checkpoint_hostile.pkl": "uses",
}


@pytest.mark.fixtures
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name_and_do_nothing(fixtures_dir, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = fixtures_dir / "flame" / "hostile" / name
    read = read_checkpoint if name.startswith("checkpoint") else read_npy if path.suffix == ".npy" else read_pickle
    with pytest.raises(UnsafeFileError, match=HOSTILE[name]):
        read(path)
    assert list(tmp_path.iterdir()) == [], "it did something"


@pytest.mark.fixtures
def test_all_hostile_files_are_known(fixtures_dir):
    """Another set of reference files may hold more; none may be read by any reader."""
    for path in sorted((fixtures_dir / "flame" / "hostile").iterdir()):
        for read in (read_pickle, read_npy, read_checkpoint):
            with pytest.raises(UnsafeFileError):
                read(path)


@pytest.mark.fixtures
@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("flame_plain", ""),
        ("flame_chumpy", ""),
        ("flame_small_plain_p0", "small_"),
        ("flame_small_chumpy_select_p0", "small_"),
    ],
)
def test_head_models_of_python_2_are_read_exactly(fixtures_dir, name, prefix):
    model = read_pickle(fixtures_dir / "flame" / f"{name}.pkl")
    expected = np.load(fixtures_dir / "flame" / "flame_arrays_check.npz")
    for key in ("v_template", "J", "weights", "f"):
        np.testing.assert_array_equal(model[key], expected[prefix + key])
    for key in ("shapedirs", "posedirs"):
        np.testing.assert_array_equal(
            np.ascontiguousarray(model[key]).ravel()[::7], expected[f"{prefix}{key}_every_7th"]
        )
    if not prefix:
        np.testing.assert_array_equal(model["J_regressor"].toarray(), expected["J_regressor"])
        np.testing.assert_array_equal(model["kintree_table"], expected["kintree_table"])


@pytest.mark.fixtures
def test_landmark_embeddings_are_read_with_and_without_torch_tensors(fixtures_dir):
    folder = fixtures_dir / "flame"
    with_torch, plain = read_npy(folder / "landmark_embedding.npy"), read_npy(folder / "landmark_embedding_numpy.npy")
    assert set(with_torch) == set(plain)
    for key in plain:
        np.testing.assert_array_equal(with_torch[key], np.asarray(plain[key]))


class _Unusual:
    """Pickled as a call of whatever it is given."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        (exec, ("open('pwned', 'w')",)),
        (getattr, (np.ndarray, "tofile")),
        (copyreg._reconstructor, (collections.OrderedDict, dict, {})),
        (np.frombuffer, (b"1234",)),
        (np.dtype, ("V8",)),
        (np.dtype, ([("a", "O")],)),
        (torch.load, ("x",)),
        (type, ("X", (), {})),
    ],
)
def test_other_calls_are_refused(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"x": _Unusual(*call)}))
    with pytest.raises(UnsafeFileError):
        read_pickle(path)
    assert [p.name for p in tmp_path.iterdir()] == ["file.pkl"]


def test_an_array_of_pointers_cannot_be_forged(tmp_path):
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR"
    path = tmp_path / "file.pkl"
    path.write_bytes(array + b"(I1\n(I1\nt" + dtype + b"I00\nS'AAAAAAAA'\ntb.")
    assert read_pickle(path).tolist() == ["AAAAAAAA"], "text stays text"


def test_stand_ins_of_one_file_are_not_those_of_the_next(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"cnumpy\ndtype\n(N(dS'value'\nI1\nstb.")
    with pytest.raises(UnsafeFileError):
        read_pickle(tmp_path / "a.pkl")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(np.arange(3)))
    np.testing.assert_array_equal(read_pickle(tmp_path / "b.pkl"), np.arange(3))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_things_come_back(tmp_path, protocol):
    things = {
        "list": [1, 2.5, "ü", None, True, (1, 2), {3}],
        "array": np.arange(12, dtype=np.float32).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "scalar": np.float64(2.5),
        "objects": np.array([1, "two", None], object),
        "words": np.array(["ab", "c"]),
        "sparse": csc_matrix(np.eye(3)),
        "empty": np.zeros((0, 3)),
    }
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(things, protocol))
    found = read_pickle(path)
    assert found["list"] == things["list"]
    np.testing.assert_array_equal(found["sparse"].toarray(), np.eye(3))
    for key in ("array", "fortran", "big", "objects", "words", "empty"):
        np.testing.assert_array_equal(found[key], things[key])
        assert found[key].shape == things[key].shape
    assert found["scalar"] == 2.5


@pytest.mark.parametrize("indices", [[0, 99], [-1, 0]])
def test_a_sparse_matrix_with_indices_outside_is_refused(tmp_path, indices):
    matrix = csc_matrix(np.eye(2))
    matrix.indices = np.array(indices, np.int32)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(matrix))
    with pytest.raises(UnsafeFileError):
        read_pickle(path)


def test_something_that_contains_itself_is_refused(tmp_path):
    knot: list[object] = []
    knot.append(knot)
    (tmp_path / "file.pkl").write_bytes(pickle.dumps(knot))
    with pytest.raises(UnsafeFileError, match="contains itself"):
        read_pickle(tmp_path / "file.pkl")


@given(st.binary(max_size=200))
def test_noise_is_refused_or_plain(tmp_path_factory, noise):
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(noise)
    for read in (read_pickle, read_npy):
        try:
            read(path)
        except UnsafeFileError:
            continue


@given(st.data())
def test_damaged_arrays_are_refused_or_read(tmp_path_factory, data):
    whole = pickle.dumps({"a": np.arange(9.0).reshape(3, 3), "b": csc_matrix(np.eye(4))}, 2)
    at = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :])
    try:
        read_pickle(path)
    except UnsafeFileError:
        return


def test_checkpoints_are_read_as_weights_only(tmp_path):
    state = {"net": {"w": torch.arange(3.0)}, "epoch": 3}
    path = tmp_path / "model.pth"
    torch.save(state, path)
    found = read_checkpoint(path)
    torch.testing.assert_close(found["net"]["w"], state["net"]["w"])
    assert found["epoch"] == 3
    torch.save({"x": _Unusual(print, ("hello",))}, path)
    with pytest.raises(UnsafeFileError, match=r"uses .*print"):
        read_checkpoint(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UnsafeFileError, match="not a torch checkpoint"):
        read_checkpoint(path)
    with pytest.raises(UnsafeFileError, match="cannot read"):
        read_checkpoint(tmp_path / "nosuch.pth")


def test_npy_files_of_numbers_are_read(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), np.arange(6).reshape(2, 3))
    np.save(tmp_path / "b.npy", {"a": np.ones(2)}, allow_pickle=True)
    assert read_npy(tmp_path / "b.npy")["a"].tolist() == [1.0, 1.0]
    written = io.BytesIO()
    np.save(written, np.array([_Unusual(print, ("hi",))], object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(written.getvalue())
    with pytest.raises(UnsafeFileError, match=r"builtins\.print"):
        read_npy(tmp_path / "c.npy")
