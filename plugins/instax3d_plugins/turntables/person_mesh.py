"""A person as one triangle mesh with the attributes that shading needs at each vertex."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from instax3d.geometry.ambient_occlusion import exposure, lit, smoothed
from instax3d.geometry.landmarks68 import (
    CHIN,
    JAW_ENDS,
    MOUTH_CORNERS,
    NOSE_BASE,
    NOSE_RIDGE,
    NOSE_TIP,
    OUTER_EYE_CORNERS,
)
from instax3d.geometry.mesh import subdivide, vertex_normals
from instax3d.headmodel import HeadModel

from .person import RandomPerson
from .shapes import Skull, beard_area, hair_shell, torso
from .skin import brow_points, near, skin_colors, waves

_TEETH = np.array([0.75, 0.70, 0.60])
_MOUTH = np.array([0.16, 0.03, 0.03])
_SCLERA = np.array([0.72, 0.69, 0.66])
_PORES = 0.35
_PRESSED = 0.022
"""Meters."""
_SHADOW_IMAGE = 400
_SKY_DIRECTIONS = 24
_NECK_REACH = 0.015
"""The neck lies less far in front of the ears than this, the floor of the mouth farther, meters."""
_NECK_ENDS = 0.036
"""The head's own mesh ends this far below the neck's narrowest section, from which the shoulders go on, meters."""
_NECK_BELOW_CHIN = 0.055
"""The clothes' highest edge lies this far below the chin at the back of the neck, meters."""


@dataclass(frozen=True, eq=False)
class Eye:
    """A painted eyeball."""

    center: Float[ndarray, "3"]
    radius: float


@dataclass(frozen=True, eq=False)
class PersonMesh:
    """Per-vertex columns; colors are linear."""

    vertices: Float[ndarray, "n 3"]
    faces: Int[ndarray, "f 3"]
    normals: Float[ndarray, "n 3"]
    albedo: Float[ndarray, "n 3"]
    sky: Float[ndarray, "n"]
    """Share of the sky that is visible."""
    lit_share: Float[ndarray, "n lights"]
    """How far each light reaches the place, 0 to 1."""
    hair: Float[ndarray, "n"]
    eyeball: Float[ndarray, "n"]
    skin: Float[ndarray, "n"]
    gloss: Float[ndarray, "n"]
    eyes: tuple[Eye, Eye]
    top: float
    """Height of the bald head's top, meters."""


@dataclass(frozen=True, eq=False)
class _Part:
    vertices: Float[ndarray, "n 3"]
    faces: Int[ndarray, "f 3"]
    normals: Float[ndarray, "n 3"]
    albedo: Float[ndarray, "n 3"]
    hair: Float[ndarray, "n"]
    eyeball: Float[ndarray, "n"]
    skin: Float[ndarray, "n"]
    gloss: Float[ndarray, "n"]


def build_person_mesh(model: HeadModel, person: RandomPerson, *, detail: int) -> PersonMesh:
    """Shape and paint a person; ``detail`` is how often the head's triangles are split in four."""
    rest = model(person.parameters).detach()
    landmarks = model.landmarks(rest).numpy().astype(np.float64)
    vertices, faces = rest.numpy().astype(np.float64), model.faces.numpy()
    regions = {name: mask.numpy() for name, mask in model.regions.items()}
    if person.style.end is not None:
        # hair that hangs over them presses the ears to the head
        vertices[regions["ears"], 0] -= _PRESSED * np.sign(vertices[regions["ears"], 0])
    no = np.zeros(len(vertices), bool)
    inside = regions.get("teeth", no) | regions.get("mouth_bag", no)
    skull = Skull(vertices, faces, regions["scalp"], ~(inside | regions["eyeballs"]), landmarks)
    left, right = (_eye(vertices[regions["eyeballs"] & (np.sign(vertices[:, 0]) == sign)]) for sign in (1, -1))
    masks = (regions["eyeballs"], regions["lips"], regions.get("teeth", no), regions.get("mouth_bag", no))
    columns = np.concatenate(
        [vertices, skull.hairiness(person.style)[:, None], np.stack(masks, 1).astype(np.float64)], 1
    )
    behind_chin = vertices[:, 2] < landmarks[list(JAW_ENDS), 2].mean() + _NECK_REACH
    neck = _narrowest(vertices[regions["neck"] & behind_chin], landmarks[CHIN, 1])
    faces = faces[(vertices[faces, 1] > neck[:, 1].mean() - _NECK_ENDS).all(1)]
    for _ in range(detail):
        columns, faces = subdivide(columns, faces)
    parts = [_head(columns, faces, landmarks, (left, right), person), _shoulders(neck, landmarks, person)]
    if person.style.thickness:
        parts.append(_hair(skull, person))
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    joined, triangles = (
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts)]),
    )
    normals = np.concatenate([part.normals for part in parts])
    # A part's own smooth border is no shadow: sky and light are evened out within the parts.
    sky = exposure(joined, triangles, normals, directions=_SKY_DIRECTIONS)
    lit_share = [
        smoothed(
            lit(joined, triangles, light.direction, side=_SHADOW_IMAGE, bias=0.006).astype(np.float64), triangles, 3
        )
        for light in person.lights
    ]

    def column(name: str) -> ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return PersonMesh(
        joined, triangles, normals, column("albedo"), sky, np.stack(lit_share, 1), column("hair"), column("eyeball"),
        column("skin"), column("gloss"), (left, right), float(vertices[:, 1].max()),
    )  # fmt: skip


def _head(
    columns: Float[ndarray, "n c"], faces: Int[ndarray, "f 3"], landmarks: Float[ndarray, "68 3"],
    eyes: tuple[Eye, Eye], person: RandomPerson,
) -> _Part:  # fmt: skip
    points = columns[:, :3]
    grown, eyeball, lips, teeth, mouth = columns[:, 3:].T
    seeds = person.seeds
    skin = skin_colors(points, person.skin, seeds[:4], freckles=person.freckles, pores=_PORES)
    cheeks = near(
        points, landmarks[list(OUTER_EYE_CORNERS)] * 0.4 + landmarks[list(MOUTH_CORNERS)] * 0.6, 0.022
    ) + near(points, landmarks[[NOSE_TIP, NOSE_BASE]], 0.012)
    skin = skin * (1 - cheeks[:, None] * np.array([0.0, 0.16, 0.14]))
    lips = lips * (1 + 0.15 * waves(points, 0.003, int(seeds[4])))
    color = _over(skin, person.lips, np.clip(lips, 0, 1))
    stubble = person.beard * beard_area(points, landmarks) * (0.75 + 0.25 * waves(points, 0.005, int(seeds[5])))
    color = _over(color, 0.7 * person.hair + 0.1 * person.skin, np.clip(stubble, 0, 0.9) * (1 - np.clip(lips, 0, 1)))
    brow = near(points, brow_points(landmarks), 0.0055) * (1 + 0.2 * waves(points, 0.004, int(seeds[6])))
    color = _over(color, person.brows, np.clip(1.7 * brow - 0.35, 0, 0.95))
    for eye in eyes:
        margin = np.linalg.norm(points - eye.center, axis=1) - eye.radius
        lid = np.exp(-((margin / 0.0018) ** 2)) * (points[:, 2] > eye.center[2] + 0.3 * eye.radius) * (1 - eyeball)
        color = _over(color, 0.25 * person.brows + 0.1 * person.skin, 0.8 * lid)
    if person.style.name != "bald":
        rooted = (
            grown if person.style.thickness else grown * np.clip(0.8 + 0.25 * waves(points, 0.004, int(seeds[7])), 0, 1)
        )
        color = _over(color, person.hair, 0.92 * rooted)
    color = _over(color, _TEETH, teeth)
    color = _over(color, _MOUTH, mouth)
    color = _over(color, _SCLERA, eyeball)
    clothed = _clothed(points, landmarks, person)
    color = _over(color, _cloth(points, person), clothed)
    bare = (1 - eyeball) * (1 - teeth) * (1 - mouth) * (1 - clothed)
    gloss = bare * (0.25 + 0.35 * np.clip(lips, 0, 1) + 0.25 * near(points, landmarks[NOSE_RIDGE], 0.01)) + 0.4 * teeth
    return _Part(points, faces, vertex_normals(points, faces), color, np.zeros(len(points)), eyeball, bare, gloss)


def _shoulders(neck: Float[ndarray, "n 3"], landmarks: Float[ndarray, "68 3"], person: RandomPerson) -> _Part:
    points, faces = torso(neck, person.shoulders)
    points, faces = subdivide(points, faces)
    skin = skin_colors(points, person.skin, person.seeds[:4], freckles=person.freckles, pores=_PORES)
    clothed = _clothed(points, landmarks, person)
    folds = 1 + 0.06 * waves(points * [1, 0.4, 1], 0.05, int(person.seeds[8]))
    color = _over(skin, _cloth(points, person) * folds[:, None], clothed)
    none = np.zeros(len(points))
    return _Part(points, faces, vertex_normals(points, faces), color, none, none, 1 - clothed, 0.25 * (1 - clothed))


def _hair(skull: Skull, person: RandomPerson) -> _Part:
    points, faces, normals = hair_shell(skull, person.style, int(person.seeds[9]))
    shade = 1 + 0.12 * waves(points, 0.03, int(person.seeds[10]))
    one = np.ones(len(points))
    return _Part(points, faces, normals, person.hair * shade[:, None], one, 0 * one, 0 * one, one)


def _clothed(
    points: Float[ndarray, "n 3"], landmarks: Float[ndarray, "68 3"], person: RandomPerson
) -> Float[ndarray, "n"]:
    """Where clothes lie, 0 to 1: below a line that is lower in front."""
    chin = landmarks[CHIN]
    forward = np.clip((points[:, 2] + 0.04) / 0.08, 0, 1) * np.exp(-((points[:, 0] / 0.07) ** 2))
    line = chin[1] - _NECK_BELOW_CHIN - (0.012 + person.neckline) * forward
    return np.asarray(np.clip((line - points[:, 1]) / 0.002 + 0.5, 0, 1))


def _cloth(points: Float[ndarray, "n 3"], person: RandomPerson) -> Float[ndarray, "n 3"]:
    """Plain or striped, with a woven grain."""
    bands = np.clip(6 * np.sin(2 * np.pi * points[:, 1] / 0.045) + 0.5, 0, 1) * person.stripes
    grain = 1 + 0.05 * waves(points, 0.006, int(person.seeds[11]))
    return _over(np.broadcast_to(person.cloth, points.shape), person.trim, bands) * grain[:, None]


def _over(
    below: Float[ndarray, "n 3"], above: Float[ndarray, "*n 3"], amount: Float[ndarray, "n"]
) -> Float[ndarray, "n 3"]:
    return np.asarray(below * (1 - amount[:, None]) + above * amount[:, None])


def _narrowest(neck: Float[ndarray, "n 3"], chin: float) -> Float[ndarray, "k 3"]:
    """Points around the neck where it is narrowest from side to side."""
    sections = [neck[np.abs(neck[:, 1] - chin + below) < 0.008] for below in np.arange(0.008, 0.045, 0.004)]
    return min((section for section in sections if len(section) > 8), key=lambda section: float(np.ptp(section[:, 0])))


def _eye(points: Float[ndarray, "n 3"]) -> Eye:
    """The sphere through the points (least squares)."""
    solution = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0]
    return Eye(solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3])))
