"""`Portrait`: the result. Renders, moves, saves, loads."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from instax3d.config import RunConfig
from instax3d.errors import PortraitError
from instax3d.interfaces import Renderer
from instax3d.splats.mesh_motion import move_with_mesh, nearest_faces
from instax3d.types import Cameras, Gaussians, HeadMesh, Rig, Views

from .folder import Contents, read_folder, write_folder
from .gaussian_head import GaussianHead
from .orbit import Orbit
from .posing import Pose, Turn
from .recipe import Recipe
from .rig_file import baked
from .views import has_views, read_views


class Portrait:
    """A finished head: Gaussians in the world, the mesh and the views they came from, and how it was made."""

    def __init__(
        self,
        gaussians: Gaussians,
        recipe: RunConfig | Recipe,
        manifest: Mapping[str, Any],
        orbit: Orbit,
        mesh: HeadMesh,
        *,
        views: Views | None = None,
        binding: Int[Tensor, "n"] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Put together a portrait; most come from `instax3d.create` or `load`.

        Args:
            recipe: how it was made.
            manifest: what ``run.json`` says of the run (`instax3d.portrait.manifest.new_manifest`).
            orbit: where it is shown from.
            mesh: the head; its rig makes the portrait move.
            views: what it was made from.
            binding: the triangle of ``mesh`` that each Gaussian moves with; None: the nearest.
            folder: where it was loaded from; it keeps the views and all else that is not here.
        """
        self.gaussians = gaussians
        self.recipe = Recipe.of(recipe) if isinstance(recipe, RunConfig) else recipe
        self.manifest = dict(manifest)
        self.orbit = orbit
        self.mesh = mesh
        self._views = views
        self._binding = binding
        self._folder = folder

    @property
    def config(self) -> RunConfig:
        """The whole configuration that it was made with, checked; `recipe` is what was written.

        Raises:
            ConfigError: a plugin or an option is not there any more.
        """
        return self.recipe.config

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
        """What is drawn, with the recipe's renderer.

        Raises:
            ConfigError: the renderer is not installed, or its options are wrong; says how to choose another one.
            BrokenPluginError: it cannot be imported.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return GaussianHead(self.gaussians, self.mesh, self.orbit, self.recipe.build(Renderer, device=device))

    @cached_property
    def rig(self) -> Rig | None:
        """What makes it move, baked (`instax3d.headmodel.BakedHead`): names, bounds, fitted parameters. None where the
        prior gave a mesh alone."""
        return None if self.mesh.rig is None else baked(self.mesh.rig)

    @cached_property
    def binding(self) -> Int[Tensor, "n"]:
        """The triangle of the mesh that each Gaussian moves with."""
        if self._binding is not None:
            return self._binding
        return nearest_faces(self.mesh.vertices, self.mesh.faces, self.gaussians.means)

    def render(
        self, cameras: Cameras, *, background: Float[Tensor, "3"] | None = None
    ) -> tuple[Float[Tensor, "views 3 h w"], Float[Tensor, "views 1 h w"]]:
        """Images in [0, 1] over ``background`` (white where None), and alpha."""
        return self.head.render(cameras, background=background)

    def pose(
        self,
        expression: Mapping[str, float] | None = None,
        *,
        jaw: Turn | None = None,
        neck: Turn | None = None,
        eyes: Turn | None = None,
        joints: Mapping[str, Turn] | None = None,
    ) -> "Portrait":
        """The portrait with another expression or pose; without arguments it is the same to the bit.

        Each value takes the place of the fitted one (``portrait.rig.parameters``); what is not named stays as fitted.

        Args:
            expression: weights by the head model's names, such as ``{"jawOpen": 0.6}``.
            jaw, neck, eyes: axis-angles in degrees about the head's axes: ``jaw=(15, 0, 0)`` opens the mouth,
                ``neck=(0, 20, 0)`` turns the head to the subject's left, ``eyes`` turns both.
            joints: the same for joints by the head model's names, such as ``{"eye_left": (0, 10, 0)}``.

        Returns:
            A portrait without views, which show it unposed, and without their metrics.

        Raises:
            PortraitError: the portrait has no rig, a name is not the head's, a joint is given twice, or a weight is
                outside the model's bounds.
        """
        rig = self.rig
        if rig is None:
            raise PortraitError(
                "this portrait has no rig, so it cannot be posed: it was made by version 0.1.0, or with a prior that "
                "gives a mesh alone; make it again with a head model such as mesh_prior=mannequin"
            )
        turns = {name: turn for name, turn in (("jaw", jaw), ("neck", neck), ("eyes", eyes)) if turn is not None}
        twice = sorted(set(turns) & set(joints or {}))
        if twice:
            raise PortraitError(f"{', '.join(twice)} is given twice; leave one of them out")
        pose = Pose(expression or {}, {**turns, **(joints or {})})
        parameters = pose.parameters(rig)
        # the mesh may differ a little from what the rig gives; it is moved by as much as that moves
        vertices = self.mesh.vertices + (rig.vertices(parameters) - rig.vertices(rig.parameters))
        gaussians = move_with_mesh(self.gaussians, self.binding, self.mesh.faces, self.mesh.vertices, vertices)
        mesh = replace(self.mesh, vertices=vertices, rig=replace(rig, parameters=parameters))
        if mesh.landmarks is not None:
            moved = rig.head.landmarks(vertices) - rig.head.landmarks(self.mesh.vertices)
            mesh = replace(mesh, landmarks=mesh.landmarks + moved)
        manifest = {**self.manifest, "metrics": {}, "not_measured": {}, "posed": pose.record(self.manifest)}
        return Portrait(gaussians, self.recipe, manifest, self.orbit, mesh, binding=self.binding)

    def save(self, folder: str | Path) -> Path:
        """Write the result folder; an earlier portrait of that name is replaced, anything else is refused.

        A loaded portrait takes along all that its folder holds: its views, reports, and files of the user's own; what
        was not changed keeps its bits (`instax3d.portrait.folder`).

        Raises:
            PortraitError: ``folder`` exists and is not a portrait, or cannot be written.
        """
        binding = None if self.rig is None else self.binding
        mesh = replace(self.mesh, rig=self.rig)
        contents = Contents(self.gaussians, mesh, self.recipe, self.manifest, self.orbit, binding)

        def draw(cameras: Cameras) -> Float[Tensor, "views 3 h w"]:
            return self.render(cameras)[0]

        write_folder(Path(folder), contents, draw, views=lambda: self.views, loaded_from=self._folder)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path, overrides: Iterable[str] = ()) -> "Portrait":
        """Read a result folder back, whether or not the plugins that made it are still here.

        Args:
            folder: what `save` wrote, in this version or an earlier one.
            overrides: ``key=value`` items for a machine other than the maker's, such as ``renderer=cpu``.

        Raises:
            PortraitError: it is not a portrait, is damaged, or was written by a newer version.
            ConfigError: its configuration is not readable, or an override has no effect on a finished portrait.
        """
        folder = Path(folder)
        read = read_folder(folder, overrides)
        return cls(
            read.gaussians, read.recipe, read.manifest, read.orbit, read.mesh, binding=read.binding, folder=folder
        )
