"""A whole run of the pipeline in a second: fakes in every slot."""

import hashlib

import torch
from jaxtyping import UInt8
from torch import Tensor

import instax3d
from instax3d import Face, Gaussians, HeadMesh, LandmarkDetector, MeshPrior, Stage, StageData, Views
from instax3d.plugin import PluginConfig
from instax3d.testing import BlobGaussians, DenseRenderer, IdleDensifier, SphereViews, toy_mesh

TOY = [
    "landmark_detector=toy_detector",
    "view_generator=toy_views",
    "mesh_prior=toy_prior",
    "representation=toy_blobs",
    "densifier=toy_idle",
    "renderer=toy_dense",
    "metrics=[]",
    "training.iterations=30",
]
"""Overrides that choose the fakes, once `register_toys` has registered them."""


class ToyDetector(LandmarkDetector[PluginConfig]):
    """Finds what dlib finds, and remembers it: the photo is the same in all tests."""

    found: dict[str, list[Face]] = {}  # noqa: RUF012 - shared by all runs

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        key = hashlib.sha256(image.numpy().tobytes()).hexdigest()
        if key not in self.found:
            self.found[key] = instax3d.build(LandmarkDetector, "dlib").detect(image)
        return self.found[key]


class ToyPrior(MeshPrior[PluginConfig]):
    """`toy_mesh`, whatever the views."""

    def fit(self, views: Views) -> HeadMesh:
        return toy_mesh()


class Dim(Stage[PluginConfig]):
    """Lets the Gaussians be half as opaque."""

    def run(self, data: StageData) -> Gaussians:
        g = data.gaussians
        assert g is not None
        return Gaussians(g.means, g.quats, g.scales, g.opacities / 2, g.sh)


class Shrink(Stage[PluginConfig]):
    """Makes the mesh a little smaller, by a share that it draws."""

    def run(self, data: StageData) -> HeadMesh:
        assert data.mesh is not None
        return HeadMesh(data.mesh.vertices * (0.9 + 0.05 * torch.rand(())), data.mesh.faces)


def register_toys() -> None:
    """Offer the fakes by name; to be undone by restoring ``registry().entries``."""
    instax3d.register(ToyDetector, name="toy_detector", provides=["landmarks68"])
    instax3d.register(SphereViews, name="toy_views")
    instax3d.register(ToyPrior, name="toy_prior")
    instax3d.register(BlobGaussians, name="toy_blobs")
    instax3d.register(IdleDensifier, name="toy_idle")
    instax3d.register(DenseRenderer, name="toy_dense")
    instax3d.register(Dim, name="dim", reads=("gaussians",), makes="gaussians")
    instax3d.register(Shrink, name="shrink", reads=("mesh",), makes="mesh")
