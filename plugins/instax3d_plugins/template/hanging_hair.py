"""Hair that hangs: how wide and how far down the photo shows it, and the shape that hangs from the head."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import ndimage

from instax3d.geometry.landmarks68 import CHIN
from instax3d.geometry.sample_image import sample
from instax3d.geometry.smoothstep import smoothstep

from .bust import Bust
from .head import Head
from .labels import HAIR
from .outline import Outline
from .volume import VoxelGrid

# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise.
TURNED = 12.0
"""Degrees from which on a turned face hides where the hair beside it begins and ends."""
SHEET = 0.012
"""Thickness of hair lying on the back or on the chest, meters."""
_HANGING = -0.02
"""Hair that reaches lower than this, relative to the chin (negative: above it), also hangs down behind, meters."""
_DRAWN_IN = 0.12
"""Hanging hair narrows by this share of the height it hangs, or widens where the photo shows more of it..."""
_MOST_SPREAD = 0.015
"""...by at most this, meters: behind it the photo shows nothing."""
_SPREADING = 0.1
"""Hanging hair widens by at most this share of the height it hangs."""
_THINNING = 0.02
"""Hair thins out over about this length at its end, meters."""
_LONGEST = 0.22
"""Long hair ends at most this far below the chin, meters."""
_TAPER = 0.35
"""Share by which hair has become narrower at its end."""
_HEM = 0.035
"""On the back, hair ends this much higher at its sides than in the middle, meters."""
_SHOULDER = 0.06
"""Drop of the shoulders beside the neck below the chin, meters: the generic bust's (bust.py)."""
_NAPE = 0.065
"""Half width of the hair that hangs behind the neck alone, meters."""


@dataclass(frozen=True, eq=False)
class HangingHair:
    """Hair below the ears."""

    drop: Float[ndarray, "rows"]
    """Below the chin, meters."""
    left: Float[ndarray, "rows"]
    right: Float[ndarray, "rows"]
    """Reach to both sides of the neck's middle."""
    ends: tuple[float, float]
    """World heights where the hair ends on the left and on the right."""

    @property
    def exists(self) -> bool:
        """Whether any hair hangs below the ears."""
        return bool(len(self.drop))

    def reach(self, points: Float[ndarray, "n 3"], bust: Bust) -> Float[ndarray, "n"]:
        """How far sideways the hair reaches at the height, and on the side, of each point."""
        drop = bust.origin[1] - points[:, 1]
        on_left = points[:, 0] >= bust.origin[0]
        return np.asarray(
            np.where(on_left, np.interp(drop, self.drop, self.left), np.interp(drop, self.drop, self.right))
        )

    def end(self, points: Float[ndarray, "n 3"], bust: Bust) -> Float[ndarray, "n"]:
        """World height where the hair ends in front, on the side of each point."""
        return np.where(points[:, 0] >= bust.origin[0], *self.ends)

    @property
    def back(self) -> float:
        """World height where the hair ends behind."""
        return min(self.ends)

    def narrowed(self, points: Float[ndarray, "n 3"], bust: Bust) -> Float[ndarray, "n"]:
        """The reach, drawn in towards the hair's end."""
        fallen = np.clip((bust.origin[1] - points[:, 1]) / max(bust.origin[1] - self.back, 0.01), 0, 1)
        return np.asarray(self.reach(points, bust) * (1 - _TAPER * fallen**2))


def measure_hanging_hair(head: Head, bust: Bust, outline: Outline) -> HangingHair:
    """How wide and how far down the hair hangs on both sides in the photo."""
    chin = float(head.landmarks[CHIN, 1])
    drop = np.arange(-0.06, _LONGEST + 0.004, 0.004)
    across = np.arange(0.0, 0.20, 0.002)
    inside_photo = outline.valid.astype(np.float32)
    soft = ((outline.part == HAIR) & (outline.person > 0)).astype(np.float32)
    reaches, ends = [], []
    for sign in (1.0, -1.0):
        grid = bust.origin + sign * across[None, :, None] * bust.axes[0] - drop[:, None, None] * np.array([0, 1.0, 0])
        at = head.camera.project(grid.reshape(-1, 3))
        valid = sample(inside_photo, at).reshape(len(drop), -1) > 0.5
        hair = (sample(soft, at).reshape(len(drop), -1) > 0.5) & valid
        rows = hair.sum(1) >= 4
        # from the ears down without a gap
        last = len(drop) if rows.all() else int(np.argmin(rows))
        end = float(drop[last - 1]) if last else float(drop[0])
        if last and not valid[min(last, len(drop) - 1)].any():
            end = min(end + 0.08, _LONGEST)  # the photo ends before the hair
        reach = across[len(across) - 1 - hair[:, ::-1].argmax(1)] * hair.any(1)
        reaches.append(np.where(np.arange(len(drop)) < last, reach, 0.0))
        ends.append(end)
    if abs(head.camera.azimuth) > TURNED:  # the far side hides behind the face
        ends = [max(ends)] * 2
        reaches = [np.maximum(reach, 0.8 * other) for reach, other in zip(reaches, reaches[::-1], strict=True)]
    if max(ends) < _HANGING:
        none = np.zeros(0)
        return HangingHair(none, none, none, (chin, chin))
    # where the photo ends, continue as wide as above
    filled = [np.maximum(np.maximum.accumulate(0.9 * reach), reach) for reach in reaches]
    left, right = (ndimage.gaussian_filter1d(reach, 2.5, mode="nearest") for reach in filled)
    return HangingHair(drop, left, right, (chin - ends[0], chin - ends[1]))


def back_sheet(
    points: Float[ndarray, "n 3"], inside: Float[ndarray, "n"], bust: Bust, hanging: HangingHair
) -> Float[ndarray, "n"]:
    """Field of a sheet of hair on nape, shoulders and back that ends in a curve; ``inside`` is the bust's field."""
    sideways = np.abs(points[:, 0] - bust.origin[0])
    # what ends above the shoulder on one side does not lie on it
    short = np.where(points[:, 0] >= bust.origin[0], *(end > bust.origin[1] - _SHOULDER for end in hanging.ends))
    width = np.where(short, _NAPE, np.maximum(hanging.narrowed(points, bust), _NAPE))
    sheet = np.minimum(np.minimum(SHEET + inside, 2.5 * SHEET - inside), 0.5 * (width - sideways))
    sheet = np.minimum(sheet, 0.3 * (bust.origin[2] - points[:, 2]))
    return rounded(sheet, hanging.back + _HEM * (sideways / width) ** 2, points[:, 1])


def hanging_field(
    grid: VoxelGrid,
    layer: Float[ndarray, "x y z"],
    visible: Float[ndarray, "x y z"],
    head: Head,
    bust: Bust,
    hanging: HangingHair,
) -> Float[ndarray, "x y z"]:
    """Field of hair that hangs from wherever it stands off the head, widened to what the photo shows.

    ``visible`` is the distance into the hair's outline in the photo, as far as that reaches.
    """
    points = grid.points.reshape(*grid.shape, 3)
    x, y = points[..., 0], points[..., 1]
    drawn_in = _spread_downwards(layer, y, -_DRAWN_IN)
    drape = np.maximum(
        drawn_in, np.minimum(np.minimum(_spread_downwards(layer, y, _DRAWN_IN), drawn_in + _MOST_SPREAD), visible)
    )

    ears = head.vertices[head.regions["ears"], 1]
    row = int(np.clip(round((ears.min() - grid.low[1]) / grid.step), 0, grid.shape[1] - 1))
    center, columns = bust.origin[0], x[:, 0, 0]
    filled = columns[(drape[:, row] > 0).any(1)]
    if not len(filled):
        return np.full(grid.shape, -0.05)
    on_left = x >= center
    own = np.where(on_left, max(filled.max() - center, 0.05), max(center - filled.min(), 0.05))
    reach = hanging.reach(points.reshape(-1, 3), bust).reshape(grid.shape)
    stretch = np.clip(np.where(reach > 0.03, reach, own) / own, 0.8, 1.4)
    # from the middle of the ears on, so that it joins without a step
    stretch = 1 + (stretch - 1) * smoothstep(np.median(ears) - y, 0.0, 0.1)
    at = (center + (x - center) / stretch - grid.low[0]) / grid.step
    below = np.clip(at.astype(int), 0, grid.shape[0] - 2)
    part = np.clip(at - below, 0, 1)
    stretched = (1 - part) * np.take_along_axis(drape, below, 0) + part * np.take_along_axis(drape, below + 1, 0)
    return rounded(stretched, hanging.back, y)


def _spread_downwards(
    layer: Float[ndarray, "x y z"], y: Float[ndarray, "x y z"], spread: float
) -> Float[ndarray, "x y z"]:
    """The maximum of a layer above each node, raised by ``spread`` for each meter that it lies higher."""
    # the lowest row comes first
    return np.asarray(np.maximum.accumulate((layer + spread * y)[:, ::-1], axis=1)[:, ::-1] - spread * y)


def remove_unsupported(field: Float[ndarray, "x y z"], row: int, step: float) -> Float[ndarray, "x y z"]:
    """The field without what, below a row, has no hair above it: photos show nothing below their edge.

    Cells are ``step`` meters high.
    """
    field = field.copy()
    for y in range(min(row, field.shape[1] - 2), -1, -1):
        np.minimum(field[:, y], field[:, y + 1] + _SPREADING * step, out=field[:, y])
    return field


def rounded(
    field: Float[ndarray, "*n"], end: Float[ndarray, "*n"] | float, y: Float[ndarray, "*n"]
) -> Float[ndarray, "*n"]:
    """The field above the height where the hair ends, thinning out towards it (polynomial smooth minimum, Quilez)."""
    above = 0.6 * (y - end)
    mix = np.clip(0.5 + 0.5 * (above - field) / _THINNING, 0, 1)
    return np.asarray(above * (1 - mix) + field * mix - _THINNING * mix * (1 - mix))
