"""Shading: a person's mesh drawn from given cameras."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy import fft
from torch import Tensor
from torch.nn import functional

from instax3d.geometry.mesh_raster import rasterize
from instax3d.types import Cameras

from .person import GAMMA, RandomPerson
from .person_mesh import PersonMesh

_SUPERSAMPLE = 2
_WRAP = np.array([0.35, 0.18, 0.12])
"""How far light reaches beyond the terminator on skin, red farthest: approximates subsurface scattering."""
_IRIS, _PUPIL = 0.49, 0.17
"""Angular radii from the eyeball's center, radians."""
_STRANDS = 1024
"""Side of the tile of strands: once around the head, and down over `_STRAND_TILE` meters."""
_STRAND_TILE = 0.5


@dataclass(frozen=True, eq=False)
class Artist:
    """Draws one person."""

    mesh: PersonMesh
    person: RandomPerson
    strands: Float[ndarray, "n n"]
    """Brightness of strands, a tile of unit variance around 0."""
    exposure: float

    def draw(self, cameras: Cameras) -> tuple[Float[Tensor, "views 3 h w"], Float[Tensor, "views 1 h w"]]:
        """Images on white and alpha, in [0, 1]."""
        mesh = self.mesh
        single = (mesh.sky, mesh.hair, mesh.eyeball, mesh.skin, mesh.gloss)
        columns = np.concatenate(
            [mesh.vertices, mesh.normals, mesh.albedo, mesh.lit_share, np.stack(single, 1)], 1
        ).astype(np.float32)
        images, alphas = [], []
        for index in range(len(cameras)):
            camera = cameras[index]
            raster = rasterize(
                mesh.vertices, mesh.faces, camera.viewmats[0].numpy(), camera.Ks[0].numpy(),
                cameras.width, cameras.height, supersample=_SUPERSAMPLE,
            )  # fmt: skip
            colors = self._colors(raster.interpolate(columns, mesh.faces), camera.centers[0].numpy())
            image, alpha = reduced(raster.mask, colors, _SUPERSAMPLE)
            images.append(image)
            alphas.append(alpha)
        return torch.stack(images).clamp(0, 1), torch.stack(alphas)

    def _colors(self, sampled: Float[ndarray, "n c"], eye: Float[ndarray, "3"]) -> Float[ndarray, "n 3"]:
        """Displayed colors of surface points, from the columns put together in `draw`."""
        person = self.person
        points, normals, albedo, rest = sampled[:, :3], sampled[:, 3:6], sampled[:, 6:9].copy(), sampled[:, 9:]
        lit_share, (sky, hair, eyeball, skin, gloss) = rest[:, : len(person.lights)], rest[:, len(person.lights) :].T
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        towards = (eye - points).astype(np.float32)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        on_eye = eyeball > 0.5
        if on_eye.any():
            albedo[on_eye], normals[on_eye] = self._eyes(points[on_eye])
        on_hair = hair > 0.5
        tangents = np.zeros_like(points)
        if on_hair.any():
            strand, tangents[on_hair] = self._strands(points[on_hair], normals[on_hair])
            albedo[on_hair] *= np.clip(1 + 0.32 * strand, 0.25, 2.2)[:, None]
        up = (0.5 + 0.5 * normals[:, 1:2]).astype(np.float32)
        # hair absorbs light between its strands
        open_sky = np.where(on_hair, sky * (0.45 + 0.55 * sky), sky)[:, None]
        light = (person.ground + (person.sky - person.ground) * up) * (0.15 + 0.85 * open_sky)
        shine = np.zeros_like(light)
        wrap = skin[:, None] * _WRAP
        for k, lamp in enumerate(person.lights):
            direction = lamp.direction.astype(np.float32)
            cosine = (normals @ direction)[:, None]
            light = light + lamp.color * np.clip((cosine + wrap) / (1 + wrap), 0, None) * lit_share[:, k : k + 1]
            half = towards + direction
            half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-6)
            across = np.clip((normals * half).sum(1), 0, 1)
            along = np.sqrt(np.clip(1 - (tangents * half).sum(1) ** 2, 0, 1))
            glint = np.where(on_eye, 1.5 * across**300, np.where(on_hair, 0.10 * along**40, 0.16 * gloss * across**18))
            shine += lamp.color * (glint * lit_share[:, k] * np.clip(4 * cosine[:, 0], 0, 1))[:, None]
        # skin is glossier where it is grazed
        grazing = (1 - np.clip((normals * towards).sum(1), 0, 1)) ** 4
        shine += 0.10 * (grazing * gloss * sky)[:, None] * person.sky
        return np.asarray(np.clip((albedo * light + shine) * self.exposure, 0, 1) ** (1 / GAMMA), np.float32)

    def _eyes(self, points: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Albedo and normals of eyeballs: white with a darker rim, iris with rays, pupil."""
        left, right = self.mesh.eyes
        centers = np.where(points[:, :1] > 0, left.center, right.center)
        outward = points - centers
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        gaze = self.person.gaze
        angle = np.arccos(np.clip(outward @ gaze, -1, 1))
        turn = np.arctan2(outward[:, 1] - gaze[1], outward[:, 0] - gaze[0])
        rays = (
            1
            + 0.18 * np.sin(23 * turn + 3 * np.sin(7 * turn))
            + 0.5 * np.clip((angle - _PUPIL) / (_IRIS - _PUPIL), 0, 1)
        )
        ring = 1 - 0.7 * np.exp(-(((angle - _IRIS) / 0.05) ** 2))
        white = np.array([0.68, 0.64, 0.62]) * (1 - 0.25 * np.clip((angle - 0.8) / 0.6, 0, 1))[:, None]
        iris = self.person.iris * (rays * ring)[:, None]
        color = white + (iris - white) * np.clip((_IRIS - angle) / 0.04 + 0.5, 0, 1)[:, None]
        color = color * np.clip((angle - _PUPIL) / 0.04 + 0.5, 0.03, 1)[:, None]
        return color.astype(np.float32), outward.astype(np.float32)

    def _strands(
        self, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, "n"], Float[ndarray, "n 3"]]:
        """Brightness and direction of strands, which run from the crown outwards and down."""
        x, z = points[:, 0], points[:, 2] + 0.02
        swing = self.person.style.waviness * np.sin(points[:, 1] / 0.014 + 2 * np.sin(3 * np.arctan2(x, z)))
        around = np.arctan2(x, z) + swing
        down = np.hypot(x, z) - points[:, 1]
        across, along = around / (2 * np.pi) * _STRANDS, down / _STRAND_TILE * _STRANDS
        strand = _tiled(self.strands, across, along)
        downwards = np.stack([x, -np.hypot(x, z) - 0.02, z], 1)
        tangent = downwards - normals * (downwards * normals).sum(1, keepdims=True)
        return strand, tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)


def artist(mesh: PersonMesh, person: RandomPerson) -> Artist:
    """Ready to draw; the exposure is chosen for the person's light, as a photographer would choose it."""
    rng = np.random.default_rng(int(person.seeds[10]))
    key = person.lights[0]
    on_face = person.sky * 0.5 + key.color * max(0.2, float(key.direction[2]))
    return Artist(mesh, person, _strand_tile(rng), float(rng.uniform(0.85, 1.15) / on_face.mean()))


def reduced(
    mask: Bool[ndarray, "high wide"], colors: Float[ndarray, "sampled 3"], supersample: int
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "1 h w"]]:
    """Image on white and alpha of a raster that is ``supersample`` times as large, from the colors of its pixels."""
    image = np.ones((*mask.shape, 3), np.float32)
    image[mask] = colors
    covered = torch.from_numpy(mask.astype(np.float32))[None, None]
    both = torch.cat([torch.from_numpy(image).permute(2, 0, 1)[None], covered], 1)
    small = functional.avg_pool2d(both, supersample)[0]
    return small[:3], small[3:]


def _strand_tile(rng: np.random.Generator) -> Float[ndarray, "n n"]:
    """Single strands and locks: white noise, blurred along the strands."""
    rows, columns = fft.fftfreq(_STRANDS)[:, None], fft.rfftfreq(_STRANDS)
    total = np.zeros((_STRANDS, _STRANDS), np.float32)
    for across, along, amount in ((0.7, 60.0, 0.6), (2.5, 90.0, 1.0), (8.0, 120.0, 0.8)):
        white = rng.standard_normal((_STRANDS, _STRANDS), dtype=np.float32)
        blur = np.exp(-2 * (np.pi * along * rows) ** 2 - 2 * (np.pi * across * columns) ** 2).astype(np.float32)
        layer = fft.irfft2(fft.rfft2(white) * blur)
        total += amount * layer / layer.std()
    return np.asarray(total / total.std())


def _tiled(tile: Float[ndarray, "n n"], x: Float[ndarray, "m"], y: Float[ndarray, "m"]) -> Float[ndarray, "m"]:
    size, step, out = len(tile), 32_000, []  # OpenCV refuses longer rows
    x, y = (np.ascontiguousarray(v % size, np.float32) for v in (x, y))
    for k in range(0, len(x), step):
        row = cv2.remap(
            tile, x[None, k : k + step], y[None, k : k + step], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        out.append(row[0])
    return np.concatenate(out)
