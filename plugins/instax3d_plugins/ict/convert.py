"""``instax3d assets convert-ict``."""

from pathlib import Path

from instax3d.errors import AssetError
from instax3d.heads.facekit import read_facekit, write_facekit


def convert_model(source: Path, output: Path) -> str:
    """Read the published model and write the parts that are used.

    Raises:
        AssetError: ``source`` is not ICT-FaceKit, or ``output`` cannot be written.
    """
    if output.suffix != ".npz":
        raise AssetError(f"{output} must end in .npz")
    kit = read_facekit(source)
    write_facekit(output, kit)
    return f"{output}: {len(kit.identities)} identities, {len(kit.expressions)} expressions"
