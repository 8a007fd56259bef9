"""`Portrait`: the result. Renders, saves, loads."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from instax3d.config import RunConfig, load_config
from instax3d.errors import PortraitError
from instax3d.interfaces import Renderer
from instax3d.io.artifacts import UNREADABLE, pack_mesh, read_artifact, unpack_mesh, write_artifact
from instax3d.io.files import atomic_folder
from instax3d.io.obj import read_obj, write_obj
from instax3d.io.ply import read_ply, write_ply
from instax3d.types import Cameras, Gaussians, HeadMesh, Views

from .gaussian_head import GaussianHead
from .manifest import MANIFEST, check_output, read_manifest
from .orbit import Orbit
from .preview import write_contact_sheet, write_video
from .views import FOLDER, has_views, photo_image, read_views, write_views

GAUSSIANS, MESH, CONFIG, VIDEO, SHEET = "portrait.ply", "mesh.obj", "config.yaml", "turntable.mp4", "turntable.png"
HEAD = "head.npz"
"""The fitted head's landmarks, regions and scale beside its mesh, for those that measure a saved portrait."""
_WRITTEN = frozenset({GAUSSIANS, MESH, HEAD, CONFIG, VIDEO, SHEET, MANIFEST})
"""What each `Portrait.save` writes anew."""


class Portrait:
    """A finished head: Gaussians in the world, the mesh and the views they came from, and how it was made."""

    def __init__(
        self,
        gaussians: Gaussians,
        config: RunConfig,
        manifest: Mapping[str, Any],
        orbit: Orbit,
        mesh: HeadMesh,
        *,
        views: Views | None = None,
        folder: Path | None = None,
        binding=None,
    ) -> None:
        self._binding = binding
        """Put together a portrait; most come from `instax3d.create` or `load`.

        Args:
            manifest: what ``run.json`` says of the run (`instax3d.portrait.manifest.new_manifest`).
            orbit: where it is shown from.
            views: what it was made from.
            folder: where it was loaded from; it keeps the views and all else that is not here.
        """
        self.gaussians = gaussians
        self.config = config
        self.manifest = dict(manifest)
        self.orbit = orbit
        self.mesh = mesh
        self._views = views
        self._folder = folder

    @property
    def metrics(self) -> Mapping[str, float]:
        """What the metrics measured, from ``run.json``."""
        metrics: Mapping[str, float] = self.manifest.get("metrics", {})
        return metrics

    @property
    def views(self) -> Views | None:
        """What it was made from; of a loaded portrait they are read when first asked for. None where it keeps none.

        Raises:
            PortraitError, CaptureError: they cannot be read.
        """
        if self._views is None and self._folder is not None and has_views(self._folder):
            self._views = read_views(self._folder)
        return self._views

    @cached_property
    def head(self) -> GaussianHead:
        """What is drawn, with the configuration's renderer.

        Raises:
            BrokenPluginError: the renderer cannot be imported.
        """
        return GaussianHead(self.gaussians, self.mesh, self.orbit, self.config.build(Renderer))

    def render(
        self, cameras: Cameras, *, background: Float[Tensor, "3"] | None = None
    ) -> tuple[Float[Tensor, "views 3 h w"], Float[Tensor, "views 1 h w"]]:
        """Images in [0, 1] over ``background`` (white where None), and alpha."""
        return self.head.render(cameras, background=background)

    def save(self, folder: str | Path) -> Path:
        """Write the result folder; an earlier portrait of that name is replaced, anything else is refused.

        A loaded portrait takes along all that its folder holds: its views, reports, and files of the user's own.

        Raises:
            PortraitError: ``folder`` exists and is not a portrait, or cannot be written.
        """
        folder = Path(folder)
        check_output(folder)
        try:
            with atomic_folder(folder) as new:
                self._write(new, folder)
        except OSError as error:
            raise PortraitError(f"cannot write the portrait to {folder}: {error.strerror or error}") from error
        return folder

    def _write(self, new: Path, final: Path) -> None:
        """Write into ``new``, which will become ``final``."""
        write_ply(new / GAUSSIANS, self.gaussians)
        write_obj(new / MESH, self.mesh.vertices, self.mesh.faces)
        # without the rig: its parameters mean nothing where the head model's files are not
        write_artifact(new / HEAD, pack_mesh(replace(self.mesh, rig=None)))
        (new / CONFIG).write_text(self.config.to_yaml(), encoding="utf-8")
        output = self.config.output
        turn, _ = self.render(self.orbit.turn(output.turntable_frames))
        write_video(new / VIDEO, turn)
        sheet, _ = self.render(self.orbit.turn(output.sheet_views))
        write_contact_sheet(new / SHEET, sheet, first=photo_image(self.views))
        if self._folder is not None:
            _copy_rest(self._folder, new, final)
        elif self.views is not None:
            write_views(new / FOLDER, self.views)
        manifest = {**self.manifest, "orbit": self.orbit.to_dict()}
        (new / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, overrides: Iterable[str] = ()) -> "Portrait":
        """Read a result folder back; ``overrides`` such as ``renderer=cpu`` serve on a machine other than the maker's.

        Raises:
            PortraitError: it is not a portrait, is damaged, or was written by a newer version.
            ConfigError: its configuration cannot be used here.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        try:
            orbit = Orbit.from_dict(manifest.pop("orbit"))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise PortraitError(
                f"{folder / MANIFEST} does not say from where the portrait is seen (orbit); make the portrait again"
            ) from error
        config = load_config(path=folder / CONFIG, overrides=overrides)
        mesh = _load_mesh(folder, orbit)
        return cls(read_ply(folder / GAUSSIANS), config, manifest, orbit, mesh, folder=folder)


def _copy_rest(source: Path, new: Path, final: Path) -> None:
    """Copy what the portrait in ``source`` holds and ``new`` lacks; ``final`` may lie in ``source``."""
    for entry in source.iterdir():
        if entry.name in _WRITTEN:
            continue
        if entry.is_symlink() or not entry.is_dir():
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)
        elif not any(path.resolve().is_relative_to(entry.resolve()) for path in (new, final)):
            shutil.copytree(entry, new / entry.name, symlinks=True)


def _load_mesh(folder: Path, orbit: Orbit) -> HeadMesh:
    """The fitted head without its rig; of a portrait made by an older version the bare mesh.

    Raises:
        PortraitError: it cannot be read.
    """
    path = folder / HEAD
    if not path.is_file():
        vertices, faces = read_obj(folder / MESH)
        return HeadMesh(vertices, faces, axes=orbit.axes)
    try:
        return unpack_mesh(read_artifact(path))
    except UNREADABLE as error:
        raise PortraitError(f"{path} cannot be read ({error}); make the portrait again") from error
