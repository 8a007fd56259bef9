"""`GaussianHead`: the Gaussians of a head, and what is needed to draw them."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from instax3d.interfaces import Renderer
from instax3d.types import Cameras, Gaussians, HeadMesh

from .orbit import Orbit


@dataclass(frozen=True, eq=False)
class GaussianHead:
    """Gaussians and the mesh they were placed on, in one world, with a renderer."""

    gaussians: Gaussians
    mesh: HeadMesh
    orbit: Orbit
    renderer: Renderer[Any]

    def render(
        self, cameras: Cameras, *, background: Float[Tensor, "3"] | None = None
    ) -> tuple[Float[Tensor, "views 3 h w"], Float[Tensor, "views 1 h w"]]:
        """Images in [0, 1] over ``background`` (white where None), and alpha, on the CPU."""
        device = self.renderer.device_type
        gaussians, cameras = self.gaussians.to(device), cameras.to(device)
        background = (torch.ones(3) if background is None else background).to(device)
        images, alphas = [], []
        with torch.no_grad():
            for index in range(len(cameras)):
                view = self.renderer.render(gaussians, cameras[index], background=background)
                images.append(view.image.clamp(0, 1).cpu())
                alphas.append(view.alpha.clamp(0, 1).cpu())
        return torch.cat(images), torch.cat(alphas)
