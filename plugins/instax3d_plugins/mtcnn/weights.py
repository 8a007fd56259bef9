"""Finds and reads MTCNN's three weight files."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from instax3d.assets import locate, require
from instax3d.errors import AssetError, BrokenPluginError
from instax3d.io.safeload import read_checkpoint

from .cascade import Cascade
from .networks import ONet, PNet, RNet

FILES = {"pnet": "pnet.pt", "rnet": "rnet.pt", "onet": "onet.pt"}


def packaged_folder() -> Path:
    """Where the distribution ``facenet-pytorch`` keeps the weights; without it, the folder of assets, if it has them.

    The package is located but not imported: it requires an old torch and torchvision.

    Raises:
        BrokenPluginError: they are in neither place.
    """
    spec = find_spec("facenet_pytorch")
    if spec is None or spec.origin is None:
        if locate("mtcnn") is not None:
            return require("mtcnn").path
        raise BrokenPluginError(
            "MTCNN's weights are not installed; run: pip install --no-deps facenet-pytorch (or name a folder "
            f"that holds {', '.join(FILES.values())} with landmark_detector.weights=FOLDER)"
        )
    return Path(spec.origin).parent / "data"


def load_cascade(folder: Path | None) -> Cascade:
    """The cascade with the weights of a folder, or of the package.

    Raises:
        BrokenPluginError: there is neither a folder nor the package.
        AssetError: a file is missing or holds something else.
    """
    source = packaged_folder() if folder is None else folder
    networks: dict[str, nn.Module] = {"pnet": PNet(), "rnet": RNet(), "onet": ONet()}
    for name, network in networks.items():
        _load(network, source / FILES[name])
    return Cascade(**networks)  # type: ignore[arg-type]


def _load(network: nn.Module, file: Path) -> None:
    if not file.is_file():
        raise AssetError(f"{file} is missing; it is one of MTCNN's weight files {', '.join(FILES.values())}")
    weights: Any = read_checkpoint(file)
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AssetError(f"{file} does not hold the weights of MTCNN's {type(network).__name__}: {reason}") from error
    network.eval()
