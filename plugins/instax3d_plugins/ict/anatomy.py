"""Parts and joints of ICT-FaceKit's neutral head, which the model itself does not name. Centimeters, its axes."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from skimage.measure import points_in_poly

from instax3d.geometry.landmarks68 import CHIN, LIPS, OUTER_LIPS
from instax3d.heads.facekit import LANDMARKS, SKIN, FaceKit

JOINTS = ("neck", "jaw", "eye_left", "eye_right")
PARENTS = (-1, 0, 0, 0)
"""The parent of each joint; -1 is the static bust."""

NECK_LINE = np.array([[-10, -6], [-4, -6], [1, -6], [4.5, -8.2], [9, -9], [12, -9]], float)
"""(z, y): below it is neck: nape, behind the jaw's angle, under jaw and chin."""
HAIRLINE = np.array([[-10, -6], [-4, -6], [-1, -2.5], [2.5, 4], [4.5, 9], [7, 11], [9.5, 11.8], [12, 12]], float)
"""(z, y): above it is scalp: nape, behind the ear, temple, forehead."""
EARS = ((6.4, 10.0), (-2.6, 4.1), (-2.0, 2.4))
"""Ranges of |x|, y and z."""
NECK_RISE = (-14.0, -6.5)
"""The head follows the neck's joint by a share that grows from 0 to 1 between these heights of y + 0.3 z."""
NECK_JOINT = (0.0, -9.0, -2.0)
JAW_JOINT = (0.0, 0.5, 2.0)
"""Midway between the two jaw joints, in front of the ears."""
CHIN_VERTEX = LANDMARKS[CHIN]
FOLLOWED = 60
"""Number of vertices nearest to a joint whose mean displacement moves it with the shape."""


def regions(kit: FaceKit) -> Mapping[str, Bool[ndarray, "n"]]:
    """Parts by rules on the neutral head: face, scalp, ears, neck (bust included), eyeballs, lips."""
    x, y, z = kit.neutral.T
    skin = np.arange(len(kit.neutral)) < SKIN
    ears = skin.copy()
    for values, (low, high) in zip((np.abs(x), y, z), EARS, strict=True):
        ears &= (values > low) & (values < high)
    neck = skin & ~ears & (y < np.interp(z, *NECK_LINE.T))
    scalp = skin & ~ears & ~neck & (y > np.interp(z, *HAIRLINE.T))
    outer, lips = kit.neutral[LANDMARKS[OUTER_LIPS]], kit.neutral[LANDMARKS[LIPS]]
    near = np.linalg.norm(kit.neutral[:, None] - lips, axis=2).min(1) < 1.0
    return {
        "face": skin & ~(ears | neck | scalp),
        "scalp": scalp,
        "ears": ears,
        "neck": neck,
        "eyeballs": ~skin,
        "lips": skin & near & points_in_poly(kit.neutral[:, :2], outer[:, :2]),
    }


def joints(kit: FaceKit) -> tuple[Float[ndarray, "4 3"], Float[ndarray, "components 4 3"]]:
    """Where the joints rest, and how each identity moves them: eyes with the eyeballs, the others with the skin."""
    left = (np.arange(len(kit.neutral)) >= SKIN) & (kit.neutral[:, 0] > 0)
    right = (np.arange(len(kit.neutral)) >= SKIN) & (kit.neutral[:, 0] < 0)
    rest, moves = [], []
    for place in (NECK_JOINT, JAW_JOINT):
        nearest = np.argsort(np.linalg.norm(np.abs(kit.neutral[:SKIN, 1:]) - np.abs(place[1:]), axis=1))[:FOLLOWED]
        rest.append(np.array(place))
        moves.append(kit.identities[:, nearest].mean(1) * [0, 1, 1])
    for ball in (left, right):
        rest.append((kit.neutral[ball].min(0) + kit.neutral[ball].max(0)) / 2 - [0, 0, _CORNEA])
        moves.append(kit.identities[:, ball].mean(1))
    return np.stack(rest), np.stack(moves, 1)


_CORNEA = 0.1
"""The eyeball's bounding box extends this much farther forward than the sphere about which it rotates."""


def skinning_weights(kit: FaceKit) -> Float[ndarray, "n 5"]:
    """Of the static bust and the joints. Those of the jaw follow the expression jawOpen."""
    x, y, z = kit.neutral.T
    skin = np.arange(len(x)) < SKIN
    low, high = NECK_RISE
    rise = np.clip((y + 0.3 * z - low) / (high - low), 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    opened = np.linalg.norm(kit.expressions[kit.expression_names.index("jawOpen")], axis=1)
    jaw = np.where(skin, np.clip(opened / opened[CHIN_VERTEX], 0, 1), 0)
    weights = np.zeros((len(x), 5))
    weights[:, 0] = 1 - rise
    weights[:, 2] = jaw * rise
    weights[:, 1] = (1 - jaw) * rise
    weights[~skin] = 0
    weights[~skin & (x > 0), 3] = 1
    weights[~skin & (x < 0), 4] = 1
    return weights
