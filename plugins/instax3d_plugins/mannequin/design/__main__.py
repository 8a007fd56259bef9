"""``python -m instax3d_plugins.mannequin.design ICT_FOLDER table.npz``"""

import argparse
from pathlib import Path

import numpy as np

from instax3d.io.files import atomic

from .build import Arrays, build


def main() -> None:
    """Measure a table and write it."""
    parser = argparse.ArgumentParser(prog="python -m instax3d_plugins.mannequin.design", description=__doc__)
    parser.add_argument("ict_folder", type=Path, help="folder of ICT-FaceKit, which holds FaceXModel")
    parser.add_argument("out", type=Path, help="the table to write")
    options = parser.parse_args()
    table = build(options.ict_folder)
    write_table(options.out, table)
    count = sum(array.size for array in table.values())
    print(f"{count} numbers, {options.out.stat().st_size / 1024:.0f} KB: {options.out}")


def write_table(path: Path, table: Arrays) -> None:
    """Write the arrays under their names, and nothing else, in one step."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **table)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
