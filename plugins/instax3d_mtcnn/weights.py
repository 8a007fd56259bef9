"""Finds and reads MTCNN's three weight files."""

import pickle
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from instax3d.errors import BrokenPluginError

from .cascade import Cascade
from .networks import ONet, PNet, RNet

FILES = {"pnet": "pnet.pt", "rnet": "rnet.pt", "onet": "onet.pt"}


def packaged_folder() -> Path:
    """Where the distribution ``facenet-pytorch`` keeps the weights.

    The package is found but not imported: it wants an old torch and torchvision.

    Raises:
        BrokenPluginError: it is absent.
    """
    spec = find_spec("facenet_pytorch")
    if spec is None or spec.origin is None:
        raise BrokenPluginError(
            "mtcnn's weights are not here; run: pip install --no-deps facenet-pytorch (or name a folder that holds "
            f"{', '.join(FILES.values())} with landmark_detector.weights=FOLDER)"
        )
    return Path(spec.origin).parent / "data"


def load_cascade(folder: Path | None) -> Cascade:
    """The cascade with the weights of a folder, or of the package.

    Raises:
        BrokenPluginError: a file is missing or holds something else.
    """
    at = packaged_folder() if folder is None else folder
    networks: dict[str, nn.Module] = {"pnet": PNet(), "rnet": RNet(), "onet": ONet()}
    for name, network in networks.items():
        _load(network, at / FILES[name])
    return Cascade(**networks)  # type: ignore[arg-type]


def _load(network: nn.Module, file: Path) -> None:
    if not file.is_file():
        raise BrokenPluginError(f"{file} is missing; it is one of MTCNN's weight files {', '.join(FILES.values())}")
    try:
        weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BrokenPluginError(
            f"{file} does not hold the weights of MTCNN's {type(network).__name__}: {reason}"
        ) from error
    network.eval()
