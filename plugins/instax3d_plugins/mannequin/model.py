"""The mannequin: a parametric head, neck and bust generated from a table of numbers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from instax3d.geometry.landmarks68 import CHIN
from instax3d.headmodel import BakedHead, HeadModel, HeadParameters, joint_transforms, skin
from instax3d.plugin import PluginConfig

from .cage import Cage
from .parts import DISC, Parts, make_parts
from .regions import inside_ring, skin_regions
from .skinning import JOINTS, PARENTS, gaze_turns, joint_moves, mirror_of, skinning_weights
from .table import BARYCENTRIC, CHART, METERS, SHAPE, WEIGHT, Array, Index, MannequinTable

JAW = ("jawForward", "jawLeft", "jawOpen", "jawRight")
MIRRORED = np.array([-1.0, 1.0, 1.0])
"""Factors that mirror a position or a displacement."""


class MannequinModel(HeadModel):
    """A symmetric head of about 6,600 vertices with 60 shape components and ARKit's expressions.

    Meters at life size (the eyes' centers are 63 mm apart, the mean of adults), y up, face towards +z; the origin lies
    inside the head, between the ears. The control cage of 361 points is subdivided twice (Loop), and each vertex of the
    neutral skin has a small displacement of its own; shape components act on the cage, expressions on the cage
    subdivided once, joints by linear blend skinning.
    """

    name = "mannequin"
    joint_names = JOINTS
    expression_bounds = (0.0, 1.0)
    fitted_components = 30

    uv: Float[Tensor, "faces 3 2"]
    """Texture coordinates of each corner, in [0, 1]; the skin's chart on top, eyes and mouth in discs below it."""
    joints: Float[Tensor, "joints 3"]
    """The joints of the neutral head."""
    skinning: Float[Tensor, "vertices slots"]
    """Weights of the static bust and the joints."""
    skin_count: int
    """Vertices before this one are skin; eyelid rims, mouth bag and eyeballs follow."""

    def __init__(self, config: PluginConfig, table: MannequinTable | None = None) -> None:
        super().__init__(config)
        table = table or MannequinTable.packaged()
        cage = Cage(table.faces, table.on_midline)
        base, once, fine = cage.levels
        neutral = cage.refine(once.whole(table.cage * METERS), 1) + fine.whole(table.detail * METERS)
        parts = make_parts(neutral, fine.faces, float(table.eye_radius) * METERS)
        self.skin_count = len(neutral)

        eyes = _both_sides(table.eye_center * METERS)
        eye_moves = np.stack([_both_sides(move * SHAPE) for move in table.shape_eye])
        shape = [cage.refine(base.whole(moves * SHAPE), 0) for moves in table.shape]
        moves = _expressions(table, cage)
        correctives = [name for name in moves if "+" in name]
        expressions = tuple(dict.fromkeys(part for name in moves for part in name.split("+")))
        joints = np.vstack([table.joints * METERS, eyes])
        vertices = parts.extend(neutral, eyes)
        jaw = np.clip(cage.refine(once.whole_scalar(table.jaw_weight * WEIGHT), 1), 0, 1)

        self.faces = torch.tensor(np.vstack([fine.faces, parts.faces]))
        self.landmark_faces = torch.tensor(table.landmarks[:, :3])
        self.landmark_weights = _float(table.landmarks[:, 3:] * BARYCENTRIC)
        self.landmark_weights /= self.landmark_weights.sum(1, keepdim=True)
        self.shape_components = len(shape)
        self.expression_names = expressions
        self.mirror = torch.tensor(mirror_of(vertices, fine.mirror, parts.indices))
        chart, skin_uv = _charts(table.chart * CHART, cage)
        self.uv = _float(np.vstack([skin_uv, parts.uv]))
        self.regions = _regions(table, neutral, chart, cage, parts, len(vertices))
        self.joints = _float(joints)
        self.skinning = _float(skinning_weights(vertices, jaw, parts))
        self._neutral = _float(vertices)
        self._shape = _float(np.stack([parts.extend_moves(s, e) for s, e in zip(shape, eye_moves, strict=True)]))
        still, chin = np.zeros_like(neutral), table.landmarks[CHIN, :3]
        chin = np.r_[chin, fine.mirror[chin]]
        self._expression = _float(
            np.stack([_expression_moves(e, moves.get(e, still), parts, chin) for e in (*expressions, *correctives)])
        )
        self._pairs = torch.tensor([[expressions.index(part) for part in name.split("+")] for name in correctives])
        self._gaze = _float(gaze_turns(self.expression_names))
        self._joint_moves = _float(joint_moves(neutral, np.stack(shape), joints, eye_moves))

    def __call__(self, parameters: HeadParameters) -> Float[Tensor, "vertices 3"]:
        """Posed vertices. Differentiable."""
        return self._posed(parameters, slice(None))

    def at(self, parameters: HeadParameters, chosen: Int[Tensor, "chosen"]) -> Float[Tensor, "chosen 3"]:
        """Some of the posed vertices. Differentiable."""
        return self._posed(parameters, chosen)

    def posed_joints(self, parameters: HeadParameters) -> Float[Tensor, "joints 3"]:
        """Posed joints. Differentiable."""
        rest, pose = self._joints_at_rest(parameters), self._pose(parameters)
        rotations, shifts = joint_transforms(rest, pose, PARENTS)
        return (rotations @ rest[..., None])[..., 0] + shifts

    def _joints_at_rest(self, parameters: HeadParameters) -> Tensor:
        return self.joints + torch.einsum("k,kjc->jc", parameters.shape, self._joint_moves)

    def _pose(self, parameters: HeadParameters) -> Tensor:
        return parameters.pose + torch.einsum("k,kjc->jc", parameters.expression, self._gaze)

    def _posed(self, parameters: HeadParameters, chosen: slice | Tensor) -> Tensor:
        rest = (
            self._neutral[chosen]
            + torch.einsum("k,knc->nc", parameters.shape, self._shape[:, chosen])
            + torch.einsum("k,knc->nc", self._weights(parameters.expression), self._expression[:, chosen])
        )
        return skin(rest, self._joints_at_rest(parameters), self._pose(parameters), PARENTS, self.skinning[chosen])

    def _weights(self, expression: Tensor) -> Tensor:
        """Weights of the expressions and of the correctives, which act as far as both of their expressions do."""
        return torch.cat([expression, expression[self._pairs].amin(1)])

    def bake(self, parameters: HeadParameters) -> BakedHead:
        """A head of this shape that moves without the model."""
        count = len(self.expression_names)
        return BakedHead.of(
            self,
            self._neutral + torch.einsum("k,knc->nc", parameters.shape, self._shape),
            self._expression[:count],
            joints=self._joints_at_rest(parameters),
            correctives=self._expression[count:],
            corrected=torch.zeros(len(self._pairs), count, dtype=torch.bool).scatter(1, self._pairs, True),
            turns=self._gaze,
            parents=PARENTS,
            skinning=self.skinning,
        )


def mannequin_from(path: Path) -> MannequinModel:
    """The mannequin of another table, written by ``python -m instax3d_plugins.mannequin.design``."""
    return MannequinModel(PluginConfig(), MannequinTable.load(path))


def _float(array: Array) -> Tensor:
    return torch.tensor(array, dtype=torch.float32)


def _both_sides(left: Array) -> Array:
    return np.stack([left, left * MIRRORED])


def _expressions(table: MannequinTable, cage: Cage) -> Mapping[str, Array]:
    """Displacements of the fine skin by ARKit's names; the right one of a pair mirrors the left one."""
    _, once, fine = cage.levels
    moves_by_name = {}
    for name, begin, end in zip(table.expr_names, table.expr_start[:-1], table.expr_start[1:], strict=True):
        moves = np.zeros((len(once.mirror), 3))
        moves[table.expr_points[begin:end]] = table.expr_moves[begin:end] * METERS
        if not name.endswith("Left"):
            moves_by_name[str(name)] = cage.refine(once.whole(moves[once.half]), 1)
            continue
        moves_by_name[str(name)] = left = cage.refine(moves, 1)
        moves_by_name[f"{name.removesuffix('Left')}Right"] = left[fine.mirror] * MIRRORED
    return moves_by_name


def _expression_moves(name: str, skin: Array, parts: Parts, chin: Index) -> Array:
    """Displacements of all vertices; teeth stay with the skull, the lower ones with a moved jaw's chin."""
    moves = parts.extend_moves(skin, np.zeros((2, 3)))
    moves[parts.indices["teeth_upper"]] = 0
    moves[parts.indices["teeth_lower"]] = skin[chin].mean(0) if name in JAW else 0
    return moves


def _charts(half_chart: Array, cage: Cage) -> tuple[Array, Array]:
    """The fine skin in the left half's chart [skin, 2], and texture coordinates of its corners [faces, 3, 2].

    Per corner because the midline behind the crown is a seam: it lies at both borders of the texture.
    """
    base, _, fine = cage.levels
    corners = half_chart[np.minimum(base.faces, base.mirror[base.faces])]
    right = np.arange(len(base.faces)) >= len(base.faces) // 2
    for _ in cage.steps:
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))
        corners = np.concatenate([np.stack(quarter, 1) for quarter in quarters])
        right = np.tile(right, 4)
    chart = np.zeros((len(fine.mirror), 2))
    chart[fine.faces] = corners
    uv = np.where(right[:, None, None], corners * [-1, 1], corners)
    low, high = uv.min((0, 1)), uv.max((0, 1))
    below = 2 * DISC + 0.01
    return chart, (uv - low) / (high - low) * [1, 1 - below] + [0, below]


def _regions(
    table: MannequinTable, neutral: Array, chart: Array, cage: Cage, parts: Parts, count: int
) -> Mapping[str, Bool[Tensor, "vertices"]]:
    """Masks over all vertices. Rims count as face and eyes, the bust's end as neck; what else is added is named."""
    half_chart = table.chart * CHART
    on_skin = dict(skin_regions(neutral, chart, table.ear * CHART))
    for name, ring in (("eyes", table.eye), ("lips", table.lips), ("nostrils", table.nostril)):
        on_skin[name] = inside_ring(ring, half_chart, cage)
    regions = {name: np.r_[mask, np.zeros(count - len(mask), bool)] for name, mask in on_skin.items()}
    for rim in ("eye_left_rim", "eye_right_rim"):
        for name in ("face", "eyes"):
            regions[name][parts.indices[rim]] = True
    regions["eyeballs"] = np.zeros(count, bool)
    regions["eyeballs"][np.r_[parts.indices["eyeball_left"], parts.indices["eyeball_right"]]] = True
    for name, of in (("mouth_bag", ["mouth_bag"]), ("teeth", ["teeth_upper", "teeth_lower"]), ("bust", ["bust"])):
        regions[name] = np.zeros(count, bool)
        regions[name][np.concatenate([parts.indices[part] for part in of])] = True
    regions["neck"] |= regions["bust"]
    return {name: torch.tensor(mask) for name, mask in regions.items()}
