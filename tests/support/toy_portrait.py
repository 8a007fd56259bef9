"""A portrait of the toy ball, which is saved in a moment."""

from dataclasses import replace

import torch

from instax3d.config import load_config
from instax3d.headmodel import BakedHead, HeadParameters
from instax3d.portrait.manifest import RunRecord, new_manifest
from instax3d.portrait.orbit import Orbit
from instax3d.portrait.portrait import Portrait
from instax3d.testing import toy_gaussians, toy_mesh, toy_views
from instax3d.types import HeadMesh, Rig, Views


def toy_head() -> BakedHead:
    """The toy ball as a head: its lower half hangs on a neck, a jaw and two eyes, and it opens its mouth and smiles."""
    ball = toy_mesh()
    height = ball.vertices[:, 1:2]
    below = (height < 0).float()
    down, wide = torch.tensor([0.0, -0.03, 0.0]), torch.tensor([0.02, 0.0, 0.0])
    share = torch.cat([0 * below, 1 - below, below, 0 * below, 0 * below], 1)
    return BakedHead(
        name="toy",
        identity="",
        faces=ball.faces,
        landmark_faces=torch.arange(68)[:, None].expand(68, 3).contiguous(),
        landmark_weights=torch.tensor([1.0, 0.0, 0.0]).repeat(68, 1),
        expression_names=("jawOpen", "smile"),
        expression_bounds=(0.0, 1.0),
        joint_names=("neck", "jaw", "eye_left", "eye_right"),
        regions={"face": below[:, 0] > 0},
        mirror=None,
        vertices=ball.vertices,
        expressions=torch.stack([below * down, below * wide]),
        correctives=(below * (down + wide))[None],
        corrected=torch.tensor([[True, True]]),
        pose_correctives=0.001 * ball.vertices.expand(27, *ball.vertices.shape).contiguous(),
        joints=torch.tensor([[0.0, -0.1, 0.0], [0.0, 0.0, 0.0], [0.03, 0.02, 0.0], [-0.03, 0.02, 0.0]]),
        joint_moves=torch.zeros(2, 4, 3),
        turns=torch.zeros(2, 4, 3),
        parents=(-1, 0, 0, 0),
        skinning=share,
    )


def toy_rigged() -> HeadMesh:
    """The toy head in the world, turned and shifted, with a fitted expression."""
    head = toy_head()
    parameters = HeadParameters(torch.zeros(0), torch.tensor([0.25, 0.5]), torch.zeros(4, 3))
    turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    rig = Rig(head, parameters, turn, torch.tensor([0.01, 0.0, 0.0]), 1.0)
    vertices = rig.vertices(parameters)
    return HeadMesh(vertices, head.faces, head.landmarks(vertices), head.regions, rig, axes=turn)


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
