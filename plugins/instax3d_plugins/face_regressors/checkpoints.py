"""Reads the published weights; no code in a file is ever run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from torch import Tensor, nn

from instax3d.errors import AssetError, UnsafeFileError
from instax3d.io.safeload import read_checkpoint

from .crops import five_points
from .networks import DEEP3D_HEADS, FACEVERSE_HEADS, CoefficientNet, DecaEncoder

Network = TypeVar("Network", bound=nn.Module)

_UNREADABLE = (OSError, ValueError, TypeError, KeyError, NotImplementedError, MatReadError)


def load_deca(file: Path) -> DecaEncoder:
    """The ``E_flame`` of ``deca_model.tar``.

    Raises:
        AssetError: the file is missing, holds something else, or more than tensors and plain values.
    """
    return _filled(DecaEncoder(), _part(file, "E_flame"), file, "DECA's E_flame")


def load_deep3d(file: Path) -> CoefficientNet:
    """The ``net_recon`` of Deep3DFaceRecon_pytorch's ``epoch_20.pth``.

    Raises:
        AssetError: as `load_deca`.
    """
    return _filled(CoefficientNet(DEEP3D_HEADS), _part(file, "net_recon"), file, "Deep3D's net_recon")


def load_faceverse(file: Path) -> CoefficientNet:
    """FaceVerse v4's ``faceverse_resnet50.pth``.

    Raises:
        AssetError: as `load_deca`.
    """
    return _filled(CoefficientNet(FACEVERSE_HEADS), _read(file), file, "FaceVerse v4's network")


def load_mean_points(file: Path) -> Float[Tensor, "5 3"]:
    """Five points of Deep3D's mean face, from ``similarity_Lm3D_all.mat``.

    Raises:
        AssetError: the file is missing or holds something else.
    """
    try:
        landmarks: ndarray = np.asarray(loadmat(str(file))["lm"], np.float32)
        if landmarks.shape != (68, 3):
            raise ValueError(f"'lm' is {landmarks.shape}, not (68, 3)")
    except _UNREADABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AssetError(f"{file} is not Deep3D's similarity_Lm3D_all.mat: {reason}") from error
    return five_points(torch.from_numpy(landmarks))


def _read(file: Path) -> Mapping[str, Any]:
    weights = read_checkpoint(file)
    if not isinstance(weights, Mapping):
        raise UnsafeFileError(f"{file} holds {type(weights).__name__}, not weights by name")
    return weights


def _part(file: Path, key: str) -> Mapping[str, Any]:
    whole = _read(file)
    if not isinstance(whole.get(key), Mapping):
        raise AssetError(f"{file} has no {key!r}; it holds: {', '.join(map(str, list(whole)[:6])) or 'nothing'}")
    part: Mapping[str, Any] = whole[key]
    return part


def _filled(network: Network, weights: Mapping[str, Any], file: Path, what: str) -> Network:
    expected = network.state_dict()
    missing = [name for name, value in expected.items() if getattr(weights.get(name), "shape", None) != value.shape]
    if missing:
        raise AssetError(
            f"{file} does not hold {what}: {len(missing)} of {len(expected)} tensors are missing or of another shape, "
            f"such as {missing[0]!r}"
        )
    network.load_state_dict({name: weights[name] for name in expected})
    return network.eval()
