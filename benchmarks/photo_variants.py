"""What photo validation, the fit and the cut-out make of worn, cropped, turned and re-lit versions of photos.

    python benchmarks/photo_variants.py ../shared/data/photos/*               # some minutes; tables, JSON into docs/
    python benchmarks/photo_variants.py me.jpg --variants mirrored "15 degrees" --sheets /tmp/sheets
    python benchmarks/photo_variants.py me.jpg --views                          # also the template's views: slow

Each version is written to a file, read and validated, and analyzed as the `template` generator does. The results are
mapped back to the photo, as the map between the two is known, and compared with the results of the photo itself, so a
figure measures how stable a part is, not how accurate. Versions on another background have a known matte: the photo's
own, which was composited on it. A version fails where validation refuses it, or where a figure exceeds its limit.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch
from instax3d_plugins.template.generator import PhotoAnalysis, analyze
from jaxtyping import Float
from numpy import ndarray
from PIL import Image
from template_views import likeness

from instax3d import registry
from instax3d.errors import Instax3DError
from instax3d.fitting.landmarks import face_size
from instax3d.geometry.landmarks68 import CHIN, INNER, JAW_ENDS, LEFT_EYE, RIGHT_EYE
from instax3d.headmodel import HeadModel
from instax3d.inputs.photo import read_photo
from instax3d.interfaces import LandmarkDetector
from instax3d.matting.closed_form import foreground_colors
from instax3d.types import Photo

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"landmarks": 0.04, "yaw": 6.0, "gaze": 12.0, "shape": 2.0, "cut_out": 0.95}
"""Landmarks in face sizes, yaw and gaze in degrees, the largest shape weight in standard deviations; the cut-out's IoU
is a least value."""
MIRROR = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
MIRROR += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55]
MIRROR += [64, 63, 62, 61, 60, 67, 66, 65]
"""Landmarks of a mirrored face in the order of the face."""

Pixels = Float[ndarray, "h w 3"]
Map = Float[ndarray, "2 3"]


@dataclass(frozen=True)
class Version:
    """A changed photo."""

    pixels: Pixels
    to_version: Map
    """From the photo's points to those of the version; pixel centers at +0.5."""
    quality: int | None = None
    """Of the JPEG file it is written to; None for PNG."""
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Known:
    """What the photo itself gave."""

    photo: Photo
    person: PhotoAnalysis
    pixels: Pixels
    alpha: Float[ndarray, "h w"]
    """The matte in photo pixels; 0 beyond the head crop."""

    @classmethod
    def of(cls, photo: Photo, model: HeadModel) -> "Known":
        person = analyze(photo, model)
        pixels = photo.image.permute(1, 2, 0).numpy()
        return cls(photo, person, pixels, carried(person, pixels.shape[:2], np.eye(2, 3)))


@dataclass
class Result:
    """One version's figures."""

    photo: str
    variant: str
    refused: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    distances: dict[str, float | None] = field(default_factory=dict)
    """Of descriptors, by the azimuth of the view."""

    @property
    def failures(self) -> list[str]:
        """What passed its limit."""
        if self.refused:
            return [self.refused]
        bad = [k for k, limit in LIMITS.items() if k != "cut_out" and self.figures.get(k, 0.0) > limit]
        return bad + ["cut_out"] * (self.figures["cut_out"] < LIMITS["cut_out"])


def warped(pixels: Pixels, to_version: Map, size: tuple[int, int]) -> Pixels:
    """The photo seen through a map; its edges are continued."""
    matrix = to_version.copy()
    matrix[:, 2] += to_version[:, :2] @ [0.5, 0.5] - 0.5
    if (scale := float(np.sqrt(abs(np.linalg.det(to_version[:, :2]))))) < 1:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 / scale)
    return cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).clip(0, 1)


def turned(known: Known, degrees: float) -> Version:
    height, width = known.pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return Version(warped(known.pixels, matrix, (width, height)), matrix)


def scaled(known: Known, factor: float) -> Version:
    height, width = known.pixels.shape[:2]
    matrix = np.array([[factor, 0, 0], [0, factor, 0]])
    return Version(warped(known.pixels, matrix, (round(factor * width), round(factor * height))), matrix)


def mirrored(known: Known) -> Version:
    matrix = np.array([[-1.0, 0, known.pixels.shape[1]], [0, 1, 0]])
    return Version(np.ascontiguousarray(known.pixels[:, ::-1]), matrix, mirrored=True)


def cropped(known: Known, margins: tuple[float, float, float]) -> Version:
    """To the landmarks' box, widened above, at the sides and below by these shares of its size."""
    marks = known.photo.face.require_landmarks68().numpy()
    low, high, size = marks.min(0), marks.max(0), np.ptp(marks, axis=0).max()
    height, width = known.pixels.shape[:2]
    left, top = np.maximum(low - [margins[1] * size, margins[0] * size], 0).astype(int)
    right, bottom = np.minimum(high + np.multiply(size, margins[1:]), [width, height]).astype(int)
    return Version(known.pixels[top:bottom, left:right], np.array([[1.0, 0, -left], [0, 1, -top]]))


def same_place(change: Callable[[Pixels], Pixels], quality: int | None = None) -> Callable[[Known], Version]:
    """A change of colors alone."""
    return lambda known: Version(change(known.pixels).clip(0, 1), np.eye(2, 3), quality)


def blurred(known: Known) -> Version:
    sigma = 0.012 * face_size(known.photo.face.require_landmarks68())
    return Version(cv2.GaussianBlur(known.pixels, (0, 0), sigma), np.eye(2, 3))


def on_ground(known: Known, ground: Pixels) -> Version:
    """The cut-out person before another background."""
    height, width = known.alpha.shape
    scale = max(width / ground.shape[1], height / ground.shape[0])
    size = (int(np.ceil(scale * ground.shape[1])), int(np.ceil(scale * ground.shape[0])))
    ground = cv2.resize(ground, size, interpolation=cv2.INTER_CUBIC)[:height, :width].clip(0, 1)
    alpha = known.alpha[..., None]
    front = foreground_colors(known.pixels, known.alpha)
    return Version(alpha * front + (1 - alpha) * ground, np.eye(2, 3))


def _plain(level: float) -> Pixels:
    return np.full((8, 8, 3), level, np.float32)


def _noisy(pixels: Pixels) -> Pixels:
    return pixels + np.random.default_rng(0).normal(0, 0.05, pixels.shape).astype(np.float32)


def with_glasses(known: Known, tint: float) -> Version:
    """Dark frames drawn over the eyes, with lenses that let 1 - ``tint`` of the light through."""
    marks = known.photo.face.landmarks.numpy().astype(np.float64)
    eyes = [marks[RIGHT_EYE].mean(0), marks[LEFT_EYE].mean(0)]
    apart = eyes[1] - eyes[0]
    distance, angle = float(np.hypot(*apart)), float(np.degrees(np.arctan2(apart[1], apart[0])))
    # drawn at four times the size against steps
    fine, thick = 4, max(1, round(4 * 0.07 * distance))
    lens = np.zeros([fine * n for n in known.alpha.shape], np.float32)
    frame = lens.copy()

    def at(point: ndarray) -> tuple[int, int]:
        x, y = (fine * point).round().astype(int)
        return int(x), int(y)

    radii = (round(fine * 0.37 * distance), round(fine * 0.29 * distance))
    for eye in eyes:
        cv2.ellipse(lens, at(eye), radii, angle, 0, 360, 1.0, -1)
        cv2.ellipse(frame, at(eye), radii, angle, 0, 360, 1.0, thick)
    cv2.line(frame, at(eyes[0] + 0.37 * apart), at(eyes[1] - 0.37 * apart), 1.0, thick)
    for eye, sign, temple in ((eyes[0], -1, marks[JAW_ENDS[0]]), (eyes[1], 1, marks[JAW_ENDS[1]])):
        cv2.line(frame, at(eye + sign * 0.37 * apart), at(temple), 1.0, thick)
    size = known.alpha.shape[::-1]
    lens, frame = (cv2.resize(part, size, interpolation=cv2.INTER_AREA)[..., None] for part in (lens, frame))
    return Version(known.pixels * (1 - tint * lens) * (1 - frame) + 0.06 * frame, np.eye(2, 3))


VARIANTS: Mapping[str, Callable[[Known], Version]] = {
    "tight crop": lambda known: cropped(known, (0.35, 0.15, 0.15)),
    "loose crop": lambda known: cropped(known, (0.8, 0.8, 0.6)),
    "mirrored": mirrored,
    "0.4 times": lambda known: scaled(known, 0.4),
    "2 times": lambda known: scaled(known, 2.0),
    "15 degrees": lambda known: turned(known, 15),
    "-15 degrees": lambda known: turned(known, -15),
    "30 degrees": lambda known: turned(known, 30),
    "gamma 2": same_place(lambda pixels: pixels**2.0),
    "two stops darker": same_place(lambda pixels: pixels * 0.25 ** (1 / 2.2)),
    "JPEG 25": same_place(lambda pixels: pixels, quality=25),
    "blurred": blurred,
    "noise": same_place(_noisy),
    "glasses": lambda known: with_glasses(known, 0.05),
    "sunglasses": lambda known: with_glasses(known, 0.8),
    "on white": lambda known: on_ground(known, _plain(1.0)),
    "on gray": lambda known: on_ground(known, _plain(0.55)),
    "on black": lambda known: on_ground(known, _plain(0.02)),
    "before coffee": lambda known: on_ground(known, skimage.data.coffee().astype(np.float32) / 255),
    "before grass": lambda known: on_ground(
        known, np.repeat(skimage.data.grass()[..., None], 3, 2).astype(np.float32) / 255
    ),
}


def carried(person: PhotoAnalysis, shape: tuple[int, int], from_photo: Map) -> Float[ndarray, "h w"]:
    """A person's matte in the pixels of a photo of which ``from_photo`` leads to the analyzed one."""
    crop = person.head_crop.crop
    matrix = np.vstack([from_photo, [0, 0, 1]])
    matrix = np.array([[crop.scale, 0, crop.offset[0]], [0, crop.scale, crop.offset[1]], [0, 0, 1]]) @ matrix
    matrix = matrix[:2].copy()
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(person.alpha, matrix, shape[::-1], flags=flags).clip(0, 1)


def compare(known: Known, version: Version, photo: Photo, person: PhotoAnalysis) -> dict[str, float]:
    """How far a version's findings are from those of its photo."""
    marks = photo.face.require_landmarks68()
    expected = known.photo.face.require_landmarks68()
    if version.mirrored:
        marks = marks[MIRROR]
    reduced = photo.image.shape[2] / version.pixels.shape[1]  # reading reduces huge photos
    map_ = reduced * version.to_version
    to_version = torch.tensor(map_, dtype=torch.float32)
    expected = expected @ to_version[:, :2].T + to_version[:, 2]
    error = (marks - expected).norm(dim=1)[INNER].mean() / face_size(expected)

    side = -1 if version.mirrored else 1
    before, now = known.person.fit, person.fit
    # both eyes turn alike, and the last joint is one
    turn = now.parameters.pose[-1] * torch.tensor([1.0, side, side]) - before.parameters.pose[-1]

    shape = known.alpha.shape
    alpha = carried(person, shape, map_)
    inside = cv2.warpAffine(
        np.ones(version.pixels.shape[:2], np.uint8), version.to_version, shape[::-1], flags=cv2.WARP_INVERSE_MAP
    )
    above = (inside > 0) & (np.arange(shape[0])[:, None] < float(known.photo.face.require_landmarks68()[CHIN, 1]))
    ours, theirs = (alpha > 0.5) & above, (known.alpha > 0.5) & above
    return {
        "landmarks": float(error),
        "yaw": abs(side * now.yaw - before.yaw),
        "gaze": float(torch.rad2deg(turn.norm())),
        "shape": float(now.parameters.shape.abs().max()),
        "expression": float(now.parameters.expression.max()),
        "cut_out": float((ours & theirs).sum() / max((ours | theirs).sum(), 1)),
    }


class Bench:
    """Runs versions of photos, one after the other."""

    def __init__(self, head: str, views: bool, sheets: Path | None) -> None:
        self.model: HeadModel = registry.build(HeadModel, head)
        self.detector: LandmarkDetector[Any] = registry.build(LandmarkDetector, "dlib")
        self._views, self._sheets = views, sheets

    def photo(self, path: Path, variants: Sequence[str]) -> list[Result]:
        """The photo itself and the chosen versions of it."""
        try:
            known = Known.of(read_photo(path, self.detector), self.model)
        except Instax3DError as error:
            return [Result(path.stem, "itself", refused=str(error))]
        itself = Version(known.pixels, np.eye(2, 3))
        results = [self._result(path.stem, "itself", known, itself, known.photo, known.person)]
        for name in variants:
            version = VARIANTS[name](known)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / ("photo.png" if version.quality is None else "photo.jpg")
                options = {} if version.quality is None else {"quality": version.quality}
                Image.fromarray((version.pixels * 255).round().astype(np.uint8)).save(file, **options)
                try:
                    photo = read_photo(file, self.detector)
                    person = analyze(photo, self.model)
                except Instax3DError as error:
                    results.append(Result(path.stem, name, refused=str(error).replace(str(file), "it")))
                    continue
            results.append(self._result(path.stem, name, known, version, photo, person))
        return results

    def _result(
        self, name: str, variant: str, known: Known, version: Version, photo: Photo, person: PhotoAnalysis
    ) -> Result:
        result = Result(name, variant, figures=compare(known, version, photo, person))
        if self._sheets:
            save_cut_out(self._sheets / f"{name}, {variant}.png", person)
        if self._views:
            found = likeness(name, photo, self.model, self.detector)
            result.distances = found.distances
            result.figures["outline"] = found.outline
        return result


def save_cut_out(path: Path, person: PhotoAnalysis) -> None:
    """The head crop, and the person on magenta and on white."""
    alpha, front = person.alpha[..., None], foreground_colors(person.head_crop.rgb, person.alpha)
    on = [alpha * front + (1 - alpha) * np.array(ground) for ground in ((1, 0, 1), (1, 1, 1))]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.hstack([person.head_crop.rgb, *on]) * 255).round().astype(np.uint8)).save(path)


def summary(results: Sequence[Result]) -> str:
    """Markdown: one line a variant, means over the photos."""
    names = list(dict.fromkeys(r.variant for r in results))
    columns = list(next(r.figures for r in results if r.figures))
    angles = list(next((r.distances for r in results if r.distances), {}))
    lines = [
        "| variant | photos | failed | " + " | ".join([*columns, *angles]) + " |",
        "| --- |" + " ---: |" * (2 + len(columns) + len(angles)),
    ]
    for name in names:
        those = [r for r in results if r.variant == name]
        good = [r for r in those if not r.refused]
        cells = [f"{np.mean([r.figures[c] for r in good]):.3f}" if good else "–" for c in columns]
        for angle in angles:
            known = [d for r in good if (d := r.distances[angle]) is not None]
            cells.append(f"{np.mean(known):.2f}" if known else "–")
        lines.append(f"| {name} | {len(those)} | {sum(bool(r.failures) for r in those)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def failures(results: Sequence[Result]) -> str:
    """Markdown: what was refused or passed a limit."""
    found = [(r, f) for r in results for f in r.failures]
    lines = [f"- {r.photo}, {r.variant}: " + (f"{f} {r.figures[f]:.3f}" if f in r.figures else f) for r, f in found]
    return "\n".join(lines) or "None."


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--head", default="mannequin", help="the head model that is fitted")
    parser.add_argument("--views", action="store_true", help="also the template's views, some 15 s each")
    parser.add_argument("--sheets", type=Path, help="a folder for pictures of all cut-outs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    bench = Bench(options.head, options.views, options.sheets)
    results: list[Result] = []
    for path in options.photos:
        results += bench.photo(path, options.variants)
        print(failures([r for r in results if r.photo == path.stem]), flush=True)
    text = "\n".join(
        [
            "# Versions of photos\n",
            "Written by `benchmarks/photo_variants.py`, see its docstring. Means over photos that were accepted;",
            f"limits: {', '.join(f'{name} {limit:g}' for name, limit in LIMITS.items())}.\n",
            summary(results),
            "\n## Failures\n",
            failures(results),
            "",
        ]
    )
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "photo_variants.md").write_text(text)
    (options.out / "photo_variants.json").write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
