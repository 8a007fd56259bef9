"""Heads with a known surface and fine detail, as captures: meshes under procedural skin and hair, and a head scan.

Skin (that of the drawn turntables) has pores, freckles and brows, the scalp has strands: solid textures, evaluated at
the surface point of each (sub)pixel, so the detail is as fine as the pixels and the same in all views. Light is fixed
and diffuse.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from instax3d_plugins.turntables.skin import brow_points, near, skin_colors, waves
from numpy import ndarray
from torch.nn import functional

from instax3d.geometry.cameras import orbit
from instax3d.geometry.landmarks68 import CHIN, JAW_ENDS
from instax3d.geometry.mesh import subdivide, vertex_normals
from instax3d.geometry.mesh_raster import rasterize
from instax3d.headmodel import HeadModel
from instax3d.inputs.capture import load_frames, read_capture
from instax3d.interfaces import LandmarkDetector
from instax3d.io.images import to_uint8
from instax3d.registry import build
from instax3d.types import Cameras, Face, Views

SUPERSAMPLE = 2
LANDMARK_VIEWS_DEG = 40.0
"""Views up to this far from the front get landmarks, as a detector would find them."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A head to reconstruct, and the truth about it."""

    name: str
    views: Views
    test: Views
    """Held out."""
    vertices: ndarray
    """The true surface, in the world of the cameras."""
    faces: ndarray


@dataclass(frozen=True, eq=False)
class Head:
    """A mesh in meters, with the rest position (meters) that textures are evaluated at."""

    vertices: ndarray
    faces: ndarray
    landmarks: ndarray
    """[68, 3]."""
    eyes: ndarray
    """Mask of the vertices of the eyeballs."""


def synthetic(name: str, head: Head, *, size: int, seed: int, train: int = 24, test: int = 6) -> Subject:
    """A turntable in three elevations around a textured head; held-out cameras lie between them."""
    middle = (head.vertices.min(0) + head.vertices.max(0)) / 2
    reach = float(np.abs(head.vertices - middle).max())
    radius = 5 * reach
    options: dict[str, Any] = {
        "radius": radius,
        "size": size,
        "focal": 0.46 * size * (radius - reach) / reach,
        "center": tuple(map(float, middle)),
    }
    spins = [(360.0 * i / train + 0.5) % 360 for i in range(train)]
    cameras = orbit(spins, [(0.0, 15.0, -15.0)[i % 3] for i in range(train)], **options)
    aside = [(360.0 * (i + 0.35) / test) % 360 for i in range(test)]
    held_out = orbit(aside, [(6.0, -8.0)[i % 2] for i in range(test)], **options)
    paint = painter(head, seed)
    return Subject(
        name, photographed(head, cameras, paint), photographed(head, held_out, paint), head.vertices, head.faces
    )


def photographed(head: Head, cameras: Cameras, paint: Callable[[ndarray, ndarray, ndarray], ndarray]) -> Views:
    """Images of the head on white; near the front with its landmarks, exactly."""
    normals = vertex_normals(head.vertices, head.faces)
    attributes = np.concatenate([head.vertices, normals, head.eyes[:, None]], 1)
    images, alphas, faces = [], [], []
    for index in range(len(cameras)):
        camera = cameras[index]
        viewmat, K = camera.viewmats[0].numpy(), camera.Ks[0].numpy()
        raster = rasterize(
            head.vertices, head.faces, viewmat, K, cameras.width, cameras.height, supersample=SUPERSAMPLE
        )
        seen = raster.interpolate(attributes, head.faces)
        image = np.ones((*raster.mask.shape, 3), np.float32)
        image[raster.mask] = paint(seen[:, :3], seen[:, 3:6], seen[:, 6])
        images.append(functional.avg_pool2d(torch.from_numpy(image).permute(2, 0, 1)[None], SUPERSAMPLE)[0])
        mask = torch.from_numpy(raster.mask.astype(np.float32))[None, None]
        alphas.append(functional.avg_pool2d(mask, SUPERSAMPLE)[0])
        faces.append(_face(head, camera))
    return Views(
        torch.stack(images).clamp(0, 1),
        torch.stack(alphas),
        cameras,
        torch.ones_like(torch.stack(alphas)),
        faces=tuple(faces),
    )


def _face(head: Head, camera: Cameras) -> Face | None:
    away = camera.centers[0].numpy() - head.landmarks.mean(0)
    if away[2] < np.cos(np.radians(LANDMARK_VIEWS_DEG)) * np.linalg.norm(away):
        return None
    pixels = camera.project(torch.from_numpy(head.landmarks).float())[0, :, :2]
    (left, top), (right, bottom) = pixels.amin(0).tolist(), pixels.amax(0).tolist()
    return Face((left, top, right, bottom), 1.0, pixels)


def painter(head: Head, seed: int) -> Callable[[ndarray, ndarray, ndarray], ndarray]:
    """Colors of surface points, from position, normal and whether they lie on an eyeball."""
    rng = np.random.default_rng(seed)
    tone = np.array([[0.86, 0.66, 0.55], [0.55, 0.37, 0.27], [0.74, 0.52, 0.40]], np.float32)[seed % 3]
    hair = np.array([[0.33, 0.22, 0.14], [0.16, 0.13, 0.12], [0.55, 0.42, 0.25]], np.float32)[seed % 3]
    light = np.array([-0.35, 0.55, 0.75], np.float32) / np.linalg.norm([-0.35, 0.55, 0.75])
    brows = brow_points(head.landmarks)
    chin, ears = head.landmarks[CHIN], head.landmarks[list(JAW_ENDS)].mean(0)
    seeds = rng.integers(0, 2**31, 8)

    def colors(points: ndarray, normals: ndarray, eyes: ndarray) -> ndarray:
        skin = skin_colors(points, tone, seeds[:4])
        brow = near(points, brows, 0.004)
        strand = np.sin(2 * np.pi * (points[:, 0] + 0.004 * waves(points, 0.03, seeds[4])) / 0.005)
        hairy = hair * (1 + 0.45 * strand + 0.15 * waves(points, 0.005, seeds[5]))[:, None]
        # The hairline runs above the brows and down behind the ears.
        height = points[:, 1] - brows[:, 1].max() - 0.035 + 0.004 * waves(points, 0.008, seeds[6])
        behind = np.minimum(ears[2] - 0.035 - points[:, 2], points[:, 1] - chin[1] - 0.01)
        amount = np.clip(np.maximum(np.maximum(height, behind) / 0.004, brow * 2 - 0.6), 0, 1)[:, None]
        albedo = skin * (1 - amount) + hairy * amount
        front = normals[:, 2:] > 0.86
        albedo = np.where(eyes[:, None] > 0.5, np.where(front, [0.15, 0.25, 0.3], [0.93, 0.92, 0.9]), albedo)
        shade = 0.55 + 0.55 * np.clip(normals @ light, 0, 1)
        return np.asarray(np.clip(albedo * shade[:, None], 0, 1), np.float32)

    return colors


def mannequin_head(seed: int) -> Head:
    """The mannequin with a random identity: the prior's own family, the best that a prior can hope for."""
    model = build(HeadModel, "mannequin")
    generator = torch.Generator().manual_seed(seed)
    parameters = replace(model.neutral(), shape=torch.randn(model.shape_components, generator=generator))
    vertices = model(parameters).detach()
    landmarks = model.landmarks(vertices).numpy()
    skin, faces = model.regions["eyeballs"].numpy(), model.faces.numpy()
    fine, fine_faces = subdivide(np.concatenate([vertices.numpy(), skin[:, None]], 1), faces)
    return Head(fine[:, :3], fine_faces, landmarks, fine[:, 3] > 0.5)


def ict_head(folder: Path, seed: int) -> Head:
    """ICT-FaceKit's head with a random identity, which the mannequin can only approach."""
    deltas = np.load(folder / "identity_deltas.npz")
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=len(deltas["deltas"]))
    kept = deltas["neutral"] + np.tensordot(weights, deltas["deltas"].astype(np.float32), 1)
    ids = deltas["vertex_ids"]
    where = np.full(int(ids.max()) + 1, -1)
    where[ids] = np.arange(len(ids))
    faces = []
    for line in (folder / "FaceXModel" / "generic_neutral_mesh.obj").read_text().splitlines():
        if line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            if all(corner < len(where) and where[corner] >= 0 for corner in corners):
                faces += [[corners[0], b, c] for b, c in pairwise(corners[1:])]
    readme = (folder / "README.md").read_text()
    numbers = readme.split("0-based):")[1].split("\n\n")[0].splitlines()[1]
    landmarks = json.loads(f"[{numbers}]")
    vertices = kept.astype(np.float32) / 100
    vertices -= (vertices.min(0) + vertices.max(0)) / 2
    return Head(vertices, where[np.array(faces)], vertices[where[landmarks]], ids > 12_000)


def scan(folder: Path, *, size: int) -> Subject:
    """A capture with its true mesh, scaled to ``size``; landmarks by the installed detector."""
    capture = read_capture(folder)
    if capture.test_cameras is None:
        raise FileNotFoundError(f"{folder} has no held-out cameras")
    detector = build(LandmarkDetector, "dlib")

    def views(cameras: Cameras, files: tuple[Path, ...]) -> Views:
        images, alpha = load_frames(cameras, files)
        found = [detector.detect(to_uint8(image)) for image in images]
        factor = size / cameras.width
        faces = tuple(_scaled(each[0], factor) if each else None for each in found)
        cameras = cameras.scaled(factor)
        shape = (cameras.height, cameras.width)
        images, alpha = (functional.interpolate(part, shape, mode="area") for part in (images, alpha))
        return Views(images, alpha, cameras, torch.ones_like(alpha), faces=faces)

    mesh = np.load(folder / "mesh.npz")
    return Subject(
        "scan",
        views(capture.cameras, capture.files),
        views(capture.test_cameras, capture.test_files),
        mesh["vertices"],
        mesh["faces"].astype(np.int64),
    )


def _scaled(face: Face, factor: float) -> Face:
    left, top, right, bottom = (factor * side for side in face.box)
    return Face((left, top, right, bottom), face.score, face.require_landmarks68() * factor)
