"""`Portrait`: the result. Renders, saves, loads."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from instax3d.config import RunConfig, load_config
from instax3d.errors import PortraitError
from instax3d.geometry.cameras import orbit, read_transforms, write_transforms
from instax3d.interfaces import Renderer
from instax3d.io.artifacts import UNREADABLE, pack_mesh, read_artifact, unpack_mesh, write_artifact
from instax3d.io.files import atomic_folder
from instax3d.io.images import write_png
from instax3d.io.obj import read_obj, write_obj
from instax3d.io.ply import read_ply, write_ply
from instax3d.types import Cameras, Gaussians, HeadMesh, Views

from .manifest import FORMAT, MANIFEST, check_output, read_manifest
from .preview import write_contact_sheet, write_video

HEAD = "head.npz"
"""The fitted head's landmarks, regions and scale beside its mesh, for those that measure a saved portrait."""


@dataclass(frozen=True)
class Orbit:
    """The turntable on which a portrait is shown: a circle about the head's up axis."""

    center: Float[Tensor, "3"]
    axes: Float[Tensor, "3 3"]
    """Columns: the head's left, up and front in the world."""
    radius: float
    focal: float
    """Pixels, for images of ``size``."""
    size: int
    elevation_deg: float = 0.0
    """Height from which the turntable is seen, as most of the views were."""

    def cameras(self, azimuths_deg: list[float], elevation_deg: float | None = None) -> Cameras:
        """One camera per azimuth; 0 is in front of the face. From the turntable's own height unless told otherwise."""
        height = self.elevation_deg if elevation_deg is None else elevation_deg
        about_origin = orbit(
            azimuths_deg, [height] * len(azimuths_deg), radius=self.radius, focal=self.focal, size=self.size
        )
        to_head = torch.eye(4)
        to_head[:3, :3] = self.axes.T
        to_head[:3, 3] = -self.axes.T @ self.center
        return Cameras(about_origin.viewmats @ to_head, about_origin.Ks, self.size, self.size)

    def turn(self, frames: int) -> Cameras:
        """A full turn in even steps that starts in front."""
        return self.cameras([360.0 * index / frames for index in range(frames)])

    def to_dict(self) -> dict[str, Any]:
        return {
            "center": self.center.tolist(),
            "axes": self.axes.tolist(),
            "radius": self.radius,
            "focal": self.focal,
            "size": self.size,
            "elevation_deg": self.elevation_deg,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Orbit":
        return cls(
            torch.tensor(values["center"], dtype=torch.float32),
            torch.tensor(values["axes"], dtype=torch.float32),
            float(values["radius"]),
            float(values["focal"]),
            int(values["size"]),
            float(values.get("elevation_deg", 0.0)),  # older portraits have none
        )

    @classmethod
    def around(cls, mesh: HeadMesh, cameras: Cameras) -> "Orbit":
        """The orbit that frames the head as the views do."""
        middle = (mesh.vertices.amin(0) + mesh.vertices.amax(0)) / 2
        axes = _upright(torch.eye(3) if mesh.axes is None else mesh.axes, cameras)
        center = _nearest_to_optical_axes(cameras, middle)
        outward = cameras.centers - center
        radius = float(outward.norm(dim=1).median())
        height = float((outward @ axes[:, 1] / outward.norm(dim=1)).clamp(-1, 1).asin().rad2deg().median())
        size = max(cameras.width, cameras.height)
        size -= size % 2  # video codecs want even sizes
        return cls(center, axes, radius, float(cameras.Ks[:, 0, 0].median()), size, height)


def _upright(head: Float[Tensor, "3 3"], cameras: Cameras) -> Float[Tensor, "3 3"]:
    """The head's axes with the cameras' common up: a bowed head is shown bowed, on an upright bust."""
    up = -cameras.viewmats[:, 1, :3].mean(0)
    if float(up.norm()) < 0.5:  # they were held every way
        return head
    up = functional.normalize(up, dim=0)
    left = functional.normalize(torch.linalg.cross(up, head[:, 2]), dim=0)
    return torch.stack([left, up, torch.linalg.cross(left, up)], 1)


def _nearest_to_optical_axes(cameras: Cameras, start: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The point that all cameras look at, in the least-squares sense; weakly held at ``start``, which decides where
    the cameras do not (a single one, or parallel ones)."""
    forward = cameras.viewmats[:, 2, :3]
    across = torch.eye(3) - forward[:, :, None] * forward[:, None, :]
    hold = 1e-2 * len(cameras)
    left = across.sum(0) + hold * torch.eye(3)
    right = (across @ cameras.centers[..., None]).sum(0)[:, 0] + hold * start
    found: Tensor = torch.linalg.solve(left, right)
    return found


class Portrait:
    """A finished head: Gaussians in the world, the mesh and the views they came from, and how it was made."""

    def __init__(
        self,
        gaussians: Gaussians,
        config: RunConfig,
        manifest: Mapping[str, Any],
        orbit: Orbit,
        mesh: HeadMesh,
        views: Views | None = None,
    ) -> None:
        self.gaussians = gaussians
        self.config = config
        self.manifest = dict(manifest)
        self.orbit = orbit
        self.mesh = mesh
        self.views = views
        self._renderer: Renderer[Any] | None = None

    @property
    def metrics(self) -> Mapping[str, float]:
        """The figures of ``run.json``."""
        figures: Mapping[str, float] = self.manifest["metrics"]
        return figures

    def render(
        self, cameras: Cameras, *, background: Float[Tensor, "3"] | None = None
    ) -> tuple[Float[Tensor, "views 3 h w"], Float[Tensor, "views 1 h w"]]:
        """Images in [0, 1] over ``background`` (white where None), and coverage."""
        if self._renderer is None:
            self._renderer = self.config.build(Renderer)
        device = self._renderer.device_type
        gaussians, cameras = self.gaussians.to(device), cameras.to(device)
        background = (torch.ones(3) if background is None else background).to(device)
        images, alphas = [], []
        with torch.no_grad():
            for index in range(len(cameras)):
                shown = self._renderer.render(gaussians, cameras[index], background=background)
                images.append(shown.image.clamp(0, 1).cpu())
                alphas.append(shown.alpha.clamp(0, 1).cpu())
        return torch.cat(images), torch.cat(alphas)

    def save(self, folder: str | Path) -> Path:
        """Write the result folder; an earlier portrait of that name is replaced, anything else is refused.

        Raises:
            PortraitError: ``folder`` exists and is no portrait, or cannot be written.
        """
        folder = Path(folder)
        check_output(folder)
        try:
            with atomic_folder(folder) as made:
                self._write(made)
        except OSError as error:
            raise PortraitError(f"cannot write the portrait to {folder}: {error.strerror or error}") from error
        return folder

    def _write(self, folder: Path) -> None:
        write_ply(folder / "portrait.ply", self.gaussians)
        write_obj(folder / "mesh.obj", self.mesh.vertices, self.mesh.faces)
        # without the rig: its parameters mean nothing where the head model's files are not
        write_artifact(folder / HEAD, pack_mesh(replace(self.mesh, rig=None)))
        (folder / "config.yaml").write_text(self.config.to_yaml(), encoding="utf-8")
        output = self.config.output
        turn, _ = self.render(self.orbit.turn(output.turntable_frames))
        write_video(folder / "turntable.mp4", turn)
        sheet, _ = self.render(self.orbit.turn(output.sheet_views))
        photo = None
        if self.views is not None and self.views.photo_index is not None:
            photo = self.views.images[self.views.photo_index]
        write_contact_sheet(folder / "turntable.png", sheet, first=photo)
        if self.views is not None:
            self._write_views(folder / "views")
        manifest = {**self.manifest, "orbit": self.orbit.to_dict()}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    def _write_views(self, folder: Path) -> None:
        assert self.views is not None
        folder.mkdir()
        names = [f"{index:03d}.png" for index in range(len(self.views))]
        for name, image, alpha in zip(names, self.views.images, self.views.alpha):
            write_png(folder / name, image, alpha)
        extra: list[dict[str, Any]] = [
            {"confidence": round(float(confidence), 4)} for confidence in self.views.view_confidence
        ]
        if self.views.photo_index is not None:
            extra[self.views.photo_index]["photo"] = True
        if self.views.provenance is not None:
            (folder / "provenance").mkdir()
            for name, entry, shares in zip(names, extra, self.views.provenance):
                entry["provenance_path"] = f"provenance/{name}"
                write_png(folder / "provenance" / name, shares)
            tinted = 0.5 * (self.views.images.mean(1, keepdim=True) + self.views.provenance)
            write_contact_sheet(folder / "provenance.png", 1 + self.views.alpha * (tinted - 1))
        write_transforms(folder / "transforms.json", self.views.cameras, names, extra)

    @classmethod
    def load(cls, folder: str | Path, overrides: Iterable[str] = ()) -> "Portrait":
        """Read a result folder back; ``overrides`` such as ``renderer=cpu`` serve on a machine other than the maker's.

        Raises:
            PortraitError: it is no portrait, or was written by a newer version.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if manifest.get("format", 0) > FORMAT:
            raise PortraitError(f"{folder} was written by a newer instax3d ({manifest.get('instax3d')}); update yours")
        orbit = Orbit.from_dict(manifest.pop("orbit"))
        config = load_config(path=folder / "config.yaml", overrides=overrides)
        return cls(read_ply(folder / "portrait.ply"), config, manifest, orbit, _load_mesh(folder, orbit))


def _load_mesh(folder: Path, orbit: Orbit) -> HeadMesh:
    """The fitted head without its rig; of a portrait made by an older version the bare mesh.

    Raises:
        PortraitError: it cannot be read.
    """
    path = folder / HEAD
    if not path.is_file():
        vertices, faces = read_obj(folder / "mesh.obj")
        return HeadMesh(vertices, faces, axes=orbit.axes)
    try:
        return unpack_mesh(read_artifact(path))
    except UNREADABLE as error:
        raise PortraitError(f"{path} cannot be read ({error}); make the portrait again") from error


def render_frames(portrait: Portrait, cameras_file: Path, folder: Path, *, transparent: bool = False) -> list[Path]:
    """Render a portrait from every camera of a transforms file, one PNG under each frame's own name.

    A frame's name is the last part of its ``file_path``; where two frames share it, the whole relative path is kept.

    Raises:
        CaptureError: the cameras cannot be read.
        PortraitError: the folder cannot be written.
    """
    cameras, _ = read_transforms(cameras_file)
    names = [Path(name).with_suffix(".png") for name in cameras.names]
    if len({name.name for name in names}) == len(names):
        names = [Path(name.name) for name in names]
    names = [Path(*(part for part in name.parts if part not in ("..", "/", "."))) for name in names]
    written = []
    try:
        for index, name in enumerate(names):
            image, alpha = portrait.render(cameras[index])
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_png(target, image[0], alpha[0] if transparent else None)
            written.append(target)
    except OSError as error:
        raise PortraitError(f"cannot write to {folder}: {error.strerror or error}") from error
    return written
