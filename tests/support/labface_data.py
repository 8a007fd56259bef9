"""The file of the lab's face model: a face whose identities and expressions are mixtures of the mannequin's."""

from pathlib import Path

import numpy as np
import torch

from instax3d.headmodel import HeadModel, HeadParameters
from instax3d.registry import build

IDENTITIES = 40
EXPRESSIONS = (
    "mouthSmileLeft mouthSmileRight mouthPucker eyeBlinkLeft eyeBlinkRight browInnerUp cheekPuff noseSneerLeft"
)
PARTS = ("face", "scalp", "ears", "neck", "eyeballs", "lips")


def write_labface(path: Path) -> Path:
    """Write it, in millimeters, and return its path."""
    model: HeadModel = build(HeadModel, "mannequin")
    rest = model.neutral()
    mean = model(rest)
    shapes = [
        model(HeadParameters(row, rest.expression, rest.pose)) - mean for row in torch.eye(model.shape_components)
    ]
    rows = torch.eye(len(model.expression_names))[[model.expression_names.index(name) for name in EXPRESSIONS.split()]]
    expressions = [model(HeadParameters(rest.shape, row, rest.pose)) - mean for row in rows]
    mixture, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(IDENTITIES, IDENTITIES)))
    identities = np.einsum("kj,jnc->knc", mixture, torch.stack(shapes[:IDENTITIES]).numpy())
    points = model.landmarks(mean)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        mean=mean.numpy() * 1000,
        identity=(identities * 1000).astype(np.float32),
        expression=torch.stack(expressions).numpy() * 300,
        triangles=model.faces.numpy(),
        keypoints=torch.cdist(points, mean).argmin(1).numpy(),
        **{f"part {name}": model.regions[name].numpy() for name in PARTS},  # type: ignore[arg-type]
    )
    return path
