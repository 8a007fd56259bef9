"""Head, bust and hair as one triangle soup; the nearer surface wins in the z-buffer, so nothing is stitched."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy.spatial import cKDTree

from instax3d.geometry.landmarks68 import CHIN
from instax3d.geometry.mesh import subdivide, vertex_normals

from .bust import fit_bust, mesh_bust
from .hair import mesh_hair
from .head import Head
from .labels import Labels
from .outline import Outline
from .thickness import hidden_ears

HEAD, BUST, HAIR_PART = 0, 1, 2
_HEAD_ENDS = 0.05
"""The head's own mesh is used down to this far below the chin, meters (by eye); the bust takes over above that."""

_MIRROR_TOLERANCE = 0.01
"""Largest distance of a vertex from the mirror image of its partner, meters: chosen by eye."""


@dataclass(frozen=True, eq=False)
class HeadScene:
    """Everything that is rendered, in the head's world (meters, y up, the face along +z)."""

    vertices: Float[ndarray, "n 3"]
    faces: Int[ndarray, "f 3"]
    normals: Float[ndarray, "n 3"]
    part: UInt8[ndarray, "n"]
    """HEAD, BUST or HAIR_PART."""
    mirror: Int[ndarray, "n"]
    """The vertex at the same place on the other side."""
    has_mirror: Bool[ndarray, "n"]
    skull: Bool[ndarray, "n"]
    """The head's scalp."""
    ears: Bool[ndarray, "n"]
    plain_skin: Bool[ndarray, "n"]
    """The face without eyes and lips."""
    chin: Float[ndarray, "3"]
    neck: Float[ndarray, "3"]
    """Middle of the neck at the height of the chin."""
    body: Float[ndarray, "3 3"]
    """Rows: the body's left, up and front in the world."""
    top: float
    """World height of the bald head's top."""


def build_scene(head: Head, outline: Outline, labels: Labels) -> HeadScene:
    """Shape the bust and, unless the head is bald, the hair, around the fitted head."""
    bust = fit_bust(head, outline)
    head = replace(head, vertices=np.where(head.skin[:, None], bust.clip_inside(head.vertices), head.vertices))
    covered_ears = np.zeros(len(head.vertices), bool)
    if not labels.bald:
        covered_ears = hidden_ears(head, outline)
        head = head.flattened(covered_ears)
    kept = head.above(head.landmarks[CHIN, 1] - _HEAD_ENDS)
    plain_skin = head.regions["face"] & ~head.regions["lips"] & ~head.regions["eyeballs"]
    masks = np.stack([head.regions["scalp"], head.regions["ears"] & ~covered_ears, plain_skin], 1)
    attributes = np.concatenate([head.vertices, head.neutral, masks], 1)
    dense, head_faces = subdivide(attributes, kept)
    pieces = [(dense[:, :3], head_faces, vertex_normals(dense[:, :3], head_faces)), mesh_bust(head, bust, outline)]
    if not labels.bald:
        vertices, faces = _concatenate([piece[:2] for piece in pieces])
        pieces.append(mesh_hair(head, covered_ears, bust, outline, head.camera.rasterize(vertices, faces).depth))
    vertices, faces = _concatenate([piece[:2] for piece in pieces])
    part = np.repeat(np.arange(len(pieces), dtype=np.uint8), [len(piece[0]) for piece in pieces])
    # the head by its neutral shape, the rest by place
    lengths, partners, start = [], [], 0
    for places in (dense[:, 3:6], *(piece[0] for piece in pieces[1:])):
        length, partner = (
            cKDTree(places).query(places * [-1, 1, 1], workers=-1) if len(places) else (np.zeros(0), np.zeros(0, int))
        )
        lengths.append(length)
        partners.append(partner + start)
        start += len(places)
    others = np.zeros(len(vertices) - len(dense), bool)
    return HeadScene(
        vertices=vertices,
        faces=faces,
        normals=np.concatenate([piece[2] for piece in pieces]),
        part=part,
        mirror=np.concatenate(partners).astype(np.int64),
        has_mirror=np.concatenate(lengths) < _MIRROR_TOLERANCE,
        skull=np.r_[dense[:, 6] > 0.5, others],
        ears=np.r_[dense[:, 7] > 0.5, others],
        plain_skin=np.r_[dense[:, 8] > 0.5, others],
        chin=head.landmarks[CHIN],
        neck=bust.origin,
        body=bust.axes,
        top=float(head.vertices[:, 1].max()),
    )


def _concatenate(meshes: list[tuple[ndarray, ndarray]]) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "f 3"]]:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    vertices = np.concatenate([vertices for vertices, _ in meshes])
    return vertices, np.concatenate([faces + start for (_, faces), start in zip(meshes, starts, strict=False)])
