"""How near the multi-view fit comes to heads that are known.

    python benchmarks/head_fitting.py                        # 20 mannequins from 1, 3 and 21 views; table, docs/
    python benchmarks/head_fitting.py --models mannequin ict=../shared/data/ict_facekit
    python benchmarks/head_fitting.py --scan ../shared/data/head_scan      # also a scan, by its true surface

A synthetic capture is a random head of the model (shape weights normal with deviation one, a mild expression, turned a
little and shifted), seen by 21 cameras on an orbit of SV3D's azimuths. The cameras up to 60 degrees from the front know
the 68 landmarks, each with normal noise of one pixel; all know the head's alpha. The fit sees nothing else. Three
views are the one from the front and its two neighbors.

Errors are of the mesh's own vertices, in the world: mean distance to the true place in millimeters over regions, over
heads. The pose error is the angle between the true and the fitted axes.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from instax3d.datasets import FIELD_OF_VIEW_DEG
from instax3d.fitting import fit_head
from instax3d.geometry.cameras import orbit
from instax3d.geometry.mesh_raster import rasterize
from instax3d.geometry.proximity import ProximityQuery
from instax3d.headmodel import HeadModel, HeadParameters, rotation_matrices
from instax3d.inputs.capture import read_capture
from instax3d.interfaces import LandmarkDetector, MeshPrior, ViewGenerator
from instax3d.registry import build
from instax3d.stages.making import with_faces
from instax3d.types import Cameras, Face, HeadMesh, Views

ROOT = Path(__file__).resolve().parent.parent
SIZE = 576
"""Pixels of a view's side."""
RADIUS = 0.75
"""Meters from the head; it then fills the frame as a portrait does."""
COUNTS = (1, 3, 21)
LANDMARKS_TO_DEG = 60.0
"""From the front; detectors find faces so far round."""
NOISE = 1.0
"""Pixels, in x and in y."""
REGIONS = {"face": ("face",), "head": ("scalp", "ears"), "neck": ("neck",), "all": ("face", "scalp", "ears", "neck")}
NOT_SKIN = ("eyeballs", "bust", "mouth_bag", "teeth")


@dataclass(frozen=True, eq=False)
class Known:
    """A synthetic capture and the truth."""

    views: Views
    vertices: torch.Tensor
    rotation: torch.Tensor
    parameters: HeadParameters


def random_head(model: HeadModel, generator: torch.Generator, *, components: int) -> HeadParameters:
    """Shape weights of the model's own spread, and a mild expression."""
    rest = model.neutral()
    shape = rest.shape.clone()
    count = min(components, model.shape_components)
    shape[:count] = torch.randn(count, generator=generator).clamp(-2, 2)
    low, high = model.expression_bounds
    chosen = torch.rand(len(rest.expression), generator=generator) < 0.1
    gaze = torch.tensor([name.startswith("eyeLook") for name in model.expression_names], dtype=torch.bool)
    amount = 0.3 * (torch.rand(len(chosen), generator=generator) * (high - max(low, 0.0)))
    return replace(rest, shape=shape, expression=torch.where(chosen & ~gaze, amount, 0.0))


def azimuths() -> list[float]:
    """SV3D's: 21 around the head, the last one in front."""
    return [360 * (k + 1) / 21 % 360 for k in range(21)]


def known_capture(
    model: HeadModel, seed: int, *, components: int = 30, noise: float = NOISE, outliers: float = 0.0, size: int = SIZE
) -> Known:
    """A synthetic capture of a random head.

    Args:
        noise: standard deviation of landmarks, pixels.
        outliers: share of the landmarks that lie somewhere else in the face's box.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = random_head(model, generator, components=components)
    turn = torch.deg2rad(torch.tensor([6.0, 10.0, 4.0]) * torch.randn(3, generator=generator).clamp(-2, 2))
    rotation = rotation_matrices(turn)
    vertices = model(parameters) @ rotation.T + 0.01 * torch.randn(3, generator=generator)
    focal = size / 2 / math.tan(math.radians(FIELD_OF_VIEW_DEG / 2))
    middle = vertices[model.regions["face"]].mean(0)
    cameras = orbit(azimuths(), [5.0] * 21, radius=RADIUS, size=size, focal=focal, center=(0.0, float(middle[1]), 0.0))
    alpha = torch.stack([_alpha(vertices, model, cameras[view]) for view in range(21)])
    marks = cameras.project(model.landmarks(vertices))[..., :2]
    marks = marks + noise * torch.randn(marks.shape, generator=generator)
    if outliers:
        low, high = marks.amin(1, keepdim=True), marks.amax(1, keepdim=True)
        anywhere = low + (high - low) * torch.rand(marks.shape, generator=generator)
        marks = torch.where(torch.rand(21, 68, 1, generator=generator) < outliers, anywhere, marks)
    ahead = rotation[:, 2]
    towards = torch.nn.functional.normalize(cameras.centers - model.landmarks(vertices).mean(0), dim=1)
    seen = (towards @ ahead > math.cos(math.radians(LANDMARKS_TO_DEG))).tolist()
    faces = tuple(_face(points) if shown else None for points, shown in zip(marks, seen, strict=True))
    images = torch.full((21, 3, size, size), 0.5)
    views = Views(images, alpha, cameras, torch.ones_like(alpha), photo_index=20, faces=faces)
    return Known(views, vertices, rotation, parameters)


def some_views(views: Views, count: int) -> Views:
    """The one from the front and its nearest neighbors."""
    chosen = sorted(range(21), key=lambda view: min(azimuths()[view], 360 - azimuths()[view]))[:count]
    return replace(
        views,
        images=views.images[chosen],
        alpha=views.alpha[chosen],
        cameras=views.cameras[chosen],
        confidence=views.confidence[chosen],
        photo_index=chosen.index(20),
        faces=tuple(views.faces[view] for view in chosen),
    )


def errors(model: HeadModel, known: Known, mesh: HeadMesh) -> dict[str, float]:
    """Millimeters by region, and the pose error in degrees."""
    distance = (mesh.vertices - known.vertices).norm(dim=1) * 1000
    skin = ~torch.stack([model.regions[name] for name in NOT_SKIN if name in model.regions]).any(0)
    found = {
        name: float(distance[torch.stack([model.regions[part] for part in parts]).any(0) & skin].mean())
        for name, parts in REGIONS.items()
    }
    assert mesh.axes is not None
    cosine = ((mesh.axes.T @ known.rotation).trace() - 1) / 2
    return found | {"pose": math.degrees(math.acos(min(1.0, float(cosine))))}


def scan_errors(folder: Path, model: HeadModel, components: int) -> dict[str, float]:
    """Mean distance of a fitted head's vertices from a scan's surface in millimeters at life size, by region."""
    capture = read_capture(folder)
    assert capture.surface is not None, "a scan comes with its surface"
    views = build(ViewGenerator, "frames").generate(capture, seed=0)
    views = with_faces(views, build(LandmarkDetector, "dlib"))
    mesh = fit_head(model, views, shape_components=components)
    truth = ProximityQuery.of(capture.surface)
    distance = torch.from_numpy(truth.closest(mesh.vertices.numpy())[1] / mesh.units_per_meter * 1000)
    hidden = [*NOT_SKIN, "nostrils"]
    skin = ~torch.stack([model.regions[name] for name in hidden if name in model.regions]).any(0)
    wanted = {"face": ("face",), "head": ("face", "scalp", "ears")}
    return {
        name: float(distance[torch.stack([model.regions[part] for part in parts]).any(0) & skin].mean())
        for name, parts in wanted.items()
    }


def _alpha(vertices: torch.Tensor, model: HeadModel, camera: Cameras) -> torch.Tensor:
    drawn = rasterize(
        vertices.numpy(),
        model.faces.numpy(),
        camera.viewmats[0].numpy(),
        camera.Ks[0].numpy(),
        camera.width,
        camera.height,
        supersample=2,
    )
    mask = torch.from_numpy(drawn.mask.astype(np.float32))[None, None]
    return torch.nn.functional.avg_pool2d(mask, 2)[0]


def _face(points: torch.Tensor) -> Face:
    (left, top), (right, bottom) = points.amin(0).tolist(), points.amax(0).tolist()
    return Face((left, top, right, bottom), 1.0, points)


def head_model(name: str) -> HeadModel:
    """Of a mesh prior, which may be followed by ``=`` and the path of its files."""
    prior, _, path = name.partition("=")
    options = {"model": path} if path else {}
    model: HeadModel = build(MeshPrior, prior, **options).head_model()
    return model


def measure(name: str, heads: int, components: int, outliers: float = 0.0) -> dict[str, dict[str, float]]:
    """Mean errors over heads, by number of views, and the largest ``all`` and ``pose``."""
    model = head_model(name)
    found: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
    for seed in range(heads):
        known = known_capture(model, seed, components=components, outliers=outliers)
        for count in COUNTS:
            mesh = fit_head(model, some_views(known.views, count), shape_components=components)
            found[count].append(errors(model, known, mesh) | {"bald": mesh.metrics["bald"]})
        print(f"{name} {seed}: " + ", ".join(f"{n}: {found[n][-1]['all']:.2f} mm" for n in COUNTS), flush=True)
    return {str(count): _summary(rows) for count, rows in found.items()}


def _summary(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return means | {f"worst_{key}": max(row[key] for row in rows) for key in ("all", "pose")}


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """As Markdown."""
    lines = [
        "| model | views | face, mm | head, mm | neck, mm | together, mm | worst head | pose, deg | worst pose |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, by_count in found.items():
        for count, row in by_count.items():
            figures = ("face", "head", "neck", "all", "worst_all", "pose", "worst_pose")
            lines.append(f"| {name} | {count} | " + " | ".join(f"{row[figure]:.2f}" for figure in figures) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mannequin"], help="mesh priors; NAME=PATH for files")
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--components", type=int, default=30, help="shape components of the heads and of the fit")
    parser.add_argument("--outliers", type=float, default=0.0, help="share of the landmarks that are grossly wrong")
    parser.add_argument("--scan", type=Path, help="a capture with mesh.npz beside it")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where head_fitting.md and .json go")
    arguments = parser.parse_args()
    measured = {
        name: measure(name, arguments.heads, arguments.components, arguments.outliers) for name in arguments.models
    }
    found = {name.partition("=")[0]: rows for name, rows in measured.items()}
    text = [
        "# How near the fit comes to known heads",
        "",
        f"`python benchmarks/head_fitting.py --models {' '.join(arguments.models)} --heads {arguments.heads}`: "
        f"{arguments.heads} random heads per model, landmarks with {NOISE:g} pixel of noise in {SIZE}x{SIZE} pixels, "
        "alpha of every view. The script's docstring describes the measurement.",
        "",
        table(found),
    ]
    scans = {}
    if arguments.scan:
        for name in arguments.models:
            model = head_model(name)
            scans[name.partition("=")[0]] = scan_errors(arguments.scan, model, arguments.components)
        text += ["", "Mean distance to the surface of a real scan, from its frames alone:", ""]
        text += ["| model | face, mm | head, mm |", "|---|---|---|"]
        text += [f"| {name} | {row['face']:.2f} | {row['head']:.2f} |" for name, row in scans.items()]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "head_fitting.md").write_text("\n".join(text) + "\n")
    settings = {
        "heads": arguments.heads,
        "components": arguments.components,
        "noise_px": NOISE,
        "outliers": arguments.outliers,
    }
    record = {"settings": settings, "synthetic": found, "scan": scans}
    (arguments.out / "head_fitting.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
