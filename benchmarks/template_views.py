"""Compares the views of the `template` generator with the truth, and with the photos they were made from.

    INSTAX3D_DATA=… python benchmarks/template_views.py --photos ../shared/data/photos/*   # some minutes; into docs/
    python benchmarks/template_views.py --out /tmp/now                                     # the capture alone

**Truth.** One frame of a captured head goes in, with its focal length; the capture's other frames are what the views
should look like. Their cameras are known relative to that frame's but for one number, the length of the capture's unit
in meters (for a turntable: the depth of its axis, seen from the photo). It is taken twice: such that the axis passes
through the middle of our own result, as the capture's does through the middle of the real head, which needs no truth;
and fitted to the true outlines, which shows the errors of shape alone.

**Photos.** Nothing is known about them but the photo itself: distances of the face descriptor between photo and views,
and the overlap of the shape's outline with the cut-out in the photo's own view, above the chin. The cut-out is the
generator's own, so this does not show its faults. Views are drawn, also the one at the photo's own azimuth.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from instax3d_plugins.template.generator import PhotoAnalysis, photo_orbit, reconstruct, turntable_center
from instax3d_plugins.template.scene import HeadScene
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.optimize import minimize_scalar

from instax3d import registry
from instax3d.geometry.cameras import read_transforms
from instax3d.geometry.landmarks68 import CHIN
from instax3d.geometry.mesh_raster import rasterize
from instax3d.headmodel import HeadModel
from instax3d.inputs.capture import load_frames
from instax3d.inputs.photo import read_photo
from instax3d.interfaces import LandmarkDetector
from instax3d.io.images import to_uint8
from instax3d.types import Photo

ROOT = Path(__file__).resolve().parent.parent
AZIMUTHS = (0.0, 360 / 21, -360 / 21, 2 * 360 / 21, -2 * 360 / 21)
SIDE = (60.0, 120.0)
"""Views between these azimuths, on either side, count as side views."""
_BOX_MARGIN = 8
"""Pixels left and right of the true head that its box includes."""
SIZE = 512


@dataclass(frozen=True)
class Row:
    """One view against the truth."""

    azimuth: float
    iou: float
    """Of the outlines above the chin."""
    psnr: float
    """dB, inside the box of the true head."""


@dataclass(frozen=True)
class Likeness:
    """One photo against its views; None where no face is found."""

    photo: str
    azimuth: float
    """Degrees from which it was taken, as fitted."""
    distances: dict[str, float | None]
    """Of descriptors, by the azimuth of the view."""
    outline: float
    """IoU of shape and cut-out above the chin in the photo's own view."""
    cpu_seconds: float
    """User and system time of everything up to the textured shape."""


class Truth:
    """A capture whose first frame is the photo."""

    def __init__(self, folder: Path, model: HeadModel, detector: LandmarkDetector[Any], seed: int = 0) -> None:
        self.cameras, files = read_transforms(folder / "transforms_train.json")
        images, alpha = load_frames(self.cameras, files)
        self.images = images.permute(0, 2, 3, 1).numpy()
        self.alpha = alpha[:, 0].numpy() > 0.5
        photo = replace(read_photo(files[0], detector), focal=float(self.cameras.Ks[0, 0, 0]))
        result = reconstruct(photo, model)
        self.person, self.scene, self.painter = result.person, result.scene, result.painter(seed)
        self.chin = round(float(photo.face.require_landmarks68()[CHIN, 1]))

    @property
    def azimuths(self) -> Float[ndarray, "views"]:
        """Degrees from the first frame, in (-180, 180]."""
        places = self.cameras.centers.numpy()
        angles = np.degrees(np.arctan2(places[:, 0], places[:, 2]))
        return np.asarray((angles - angles[0] + 180 - 1e-6) % 360 - 180 + 1e-6)

    def camera(self, index: int, unit: float) -> tuple[Float[ndarray, "4 4"], Float[ndarray, "3 3"]]:
        """The frame's camera in our world, where the capture's unit is ``unit`` meters long."""
        first, this = (self.cameras.viewmats[k].numpy().astype(np.float64) for k in (0, index))
        relative = this @ np.linalg.inv(first)
        relative[:3, 3] *= unit
        return relative @ self.person.head.camera.viewmat, self.cameras.Ks[index].numpy().astype(np.float64)

    def own_unit(self) -> float:
        """Such that the middle of our own result is as far from the photo's camera as the capture's axis is."""
        depth = self.person.head.camera.project(self.scene.vertices)[:, 2]
        return float((depth.min() + depth.max()) / 2 / self.cameras.centers[0].norm())

    def fitted_unit(self) -> float:
        """Such that our outlines fit the true ones best."""
        start = self.own_unit()
        probes = range(1, len(self.cameras), 3)

        def mismatch(unit: float) -> float:
            return -float(np.mean([self.outline_iou(k, self._mask(k, unit)) for k in probes]))

        found = minimize_scalar(mismatch, bounds=(0.95 * start, 1.05 * start), options={"xatol": 2e-4 * start})
        return float(found.x)

    def outline_iou(self, index: int, mask: Bool[ndarray, "s s"]) -> float:
        """Above the chin."""
        return iou(mask[: self.chin], self.alpha[index, : self.chin])

    def rows(self, unit: float) -> list[Row]:
        """All views but the photo's own."""
        rows = []
        for k in range(1, len(self.cameras)):
            drawn = self.painter.draw(*self.camera(k, unit), SIZE)
            truth = self.alpha[k, : self.chin]
            top, columns = np.flatnonzero(truth.any(1))[0], np.flatnonzero(truth.any(0))
            box = np.s_[top : self.chin, max(columns[0] - _BOX_MARGIN, 0) : columns[-1] + 1 + _BOX_MARGIN]
            error = float(np.square(drawn.image[box] - self.images[k][box]).mean())
            rows.append(
                Row(float(self.azimuths[k]), self.outline_iou(k, drawn.alpha > 0.5), float(-10 * np.log10(error)))
            )
        return sorted(rows, key=lambda row: row.azimuth)

    def _mask(self, index: int, unit: float) -> Bool[ndarray, "s s"]:
        viewmat, K = self.camera(index, unit)
        return rasterize(self.scene.vertices, self.scene.faces, viewmat, K, SIZE, SIZE).mask


def iou(first: Bool[ndarray, "h w"], second: Bool[ndarray, "h w"]) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / max((first | second).sum(), 1))


def likeness(name: str, photo: Photo, model: HeadModel, detector: LandmarkDetector[Any]) -> Likeness:
    """How like its photo a person's views are."""
    start = time.process_time()
    result = reconstruct(photo, model)
    person, scene, painter = result.person, result.scene, result.painter(0)
    seconds = time.process_time() - start
    reference = detector.descriptor(to_uint8(photo.image), photo.face)
    center = turntable_center(scene)
    distances: dict[str, float | None] = {}
    cameras = photo_orbit(person.head, AZIMUTHS, center, SIZE)
    for azimuth, viewmat, K in zip(AZIMUTHS, cameras.viewmats.numpy(), cameras.Ks.numpy(), strict=True):
        drawn = painter.draw(viewmat, K, SIZE)
        pixels = to_uint8(torch.from_numpy(drawn.image).permute(2, 0, 1))
        faces = detector.detect(pixels)
        found = float((reference - detector.descriptor(pixels, faces[0])).norm()) if faces else None
        distances[f"{azimuth:+.0f}"] = found
    return Likeness(name, person.head.camera.azimuth, distances, own_outline(person, scene), seconds)


def own_outline(person: PhotoAnalysis, scene: HeadScene) -> float:
    """IoU of shape and cut-out above the chin in the photo's own view, inside the photo and where no hand hides it."""
    head_crop = person.head_crop
    shape = person.head.camera.rasterize(scene.vertices, scene.faces).mask
    above = head_crop.valid & (np.arange(head_crop.crop.size)[:, None] < head_crop.landmarks[CHIN, 1])
    return iou(shape & above, (person.alpha > 0.5) & above)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return float(np.mean(values))


def summary(rows: Sequence[Row]) -> dict[str, float]:
    """Means, and the worst side view."""
    side = [row for row in rows if SIDE[0] <= abs(row.azimuth) <= SIDE[1]]
    return {
        "iou": mean([row.iou for row in rows]),
        "psnr": mean([row.psnr for row in rows]),
        "side_iou": mean([row.iou for row in side]),
        "least_side_iou": min(row.iou for row in side),
        "side_psnr": mean([row.psnr for row in side]),
    }


def truth_tables(tables: Mapping[str, Sequence[Row]]) -> str:
    """Markdown: means, then azimuth by azimuth."""
    names = list(tables)
    lines = [
        "| axis | IoU | PSNR, dB | side views: IoU | least IoU | PSNR, dB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in names:
        s = summary(tables[name])
        lines.append(
            f"| {name} | {s['iou']:.3f} | {s['psnr']:.1f} | {s['side_iou']:.3f} | {s['least_side_iou']:.3f} "
            f"| {s['side_psnr']:.1f} |"
        )
    lines += ["", "| azimuth | " + " | ".join(f"IoU, {n} | PSNR, {n}" for n in names) + " |"]
    lines.append("| ---: |" + " ---: | ---: |" * len(names))
    for rows in zip(*tables.values(), strict=True):
        side = SIDE[0] <= abs(rows[0].azimuth) <= SIDE[1]
        lines.append(
            f"| {rows[0].azimuth:.0f}{' (side)' if side else ''} | "
            + " | ".join(f"{row.iou:.3f} | {row.psnr:.1f}" for row in rows)
            + " |"
        )
    return "\n".join(lines)


def photo_table(found: Sequence[Likeness]) -> str:
    """Markdown: one line a photo."""
    angles = list(found[0].distances)
    lines = [
        "| photo (azimuth it was taken from) | " + " | ".join(angles) + " | outline above the chin |",
        "| --- |" + " ---: |" * (len(angles) + 1),
    ]
    for one in found:
        cells = ["no face" if value is None else f"{value:.2f}" for value in one.distances.values()]
        lines.append(f"| {one.photo} ({one.azimuth:.0f}) | " + " | ".join(cells) + f" | {one.outline:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", nargs="*", type=Path, default=[])
    parser.add_argument("--head", default="mannequin", help="the head model that is fitted")
    parser.add_argument("--no-capture", action="store_true", help="photos alone")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    data = Path(os.environ.get("INSTAX3D_DATA", ROOT.parent / "shared" / "data"))
    model = registry.build(HeadModel, options.head)
    detector = registry.build(LandmarkDetector, "dlib")
    numbers: dict[str, Any] = {}
    parts = ["# Views of the `template` generator against truth and photos\n"]
    parts.append(f"Written by `benchmarks/template_views.py` (see its docstring); views of {SIZE} pixels, seed 0.\n")
    if not options.no_capture:
        truth = Truth(data / "head_scan", model, detector)
        units = {"through the middle of our result": truth.own_unit(), "fitted": truth.fitted_unit()}
        tables = {name: truth.rows(unit) for name, unit in units.items()}
        numbers["truth"] = {
            name: {"unit": units[name], "mean": summary(rows), "rows": [asdict(row) for row in rows]}
            for name, rows in tables.items()
        }
        parts.append("## A captured head: frame 0 in, the other frames as truth, above the chin\n")
        parts.append(truth_tables(tables) + "\n")
    found = [likeness(path.stem, read_photo(path, detector), model, detector) for path in options.photos]
    if found:
        numbers["photos"] = [asdict(one) for one in found]
        parts.append("## Photos: descriptor distance of the views by azimuth\n")
        parts.append(photo_table(found) + "\n")
    options.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(parts)
    (options.out / "template_views.md").write_text(text)
    (options.out / "template_views.json").write_text(json.dumps(numbers, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
