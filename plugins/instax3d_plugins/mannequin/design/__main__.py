"""``python -m instax3d_plugins.mannequin.design ICT_FOLDER figures.npz``"""

import argparse
from pathlib import Path

import numpy as np

from .build import build


def main() -> None:
    """Measure a table and write it."""
    parser = argparse.ArgumentParser(prog="python -m instax3d_plugins.mannequin.design", description=__doc__)
    parser.add_argument("ict_folder", type=Path, help="folder of ICT-FaceKit, which holds FaceXModel")
    parser.add_argument("out", type=Path, help="the table to write")
    options = parser.parse_args()
    table = build(options.ict_folder)
    np.savez_compressed(options.out, allow_pickle=False, **table)  # type: ignore[arg-type]
    count = sum(array.size for array in table.values())
    print(f"{count} numbers, {options.out.stat().st_size / 1024:.0f} KB: {options.out}")


if __name__ == "__main__":
    main()
