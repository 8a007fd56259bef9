"""What each part of the construction contributes: rows that differ from a base in one thing, on heads of known surface.

    INSTAX3D_DATA=… python benchmarks/ablations.py            # all rows; table, JSON and plot into docs/
    python benchmarks/ablations.py --quick --out out/ablations  # a few rows on one head, small: some two minutes

Heads: a mannequin and two ICT-FaceKit identities under procedural skin (benchmarks/textured_heads.py), and a head scan.
INSTAX3D_DATA holds `ict_facekit/` and `head_scan/`; without it the mannequin alone is measured. A row that is in the
JSON with the same settings is not run again, so an interrupted run continues. Times are of the construction alone.

matplotlib, if installed, draws the plot.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Idle OpenMP threads sleep, as in the program itself; torch reads it when it is imported.
os.environ["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy import ndarray
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree
from textured_heads import Subject, ict_head, mannequin_head, scan, synthetic

from instax3d.config import OutputConfig, PluginChoice, RunConfig, TrainingConfig
from instax3d.geometry.mesh_raster import rasterize
from instax3d.interfaces import MeshPrior, Renderer
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.splats.photometric import psnr, ssim
from instax3d.stages.training import assemble, train
from instax3d.testing import toy_mesh
from instax3d.types import Cameras, Gaussians, HeadMesh, Render, Views

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- ablations -->", "<!-- /ablations -->"
BASE = "base"
HIDDEN_MM = 30.0
"""Gaussians so far behind the expected depth of their pixel are hidden."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    size: int = 320
    iterations: int = 200
    budget: int = 45_000
    hull_points: int = 8_000


@dataclass(frozen=True)
class Row:
    """One way to construct; the fields' defaults are the base."""

    group: str
    name: str
    representation: str = "triangles"
    start: dict[str, Any] = field(default_factory=dict)
    densifier: str = "absgs"
    density: dict[str, Any] = field(default_factory=dict)
    prior: str = "fitted"
    """``fitted`` by the product, ``true`` surface, or a ``ball`` inside the head that knows nothing of heads."""
    views: int | None = None
    longer: int = 1
    """Times as many iterations."""
    seed: int = 0

    def settings(self, scale: Scale) -> dict[str, Any]:
        """All that decides the result."""
        start = {"points_per_face": 2, "hull_points": scale.hull_points, **self.start}
        density: dict[str, Any] = {}
        if self.densifier != "none":
            density = {
                "max_gaussians": scale.budget,
                "refine_every": self.longer * scale.iterations // 10,
                "refine_stop": 0.6,
            }
        if self.densifier not in ("none", "mcmc"):
            density |= {"grow_by": "budget", "revised_opacity": False}
        return {**asdict(self), "start": start, "density": {**density, **self.density}, "scale": asdict(scale)}


def rows() -> list[Row]:
    """Each differs from the base in one thing."""
    by_threshold = {"grow_by": "threshold", "grow_grad2d": 2e-4}
    revised = {"revised_opacity": True}
    density, prior, start, views, longer = "densifier", "prior and binding", "start", "views", "length of the run"
    return [
        Row(BASE, BASE),
        Row(BASE, "the same with another seed", seed=1),
        Row(density, "adc", densifier="adc"),
        Row(density, "gof", densifier="gof"),
        Row(density, "mcmc", densifier="mcmc", density={"growth": 0.1}),
        Row(density, "none", densifier="none"),
        Row(
            density, "none, budget at the start", densifier="none", start={"points_per_face": 3, "hull_points": 11_000}
        ),
        Row(density, "absgs, threshold 0.0002", density=by_threshold),
        Row(density, "adc, threshold 0.0002", densifier="adc", density=by_threshold),
        Row(density, "absgs, splits alone", density={"grow_scale3d": 1e-9}),
        Row(density, "adc, splits alone", densifier="adc", density={"grow_scale3d": 1e-9}),
        Row(density, "gof, splits alone", densifier="gof", density={"grow_scale3d": 1e-9}),
        Row(density, "absgs, revised opacities", density=revised),
        Row(density, "adc, revised opacities", densifier="adc", density=revised),
        Row(density, "gof, revised opacities", densifier="gof", density=revised),
        Row(prior, "unbound Gaussians", representation="unbound"),
        Row(prior, "true surface as the mesh", prior="true"),
        Row(prior, "ball as the mesh", prior="ball"),
        Row(prior, "unbound Gaussians on a ball", representation="unbound", prior="ball"),
        Row(prior, "unbound Gaussians on the hull", representation="unbound", start={"points_per_face": 0}),
        Row(start, "1 point a face", start={"points_per_face": 1}),
        Row(start, "3 points a face", start={"points_per_face": 3}),
        Row(start, "gray", start={"colors_from_views": False}),
        Row(start, "no points on the hull", start={"hull_points": 0}),
        Row(start, "hull points let go of the mesh", start={"hold_hull": False}),
        Row(views, "6 views", views=6),
        Row(views, "12 views", views=12),
        Row(views, "6 views, unbound Gaussians", views=6, representation="unbound"),
        Row(views, "6 views, ball as the mesh", views=6, prior="ball"),
        Row(longer, "absgs, 5 times as long", longer=5),
        Row(longer, "absgs, revised opacities, 5 times as long", density=revised, longer=5),
        Row(longer, "adc, 5 times as long", densifier="adc", longer=5),
        Row(longer, "absgs, splits alone, 5 times as long", density={"grow_scale3d": 1e-9}, longer=5),
        Row(
            longer,
            "adc, splits alone, 5 times as long",
            densifier="adc",
            density={"grow_scale3d": 1e-9},
            longer=5,
        ),
        Row(longer, "mcmc, 5 times as long", densifier="mcmc", density={"growth": 0.1}, longer=5),
        Row(longer, "none, 5 times as long", densifier="none", longer=5),
    ]


QUICK = (BASE, "adc", "mcmc", "none", "unbound Gaussians", "ball as the mesh")


def subjects(scale: Scale, wanted: Iterable[str], data: Path | None) -> dict[str, Callable[[], Subject]]:
    """The heads that are there."""
    found: dict[str, Callable[[], Subject]] = {
        "mannequin": lambda: synthetic("mannequin", mannequin_head(1), size=scale.size, seed=0)
    }
    if data and (data / "ict_facekit").is_dir():
        for name, identity in (("ict-1", 2), ("ict-2", 4)):
            seed = len(found)
            found[name] = lambda name=name, identity=identity, seed=seed: synthetic(  # type: ignore[misc]
                name, ict_head(data / "ict_facekit", identity), size=scale.size, seed=seed
            )
    if data and (data / "head_scan").is_dir():
        found["scan"] = lambda: scan(data / "head_scan", size=scale.size)
    wanted = list(wanted)
    return {name: make for name, make in found.items() if not wanted or name in wanted}


class Bench:
    """One head with its priors and what is measured against."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.fitted = build(MeshPrior, "mannequin").fit(subject.views)
        self.renderer = build(Renderer, "cpu")
        self.surface = HeldOutSurface(subject, self.fitted)

    def prior(self, name: str) -> HeadMesh:
        """The mesh by its name in `Row`."""
        if name == "fitted":
            return self.fitted
        units = self.fitted.units_per_meter
        if name == "true":
            vertices, faces = torch.from_numpy(self.subject.vertices).float(), torch.from_numpy(self.subject.faces)
            return HeadMesh(vertices, faces, units_per_meter=units)
        cameras = self.subject.views.cameras
        forward, centers = cameras.viewmats[:, 2, :3], cameras.centers
        across = torch.eye(3) - forward[:, :, None] * forward[:, None]
        middle = torch.linalg.lstsq(across.sum(0), (across @ centers[..., None]).sum(0)).solution[:, 0]
        half = float((centers - middle).norm(dim=1).mean()) * cameras.width / 2 / float(cameras.Ks[0, 0, 0])
        ball = toy_mesh(75, 75)
        return HeadMesh(ball.vertices / 0.1 * 0.3 * half + middle, ball.faces, units_per_meter=units)

    def run(self, row: Row, scale: Scale) -> dict[str, Any]:
        """Construct and measure."""
        settings = row.settings(scale)
        torch.manual_seed(row.seed)
        views, mesh = _some(self.subject.views, row.views), self.prior(row.prior)
        config = RunConfig(
            choices={
                Kind.REPRESENTATION: _choice(Kind.REPRESENTATION, row.representation, settings["start"]),
                Kind.DENSIFIER: _choice(Kind.DENSIFIER, row.densifier, settings["density"]),
            },
            listed={
                Kind.LOSS: (_choice(Kind.LOSS, "photometric", {}), _choice(Kind.LOSS, "alpha", {"weight": 0.1})),
            },
            training=TrainingConfig(iterations=row.longer * scale.iterations, half_resolution=0.4),
            output=OutputConfig(),
            seed=row.seed,
            device="cpu",
        )
        wall, cpu = time.perf_counter(), time.process_time()
        module, order = assemble(config, mesh, views, self.renderer)
        representation = module.representation
        started = len(representation.splats["means"])
        train(module, order, device="cpu")
        times = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        with torch.no_grad():
            gaussians = representation.gaussians().detach()
        return {"start": started, "gaussians": len(gaussians), **times, **self.measure(gaussians)}

    def measure(self, gaussians: Gaussians) -> dict[str, float]:
        """Figures on the held-out views."""
        test = self.subject.test
        with torch.no_grad():
            shown = [
                self.renderer.render(gaussians, test.cameras[i], background=torch.ones(3)) for i in range(len(test))
            ]
        images = torch.cat([each.image for each in shown]).clamp(0, 1)
        return {
            "psnr": float(psnr(images, test.images).mean()),
            "ssim": float(ssim(images, test.images).mean()),
            **self.surface.detail(images, test.images),
            **self.surface.distances([self.depth(gaussians, test.cameras[i], each) for i, each in enumerate(shown)]),
        }

    def depth(self, gaussians: Gaussians, camera: Cameras, first: Render) -> ndarray:
        """Expected depth where opaque, else 0, of the Gaussians that are not hidden.

        The far side of a head shines through its near side by a percent or two, which adds millimeters to the mean.
        """
        pixels = camera.project(gaussians.means)[0]
        size = torch.tensor([camera.width, camera.height])
        x, y = pixels[:, :2].long().clamp(torch.zeros(2, dtype=torch.int64), size - 1).unbind(1)
        near = pixels[:, 2] < first.depth[0, 0, y, x] + HIDDEN_MM / 1000 * self.surface.meter
        parts = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
        with torch.no_grad():
            shown = self.renderer.render(Gaussians(*(part[near] for part in parts)), camera, background=torch.ones(3))
        return np.asarray((shown.depth * (first.alpha > 0.95))[0, 0])


def _choice(kind: Kind, name: str, options: dict[str, Any]) -> PluginChoice:
    entry = registry().get(kind, name)
    return PluginChoice(entry, entry.config_class().model_validate(options))


def _some(views: Views, count: int | None) -> Views:
    """Evenly chosen views."""
    if count is None:
        return views
    chosen = torch.linspace(0, len(views), count + 1)[:-1].round().long()
    faces = tuple(views.faces[i] for i in chosen.tolist())
    parts = (views.images[chosen], views.alpha[chosen], views.cameras[chosen], views.confidence[chosen])
    return Views(*parts, faces=faces)


class HeldOutSurface:
    """The true surface as held-out cameras see it."""

    def __init__(self, subject: Subject, head: HeadMesh) -> None:
        self.cameras, self.meter = subject.test.cameras, head.units_per_meter
        corners = subject.vertices[subject.faces]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(cross, axis=1)
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(area), 400_000, p=area / area.sum())
        weights = rng.dirichlet(np.ones(3), len(chosen)).astype(np.float32)
        self.points = (corners[chosen] * weights[..., None]).sum(1)
        self.normals = cross[chosen] / np.maximum(area[chosen, None], 1e-20)
        self.tree = cKDTree(self.points)
        front = torch.tensor([0.0, 0, 1]) if head.axes is None else head.axes[:, 2]
        middle = (head.vertices.amin(0) + head.vertices.amax(0)).numpy() / 2
        self.outside, self.faces = [], []
        for camera in _each(self.cameras):
            viewmat, K = camera.viewmats[0].numpy(), camera.Ks[0].numpy()
            raster = rasterize(subject.vertices, subject.faces, viewmat, K, camera.width, camera.height)
            seen = raster.interpolate(subject.vertices, subject.faces)
            towards = camera.centers[0].numpy() - seen
            outside, face = raster.mask.copy(), raster.mask.copy()
            outside[raster.mask] = (cross[raster.face[raster.mask]] * towards).sum(1) > 0
            face[raster.mask] = (seen - middle) @ front.numpy() > 0
            self.outside.append(outside)  # an open bust shows its inside, too
            self.faces.append(binary_erosion(face, iterations=4))  # the front half, away from outlines

    def detail(self, images: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
        """Of the Laplacian of the gray images, over the face: energy relative to the truth (``sharpness``, 1 is right,
        less is blur), and correlation with it (``detail``, 1 is right; noise adds energy but no correlation)."""
        kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
        ours, theirs = (
            torch.nn.functional.conv2d(each.mean(1, keepdim=True), kernel, padding=1)[:, 0].double()
            for each in (images, truth)
        )
        mask = torch.from_numpy(np.stack(self.faces))
        ours, theirs = ours[mask], theirs[mask]
        energy = float(ours.square().sum()), float(theirs.square().sum())
        return {
            "sharpness": energy[0] / energy[1],
            "detail": float((ours * theirs).sum()) / (energy[0] * energy[1]) ** 0.5,
        }

    def distances(self, depths: list[ndarray]) -> dict[str, float]:
        """From the rendered surface to the tangent plane at the nearest true point."""
        found = []
        for camera, depth, outside in zip(_each(self.cameras), depths, self.outside):
            y, x = np.nonzero((depth > 0) & outside)
            y, x = y[::5], x[::5]
            K, viewmat = camera.Ks[0].numpy(), camera.viewmats[0].numpy()
            rays = np.stack([(x + 0.5 - K[0, 2]) / K[0, 0], (y + 0.5 - K[1, 2]) / K[1, 1], np.ones_like(x)], 1)
            points = (rays * depth[y, x, None] - viewmat[:3, 3]) @ viewmat[:3, :3]
            nearest = self.tree.query(points, workers=-1)[1]
            found.append(np.abs(((points - self.points[nearest]) * self.normals[nearest]).sum(1)))
        millimeters = np.concatenate(found) / self.meter * 1000
        return {"distance_mm": float(millimeters.mean()), "distance_p90_mm": float(np.quantile(millimeters, 0.9))}


def _each(cameras: Cameras) -> list[Cameras]:
    return [cameras[index] for index in range(len(cameras))]


COLUMNS = {
    "gaussians": ("Gaussians", "{:,.0f}"),
    "cpu_seconds": ("CPU s", "{:.1f}"),
    "psnr": ("PSNR, dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "sharpness": ("sharpness", "{:.2f}"),
    "detail": ("detail", "{:.3f}"),
    "distance_mm": ("distance, mm", "{:.2f}"),
}


def tables(results: list[dict[str, Any]]) -> str:
    """Markdown: one table per group, means over the synthetic heads, then the scan."""
    scale, heads = results[0]["settings"]["scale"], sorted({each["subject"] for each in results})
    lines = [
        f"Images of {scale['size']}x{scale['size']}, {scale['iterations']} iterations, {', '.join(heads)}. "
        "Each cell: mean of the synthetic heads / the scan.",
    ]
    base = [each for each in results if each["settings"]["name"] == BASE]
    for group in dict.fromkeys(each["settings"]["group"] for each in results):
        header = " | ".join(title for title, _ in COLUMNS.values())
        lines += ["", f"### By {group}" if group != BASE else "### Base", "", f"| | {header} |"]
        lines.append("| --- |" + " ---: |" * len(COLUMNS))
        of_group = [each for each in results if each["settings"]["group"] == group]
        for part in ([] if group == BASE else [base]) + [
            [each for each in of_group if each["settings"]["name"] == name]
            for name in dict.fromkeys(each["settings"]["name"] for each in of_group)
        ]:
            if part:
                cells = " | ".join(_cell(part, key, form) for key, (_, form) in COLUMNS.items())
                fewer = "" if len(part) == len(heads) else f" ({', '.join(each['subject'] for each in part)} only)"
                lines.append(f"| {part[0]['settings']['name']}{fewer} | {cells} |")
    return "\n".join(lines)


def _cell(part: list[dict[str, Any]], key: str, form: str) -> str:
    made = [each[key] for each in part if each["subject"] != "scan"]
    scanned = [each[key] for each in part if each["subject"] == "scan"]
    return " / ".join(form.format(statistics.mean(values)) for values in (made, scanned) if values) or "not measured"


def write_tables(path: Path, text: str) -> None:
    """Put the tables between their marks; what is written around them stays."""
    page = path.read_text(encoding="utf-8") if path.exists() else f"# Benchmarks\n\n## Ablations\n\n{BEGIN}\n{END}\n"
    if BEGIN not in page:
        page += f"\n## Ablations\n\n{BEGIN}\n{END}\n"
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def plot(path: Path, results: list[dict[str, Any]]) -> None:
    """Each row's difference from the base, head by head."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in dict.fromkeys(each["settings"]["name"] for each in results) if name != BASE]
    base = {each["subject"]: each for each in results if each["settings"]["name"] == BASE}
    shown = {"psnr": "PSNR, dB", "detail": "detail", "distance_mm": "distance, mm"}
    figure, axes = pyplot.subplots(1, len(shown), sharey=True, figsize=(12, 0.32 * len(names) + 1))
    for axis, (key, title) in zip(axes, shown.items()):
        axis.axvline(0, color="0.7", linewidth=1)
        for subject in base:
            part = [each for each in results if each["subject"] == subject and each["settings"]["name"] in names]
            differences = [each[key] - base[subject][key] for each in part]
            axis.plot(
                differences, [names.index(each["settings"]["name"]) for each in part], "o", label=subject, alpha=0.7
            )
        axis.set_title(f"{title}, difference from the base", fontsize=9)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].invert_yaxis()
    axes[-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where table, JSON and plot go")
    parser.add_argument("--quick", action="store_true", help="a few rows on one head, small")
    parser.add_argument("--subject", action="append", default=[], help="only this head; may be repeated")
    parser.add_argument("--row", action="append", default=[], help="only this row; may be repeated")
    arguments = parser.parse_args()
    if arguments.quick and arguments.out == ROOT / "docs":
        parser.error("--quick would replace the figures in docs/; name another folder with --out")
    scale = Scale(192, 150, 40_000, 5_000) if arguments.quick else Scale()
    chosen = [row for row in rows() if row.name in (arguments.row or (QUICK if arguments.quick else [row.name]))]
    folder = Path(os.environ.get("INSTAX3D_DATA", ROOT.parent / "shared" / "data"))
    heads = subjects(scale, arguments.subject or (["mannequin"] if arguments.quick else []), folder)
    arguments.out.mkdir(parents=True, exist_ok=True)
    store = arguments.out / "ablations.json"
    results: list[dict[str, Any]] = json.loads(store.read_text()) if store.exists() else []
    benches: dict[str, Bench] = {}
    for row in chosen:
        for name, make in heads.items():
            settings = json.loads(json.dumps(row.settings(scale)))
            if any(each["subject"] == name and each["settings"] == settings for each in results):
                continue
            if name not in benches:
                benches[name] = Bench(make())
            measured = benches[name].run(row, scale)
            results = [
                each for each in results if (each["subject"], each["settings"]["name"]) != (name, settings["name"])
            ] + [{"subject": name, "settings": settings, "load": os.getloadavg()[0], **measured}]
            store.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(
                f"{name:10} {row.name:41}",
                *(f"{key} {form.format(measured[key])}" for key, (_, form) in COLUMNS.items()),
                flush=True,
            )
    order = {row.name: index for index, row in enumerate(rows())}
    results.sort(key=lambda each: order.get(each["settings"]["name"], len(order)))
    write_tables(arguments.out / "benchmarks.md", tables(results))
    plot(arguments.out / "ablations.png", results)


if __name__ == "__main__":
    main()
