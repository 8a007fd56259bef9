"""Reads third-party pickles, .npy files and torch checkpoints without running any code in them.

A pickle is a program. Here it may use only the names below, each by its exact module and name, and every one is
replaced by a stand-in that only keeps its arguments; arrays are then made from their plain bytes. chumpy's arrays (old
head models are full of them) are read without that library.
"""

import io
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from scipy.sparse import csc_matrix

from instax3d.errors import UnsafeFileError

_DTYPE = re.compile(r"([<>|=]?)([biufcSU]\d{1,3}|O8?|b1|\?)")
_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_UNSUPPORTED = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)")


class _Stub:
    """Keeps the arguments of something that a pickle creates; turned into its value when the whole pickle is read."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any) -> "_Stub":
        self = object.__new__(cls)
        self.arguments = arguments
        return self

    def __init__(self, *arguments: Any) -> None:
        """The arguments are kept by `__new__`; newer pickles call nothing else."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        """The value; ``resolve`` gives those of the objects inside."""
        raise NotImplementedError


class _Dtype(_Stub):
    """numpy.dtype of plain numbers, text or objects."""

    def value(self, resolve: Callable[[Any], Any]) -> np.dtype:
        name = str(self.arguments[0])
        match = _DTYPE.fullmatch(name)
        if match is None:
            raise ValueError(f"arrays of {name[:40]!r} are not read")
        order = match[1] or (self.state[1] if self.state else "=")
        return np.dtype((order if order in ("<", ">") else "=") + match[2])


class _Array(_Stub):
    """numpy.ndarray by its shape, type and bytes."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        _, shape, dtype, fortran, data = self.state
        return _filled(data, resolve(dtype), shape, "F" if fortran else "C", resolve)


class _Scalar(_Stub):
    """A numpy scalar."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        dtype, data = self.arguments
        return _filled(data, resolve(dtype), (), "C", resolve)[()]


class _Buffer(_Stub):
    """numpy's _frombuffer, which protocol 5 uses for arrays."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        data, dtype, shape, order = self.arguments
        return _filled(bytes(data), resolve(dtype), shape, "F" if order == "F" else "C", resolve)


class _Sparse(_Stub):
    """scipy.sparse.csc_matrix, whose indices are checked."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        parts = {name: resolve(self.state[name]) for name in ("data", "indices", "indptr")}
        rows, columns = (int(n) for n in self.state["_shape"])
        matrix = csc_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=(rows, columns))
        matrix.check_format(full_check=True)
        return matrix


class _Chumpy(_Stub):
    """chumpy.ch.Ch: an array with the graph that computed it."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        return np.asarray(resolve(self.state["x"]))


class _ChumpySelect(_Stub):
    """chumpy.reordering.Select: chosen entries of another array."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        whole, indices = np.asarray(resolve(self.state["a"])), np.asarray(resolve(self.state["idxs"]))
        shape = resolve(self.state["preferred_shape"])
        return whole.ravel()[indices].reshape([int(n) for n in np.atleast_1d(np.asarray(shape))])


class _Object(_Stub):
    """copy_reg._reconstructor(class, object, None), the oldest way to make an instance."""

    def __new__(cls, *arguments: Any) -> Any:
        stub, base, _ = arguments
        if not (isinstance(stub, type) and issubclass(stub, _Stub) and base is object):
            raise ValueError("copy_reg._reconstructor is used for something unusual")
        return stub.__new__(stub)


class _Encoded(_Stub):
    """_codecs.encode(text, "latin1"): how bytes were written in old protocols."""

    def __new__(cls, *arguments: Any) -> Any:
        text, encoding = arguments
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"text in {encoding!r} is not read")
        return str(text).encode("latin1")


class _NoBytes(_Stub):
    """bytes(), how old protocols write none."""

    def __new__(cls, *arguments: Any) -> Any:
        if arguments:
            raise ValueError("bytes are made of something unusual")
        return b""


class _TorchStorage(_Stub):
    """torch.storage._load_from_bytes: a small torch file inside the pickle."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        import torch

        stored = _torch_load(io.BytesIO(_bytes(self.arguments[0])))
        if not isinstance(stored, torch.storage.TypedStorage):
            raise ValueError("a tensor without its storage")
        with warnings.catch_warnings(action="ignore"):  # old files hold storages that torch warns of
            return torch.tensor([], dtype=stored.dtype).set_(stored.untyped()).numpy()


class _TorchTensor(_Stub):
    """torch._utils._rebuild_tensor_v2: a contiguous tensor, as a numpy array."""

    def value(self, resolve: Callable[[Any], Any]) -> Any:
        storage, offset, size, stride = self.arguments[:4]
        values, shape = resolve(storage), tuple(int(n) for n in size)
        if tuple(stride) != tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))):
            raise ValueError("only tensors that are stored row by row are read")
        count = int(np.prod(shape, dtype=np.int64))
        return values[int(offset) : int(offset) + count].reshape(shape).copy()


class _NumpyArrayType(_Stub):
    """numpy.ndarray, named as an argument of _reconstruct only."""


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")
_BUILTINS = ("builtins", "__builtin__")
_SPARSE = ("scipy.sparse.csc", "scipy.sparse._csc")

_ALLOWED: Mapping[tuple[str, str], type] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _NumpyArrayType,
    **{(module, "_reconstruct"): _Array for module in _ARRAYS},
    **{(module, "scalar"): _Scalar for module in _ARRAYS},
    **{(module, "_frombuffer"): _Buffer for module in _BUFFERS},
    **{(module, "csc_matrix"): _Sparse for module in _SPARSE},
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _ChumpySelect,
    ("copy_reg", "_reconstructor"): _Object,
    ("copyreg", "_reconstructor"): _Object,
    ("_codecs", "encode"): _Encoded,
    ("torch._utils", "_rebuild_tensor_v2"): _TorchTensor,
    ("torch.storage", "_load_from_bytes"): _TorchStorage,
    ("collections", "OrderedDict"): dict,
    **{(module, "bytes"): _NoBytes for module in _BUILTINS},
    **{(module, "object"): object for module in _BUILTINS},
    **{(module, "set"): set for module in _BUILTINS},
}


class _Unpickler(pickle.Unpickler):
    """Refuses every name that is not allowed. Each load has its own stand-ins: a pickle may set class attributes."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")
        self._own: dict[type, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise _ForbiddenNameError(f"{module}.{name}")
        if not issubclass(allowed, _Stub):
            return allowed
        return self._own.setdefault(allowed, type(allowed.__name__, (allowed,), {}))


class _ForbiddenNameError(Exception):
    """Carries the name."""


def read_pickle(path: Path) -> Any:
    """What a pickle holds: plain values, containers, numpy arrays and sparse matrices.

    Strings of Python 2 are read as latin-1; ``chumpy`` arrays become numpy's, and so do torch tensors.

    Raises:
        UnsafeFileError: it names anything else, or cannot be read. Nothing of it was run.
    """
    try:
        with path.open("rb") as file:
            return _loaded(file, path)
    except OSError as error:
        raise UnsafeFileError(f"cannot read {path}: {error.strerror or error}") from error


def read_npy(path: Path) -> Any:
    """The array of an .npy file; one of objects is read like a pickle, and the content of one without axes returned.

    Raises:
        UnsafeFileError: as `read_pickle`.
    """
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            dtype = read(file)[2]
            if not dtype.hasobject:
                file.seek(0)
                return np.load(file, allow_pickle=False)
            content = _loaded(file, path)
    except OSError as error:
        raise UnsafeFileError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UnsafeFileError(f"{path} is not an .npy file ({error}); download it again") from error
    return content[()] if isinstance(content, np.ndarray) and content.ndim == 0 else content


def read_checkpoint(path: Path) -> Any:
    """What a torch checkpoint (.pth, .pt, .tar, .ckpt) holds, with tensors on the CPU.

    Raises:
        UnsafeFileError: it holds more than tensors and plain values, or cannot be read.
    """
    try:
        return _torch_load(path)
    except OSError as error:
        raise UnsafeFileError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # torch and pickle raise anything for other files
        named = _UNSUPPORTED.search(str(error))
        if named:
            raise _refusal(path, named[1]) from error
        raise UnsafeFileError(
            f"{path} is not a torch checkpoint that can be read ({_first_line(error)}); download it again"
        ) from error


def _torch_load(source: Any) -> Any:
    import torch

    return torch.load(source, map_location="cpu", weights_only=True)


def _loaded(file: IO[bytes], path: Path) -> Any:
    try:
        return _resolved(_Unpickler(file).load())
    except _ForbiddenNameError as error:
        raise _refusal(path, str(error)) from error
    except OSError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        raise UnsafeFileError(
            f"{path} is not a pickle that can be read ({_first_line(error)}); download it again"
        ) from error


def _refusal(path: Path, name: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{path} was not read: it uses {name}, which a file of numbers does not need. It may be hostile; "
        "nothing of it was run. Download the file again from its authors"
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"


def _resolved(loaded: Any) -> Any:
    """The loaded value with all stand-ins replaced. Objects that contain themselves are refused."""
    known: dict[int, Any] = {}
    unfinished = object()

    def resolve(item: Any) -> Any:
        if isinstance(item, _PLAIN):
            return item
        if id(item) in known:
            if known[id(item)] is unfinished:
                raise ValueError("an object contains itself")
            return known[id(item)]
        known[id(item)] = unfinished
        known[id(item)] = value = fresh(item)
        return value

    def fresh(item: Any) -> Any:
        if isinstance(item, _Stub):
            return item.value(resolve)
        if type(item) is dict:
            return {resolve(key): resolve(value) for key, value in item.items()}
        if type(item) in (list, tuple, set, frozenset):
            return type(item)(resolve(value) for value in item)
        if type(item) in (bytearray, np.ndarray):
            return item
        raise ValueError(f"{type(item).__name__} is not expected")

    return resolve(loaded)


def _bytes(data: Any) -> bytes:
    """Bytes, also where Python 2 wrote them as text."""
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _filled(data: Any, dtype: np.dtype, shape: Any, order: Any, resolve: Callable[[Any], Any]) -> np.ndarray:
    """An array from its bytes, or from a list where it holds objects."""
    shape = tuple(int(n) for n in shape)
    if any(n < 0 for n in shape):
        raise ValueError("an array of negative size")
    if dtype.hasobject:
        values = [resolve(value) for value in data] if isinstance(data, list) else [resolve(data)]
        array = np.empty(len(values), object)
        for index, value in enumerate(values):
            array[index] = value
    else:
        array = np.frombuffer(_bytes(data), dtype).copy()
    return array.reshape(shape, order=order)
