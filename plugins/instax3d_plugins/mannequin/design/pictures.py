"""``python -m instax3d_plugins.mannequin.design.pictures FOLDER`` draws the pictures of the README."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from instax3d.geometry.mesh_raster import rasterize
from instax3d.plugin import PluginConfig

from ..model import MannequinModel, mannequin_from
from ..table import Array
from .surface import vertex_normals

BACKGROUND, SKIN, LIPS, MOUTH = (0.97, 0.97, 0.97), (0.78, 0.66, 0.58), (0.74, 0.45, 0.43), (0.5, 0.2, 0.2)
WHITE, IRIS, PUPIL = (0.93, 0.93, 0.93), (0.42, 0.29, 0.2), (0.06, 0.05, 0.05)
IRIS_ANGLE, PUPIL_ANGLE = 25, 12
"""Degrees from an eye's axis within which it has these colors."""
DISTANCE = 1.0
"""From the camera to what it looks at, meters."""
SUPERSAMPLE = 3
QUALITY = 86
LIGHTS = (((-0.5, 0.6, 0.6), 0.6), ((0.8, 0.1, 0.5), 0.22))
"""Direction (to the right, up, towards the camera) and strength; the first one shines."""
AMBIENT, SHINE, SHARPNESS = 0.28, 0.12, 25


@dataclass(frozen=True)
class View:
    """What one picture shows, and from where."""

    azimuth: float
    """Degrees from the front towards the head's left."""
    elevation: float = 0.0
    target: tuple[float, float, float] = (0.0, -0.025, 0.0)
    """The middle of the picture, meters."""
    width: float = 0.36
    """Meters that the picture spans there."""
    expression: dict[str, float] = field(default_factory=dict)
    shape_seed: int | None = None
    """Of a random head."""


SIDES = (View(0), View(40), View(90), View(180))
EYE, LIPS_AT, EAR, NOSE = (0.032, 0.022, 0.08), (0.0, -0.04, 0.09), (0.07, 0.01, 0.0), (0.0, -0.01, 0.1)
CLOSE = (
    View(0, 0, EYE, 0.06),
    View(0, 0, EYE, 0.06, {"eyeBlinkLeft": 1.0}),
    View(25, 0, LIPS_AT, 0.09),
    View(25, 0, LIPS_AT, 0.1, {"jawOpen": 0.9}),
    View(25, 0, LIPS_AT, 0.09, {"mouthPucker": 1.0}),
    View(80, 0, EAR, 0.09),
    View(145, 0, EAR, 0.09),
    View(20, -45, NOSE, 0.06),
)
IDENTITIES = tuple(View(azimuth, shape_seed=seed) for seed in (1, 2, 3) for azimuth in (0, 60))


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(prog="python -m instax3d_plugins.mannequin.design.pictures", description=__doc__)
    parser.add_argument("folder", type=Path, help="where sides.jpg, close.jpg and identities.jpg go")
    parser.add_argument("--table", type=Path, help="another table than the packaged one")
    options = parser.parse_args()
    model = MannequinModel(PluginConfig()) if options.table is None else mannequin_from(options.table)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, views, columns, size in (
        ("sides", SIDES, 4, 340),
        ("close", CLOSE, 4, 340),
        ("identities", IDENTITIES, 6, 240),
    ):
        path = options.folder / f"{name}.jpg"
        Image.fromarray(sheet(model, views, columns, size)).save(path, quality=QUALITY, optimize=True)
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


def sheet(model: MannequinModel, views: Sequence[View], columns: int, size: int) -> Array:
    """Pictures [rows, columns, 3] side by side, each ``size`` pixels wide and high, 8 bit."""
    tiles = [picture(model, view, size) for view in views]
    return np.vstack([np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)])


def picture(model: MannequinModel, view: View, size: int) -> Array:
    """[size, size, 3], 8 bit."""
    vertices, faces = _posed(model, view), model.faces.numpy()
    viewmat, K = _camera(view, size)
    raster = rasterize(vertices, faces, viewmat, K, size, size, supersample=SUPERSAMPLE)
    sampled = raster.interpolate(np.hstack([vertex_normals(vertices, faces), _colors(model)]), faces)
    normals, colors = sampled[:, :3] @ (viewmat[:3, :3].T * [1, -1, -1]), sampled[:, 3:]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = np.full(len(normals), AMBIENT)
    for direction, strength in LIGHTS:
        light += strength * np.clip(normals @ _unit(direction), 0, 1)
    halfway = _unit(_unit(LIGHTS[0][0]) + np.array([0, 0, 1]))
    shine = SHINE * np.clip(normals @ halfway, 0, 1) ** SHARPNESS
    image = np.empty((*raster.mask.shape, 3))
    image[:] = BACKGROUND
    image[raster.mask] = np.clip(colors * light[:, None] + shine[:, None], 0, 1)
    small = image.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE, 3).mean((1, 3))
    return np.asarray(np.round(255 * small), np.uint8)


def _posed(model: MannequinModel, view: View) -> Array:
    rest = model.neutral()
    expression, shape = rest.expression.clone(), rest.shape
    for name, weight in view.expression.items():
        expression[model.expression_names.index(name)] = weight
    if view.shape_seed is not None:
        random = np.random.default_rng(view.shape_seed).normal(size=len(shape))
        shape = torch.tensor(random, dtype=torch.float32)
    return model(replace(rest, expression=expression, shape=shape)).double().numpy()


def _colors(model: MannequinModel) -> Array:
    """[vertices, 3]."""
    colors = np.tile(SKIN, (len(model.skinning), 1))
    for region, color in (("lips", LIPS), ("mouth_bag", MOUTH), ("teeth", WHITE), ("eyeballs", WHITE)):
        colors[model.regions[region].numpy()] = color
    neutral = model(model.neutral()).double().numpy()
    for joint in ("eye_left", "eye_right"):
        slot = model.joint_names.index(joint)
        ball = model.skinning[:, 1 + slot].numpy() == 1
        along = neutral - model.joints[slot].double().numpy()
        angle = np.degrees(np.arccos(np.clip(along[:, 2] / np.linalg.norm(along, axis=1), -1, 1)))
        colors[ball & (angle < IRIS_ANGLE)] = IRIS
        colors[ball & (angle < PUPIL_ANGLE)] = PUPIL
    return colors


def _camera(view: View, size: int) -> tuple[Array, Array]:
    """World-to-camera matrix [4, 4] (OpenCV axes) and intrinsics [3, 3]."""
    azimuth, elevation = np.radians([view.azimuth, view.elevation])
    towards = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    right = _unit(np.cross([0.0, 1.0, 0.0], towards))
    viewmat = np.eye(4)
    viewmat[:3, :3] = np.stack([right, np.cross(right, towards), -towards])
    viewmat[:3, 3] = -viewmat[:3, :3] @ (np.array(view.target) + DISTANCE * towards)
    focal = size * DISTANCE / view.width
    return viewmat, np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])


def _unit(vector: Sequence[float] | Array) -> Array:
    array: Array = np.asarray(vector)
    return array / np.linalg.norm(array)


if __name__ == "__main__":
    main()
