"""``instax3d assets convert-flame``."""

from dataclasses import replace
from pathlib import Path

from instax3d.errors import AssetError

from .data import OFFICIAL_NAMES, FlameData, read_landmarks, read_masks, read_model, write_npz

_LANDMARKS, _MASKS = "landmark_embedding.npy", "FLAME_masks.pkl"


def convert_model(source: Path, output: Path) -> str:
    """Read the model in ``source``, a pickle or a folder of the official files, and write it as a safe .npz.

    Raises:
        UnsafeFileError: a file holds more than numbers.
        AssetError: there is no model, or more than one; or ``output`` cannot be written.
    """
    if output.suffix != ".npz":
        raise AssetError(f"{output} must end in .npz")
    data = _folder(source) if source.is_dir() else read_model(source)
    write_npz(output, data)
    version = "of a version that its file name does not state" if data.version == "unknown" else data.version
    parts = [name for name in ("landmarks", "masks") if getattr(data, name) is not None]
    contents = f" with {' and '.join(parts)}" if parts else "; landmarks and masks must be named beside it"
    return f"{output}: FLAME {version}, {len(data.template)} vertices, identity {data.identity}{contents}"


def _folder(folder: Path) -> FlameData:
    models = [path for path in sorted(folder.iterdir()) if path.name.lower() in OFFICIAL_NAMES]
    if len(models) != 1:
        names = ", ".join(path.name for path in models) or "none"
        raise AssetError(f"{folder} must hold one model under its official name, but holds {names}; name the file")
    data = read_model(models[0])
    if (folder / _LANDMARKS).is_file():
        data = replace(data, landmarks=read_landmarks(folder / _LANDMARKS))
    if (folder / _MASKS).is_file():
        data = replace(data, masks=read_masks(folder / _MASKS))
    return data
