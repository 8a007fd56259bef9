"""A portrait of the toy ball, which is saved in a moment."""

from dataclasses import replace

import torch

from instax3d.config import load_config
from instax3d.portrait.manifest import RunRecord, new_manifest
from instax3d.portrait.orbit import Orbit
from instax3d.portrait.portrait import Portrait
from instax3d.testing import toy_gaussians, toy_mesh, toy_views
from instax3d.types import HeadMesh, Views


def toy_portrait(mesh: HeadMesh | None = None, views: Views | None = None) -> Portrait:
    """With a photo among its views, and their provenance, unless others are given."""
    config = load_config(overrides=["output.turntable_frames=4", "output.sheet_views=2"], source="capture")
    if views is None:
        views = toy_views()
        shares = torch.eye(3)[0][None, :, None, None].expand(len(views), 3, *views.images.shape[2:])
        views = replace(views, photo_index=1, provenance=shares)
    mesh = toy_mesh() if mesh is None else mesh
    gaussians = toy_gaussians()
    run = RunRecord(
        source={"kind": "capture"},
        device="cpu",
        seconds={},
        reused={},
        gaussians=len(gaussians),
        losses={},
        head_model=None,
        fit={"landmark_error": 0.0125},
        metrics={"psnr_views": 30.0},
        not_measured={},
    )
    manifest = new_manifest(config, run)
    return Portrait(gaussians, config, manifest, Orbit.around(mesh, views.cameras), mesh, views=views)
