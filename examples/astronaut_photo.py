"""Write NASA's public-domain portrait of the astronaut Eileen Collins, which comes with scikit-image, as a PNG."""

import sys
from pathlib import Path

from PIL import Image
from skimage.data import astronaut


def main(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(astronaut()).save(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
