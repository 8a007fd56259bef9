"""Clothes on the bust: their colors and where they end, also where the photo does not show them."""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from instax3d.matting.clusters import k_means

from .diffusion import Spreader
from .evidence import Evidence
from .labels import unlike_skin
from .materials import border
from .scene import BUST, Scene
from .volume import smoothstep

_SMOOTHNESS = 0.05
"""Of the spread colors."""
_EDGE_SMOOTHNESS = 1.0
"""Of the share of cloth: edges are made straight over more than colors are."""
_COLLAR_TILT = 0.35
"""Slope of collars, which are higher behind than in front."""
_COLLAR = (0.17, 0.015)
"""Collars reach so far from the neck's middle; what they look like is carried round to places whose height along them
differs by at most so much, meters."""
_TURNING = (0.3, 0.1)
"""What a meter of radius, and a radian on a radius of a meter, count beside a meter of height when it is carried."""
_BESIDE = (0.6, 0.9)
"""It is taken from, and brought to, places turned from the front by at least so many radians: necklines are lower in
front."""
_COLLAR_TOP = 0.02
"""Collars that are not seen end at least so far below the chin, meters."""
_SURELY_CLOTH = 0.8
"""Share of cloth from which on it is carried."""
_CARRIED = 0.03
"""Weight of what is carried round, that of a seen color being 1."""
_HELD = 0.1
"""That of edges that are carried round or guessed."""
_SLEEVE_HELD = 10.0
"""That of the sleeves' edges, which are smooth as they are."""
_CLOSING = 20.0
"""How much surer it is that unseen places of the body are dressed than what colors they have."""
_RING = 0.004
"""Height of the rings around the neck in which seen colors are gathered, meters."""
_COLORS = 4
"""Clothes have at most so many colors..."""
_ALIKE, _RARE = 15.0, 0.08
"""...which differ by at least so much, and make up at least this share of what is seen."""
_METRIC = np.array([0.5, 1.0, 1.0])
"""What L*, a* and b* count: folds are darker."""
_FEW = 50
"""Fewer seen vertices tell one color alone, and nothing about sleeves."""
_CRISP = 6.0
"""Power to which the shares of the colors are raised where they meet."""
_ARM = (0.1, 0.12)
"""Distances from the body's middle between which arms begin, meters."""
_ISLAND = 40
"""Patches of fewer vertices are taken for mistakes."""
_PATCH = 80
"""So are those of fewer cells in the map of sleeves."""
_SIDEWAYS = 3.0
"""What a distance sideways counts beside one downwards where sleeves go on unseen."""
_HARDLY = 0.3
"""Share of what is seen of one arm below which the other one is hardly seen."""
_LIKE_SKIN = (0.4, 0.8)
"""Something counts as skin if its distance to the skin's color is less than this share of that to the cloth's: on the
chest, and on arms."""
_SLEEVE_CELL = 0.006
"""Meters; the map of sleeves has such cells."""


@dataclass(frozen=True)
class Clothes:
    """What the bust wears."""

    albedo: Float[ndarray, "b 3"]
    border: Float[ndarray, "b"]
    """Distance to the edge of the clothes in meters, positive on them."""


def usual_cloth(scene: Scene, evidence: Evidence) -> Float[ndarray, "3"]:
    """Albedo of the clothes where they are seen lowest."""
    bust = scene.part == BUST
    albedo, cloth, drop = evidence.albedo[bust], evidence.cloth[bust], scene.chin[1] - scene.vertices[bust, 1]
    shown = np.flatnonzero(evidence.weight[bust] * cloth > _SURELY_CLOTH)
    if not len(shown):
        return np.asarray(np.median(albedo[cloth > 0.5], 0))
    albedo, drop = albedo[shown], drop[shown]
    cluster = _clusters(albedo)
    lowest = drop >= np.quantile(drop, 0.7)
    main = np.bincount(cluster[lowest]).argmax()
    return np.asarray(np.median(albedo[lowest & (cluster == main)], 0))


def without_arms(
    scene: Scene, evidence: Evidence, complexion: Float[ndarray, "3"], usual: Float[ndarray, "3"]
) -> Float[ndarray, "n"]:
    """The shares of cloth but for what has rather the skin's color: bare arms are easily taken for cloth."""
    to_skin, to_cloth = (np.abs(evidence.albedo - color).sum(1) for color in (complexion, usual))
    never = unlike_skin(_lab(evidence.albedo)[None], _lab(complexion[None]))[0]
    sideways = np.abs((scene.vertices - scene.neck) @ scene.body[0])
    nearness = _LIKE_SKIN[0] + (_LIKE_SKIN[1] - _LIKE_SKIN[0]) * smoothstep(sideways, *_ARM) * ~never
    return np.where((scene.part == BUST) & (to_skin < nearness * to_cloth), 0.0, evidence.cloth)


def dress(
    scene: Scene, evidence: Evidence, complexion: Float[ndarray, "3"] | None, usual: Float[ndarray, "3"]
) -> Clothes:
    """Colors and edges for the bust's vertices, given the main color's albedo."""
    which = np.flatnonzero(scene.part == BUST)
    inside = scene.faces[scene.part[scene.faces[:, 0]] == BUST] - which[0]
    places, albedo, cloth, facing = (
        values[which] for values in (scene.vertices, evidence.albedo, evidence.cloth, evidence.facing)
    )
    weight = evidence.weight[which]
    drop = scene.chin[1] - places[:, 1]
    around_neck = np.hypot(*(places - scene.neck)[:, [0, 2]].T) < 0.08
    unseen = weight < 0.1
    neck = unseen & (drop < 0.035) & around_neck
    shown = np.flatnonzero(weight * cloth > _SURELY_CLOTH)
    sure = smoothstep(cloth, 0.6, 0.95)
    height = places[:, 1] + _COLLAR_TILT * (places - scene.neck)[:, 2]
    source, round_neck = _carried(places - scene.neck, height, weight, cloth)
    round_neck &= drop > _COLLAR_TOP
    dressed = unseen & (drop > _COLLAR_TOP) & (height < height[round_neck].max(initial=-np.inf))
    neck &= ~dressed
    covered = dressed & around_neck | unseen & ((drop > 0.06) | (drop > 0.02) & ~around_neck)
    # in front, below the photo, what it last showed goes on
    prior = np.where(covered, np.where(facing > 0, 0.0005, 0.004), 0)
    spreader = Spreader(places, inside, np.zeros(len(which), np.int64))

    cluster = _clusters(albedo[shown])
    palette = np.stack([np.median(albedo[shown][cluster == k], 0) for k in range(cluster.max(initial=0) + 1)])
    main = int(np.linalg.norm((_lab(palette) - _lab(usual[None])) * _METRIC, axis=1).argmin())
    palette[main] = usual
    away = np.linalg.norm((_lab(albedo)[:, None] - _lab(palette)) * _METRIC, axis=2)
    own = away.argmin(1)
    if complexion is not None:
        to_skin, to_cloth = np.abs(albedo - complexion).sum(1), np.abs(albedo[:, None] - palette).sum(2).min(1)
        sure = np.where(to_skin < to_cloth, 0.0, sure)
    known = weight * sure
    shares = np.eye(len(palette))[own]
    if len(palette) > 1:
        rings, told = _rings(places - scene.neck, height, known, shares)
        told &= round_neck | dressed
        values = np.where((covered & (known < 0.1))[:, None], np.eye(len(palette))[main], shares)
        values = np.where(told[:, None], rings, values)
        spread = spreader.spread(values, np.where(told, _CARRIED, known + prior), _SMOOTHNESS)
        spread = np.clip(spread, 1e-6, 1) ** _CRISP
        shares = spread / spread.sum(1, keepdims=True)
    flat = shares @ palette
    # what is left of the seen colors goes on as well, but for where two mix
    left, clean = albedo - palette[own], known * (away.min(1) < _ALIKE)
    left = np.where(round_neck[:, None], left[source], np.where(covered[:, None], 0.0, left))
    left = spreader.spread(left, np.where(round_neck, _CARRIED * clean[source], clean + prior), _SMOOTHNESS)

    sleeves, on_arm = _sleeves((places - scene.neck) @ scene.body.T, weight, cloth)
    share = np.where(round_neck, cloth[source], np.where(covered, 1.0, np.where(neck, 0.0, cloth)))
    share = np.where(unseen, on_arm * sleeves + (1 - on_arm) * share, share)
    share = _without_islands(share, inside)
    held = np.where(round_neck | neck, _HELD, weight + _CLOSING * prior)
    held = np.where(unseen & (on_arm > 0), _SLEEVE_HELD, held)
    smooth_share = spreader.spread(share[:, None], held, _EDGE_SMOOTHNESS)[:, 0]
    return Clothes(flat + left, border(places, inside, smooth_share))


def _clusters(albedo: Float[ndarray, "m 3"]) -> Int[ndarray, "m"]:
    """To which of few colors each belongs: clusters united where they are alike or rare, a single one in plain
    clothes.
    """
    if len(albedo) < _FEW:
        return np.zeros(len(albedo), np.int64)
    scaled = _lab(albedo) * _METRIC
    cluster = k_means(scaled, _COLORS, rounds=30, change=0.5, attempts=3)[1].astype(np.int64)
    while True:
        names, cluster, counts = np.unique(cluster, return_inverse=True, return_counts=True)
        if len(names) == 1:
            return cluster
        centers = np.stack([np.median(scaled[cluster == name], 0) for name in range(len(names))])
        apart = np.linalg.norm(centers[:, None] - centers, axis=2) + np.diag(np.full(len(names), np.inf))
        rarest = int(counts.argmin())
        if counts[rarest] >= _RARE * len(albedo):
            if apart.min() >= _ALIKE:
                return cluster
            rarest = int(np.unravel_index(apart.argmin(), apart.shape)[0])
        cluster = np.where(cluster == rarest, apart[rarest].argmin(), cluster)


def _lab(colors: Float[ndarray, "m 3"]) -> Float[ndarray, "m 3"]:
    lab: ndarray = cv2.cvtColor(np.clip(colors, 0, 1).astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]
    return lab.astype(np.float64)


def _rings(
    places: Float[ndarray, "b 3"],
    height: Float[ndarray, "b"],
    known: Float[ndarray, "b"],
    shares: Float[ndarray, "b k"],
) -> tuple[Float[ndarray, "b k"], Bool[ndarray, "b"]]:
    """What the sides of the neck show at each height along it, carried round behind: shares of the colors, and where
    any are known. ``places`` are relative to the neck's middle.
    """
    x, _, z = places.T
    near = (known > 0.3) & (np.abs(np.arctan2(x, z)) > _BESIDE[0]) & (np.hypot(x, z) < _COLLAR[0])
    row = ((height - height.min()) / _RING).astype(int)
    sums, counts = np.zeros((*shares.shape, 2)), np.zeros((len(shares), 2))
    for side, here in enumerate((near & (x < 0), near & (x >= 0))):
        for k in range(shares.shape[1]):
            profile = np.bincount(row[here], shares[here, k], row.max() + 1)
            sums[:, k, side] = ndimage.gaussian_filter1d(profile, 1.5)[row]
        counts[:, side] = ndimage.gaussian_filter1d(np.bincount(row[here], None, row.max() + 1).astype(float), 1.5)[row]
    to_left = smoothstep(np.arctan2(x, np.abs(z)), -1.0, 1.0)
    mixed = np.stack([1 - to_left, to_left], 1)
    total = (counts * mixed).sum(1)
    return (sums * mixed[:, None]).sum(2) / np.maximum(total, 1e-6)[:, None], total > 0.1


def _sleeves(
    local: Float[ndarray, "b 3"], weight: Float[ndarray, "b"], cloth: Float[ndarray, "b"]
) -> tuple[Float[ndarray, "b"], Float[ndarray, "b"]]:
    """Share of cloth on the arms where the photo does not show them, by what it shows of them from the front, at the
    same height or above; and how far each place belongs to an arm. ``local`` are places in the body's axes.
    """
    x, y, _ = local.T
    on_arm = smoothstep(np.abs(x), *_ARM)
    seen = (weight > 0.3) & (np.abs(x) > _ARM[0])
    if seen.sum() < _FEW:
        return np.ones(len(local)), np.zeros(len(local))
    half = int(np.abs(x).max() / _SLEEVE_CELL) + 1
    at = np.stack([(y.max() - y) / _SLEEVE_CELL, x / _SLEEVE_CELL + half])
    row, column = at.round().astype(int)
    shape = row.max() + 1, 2 * half + 1
    flat = row * shape[1] + column
    sums = np.bincount(flat[seen], (weight * cloth)[seen], shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(flat[seen], weight[seen], shape[0] * shape[1]).reshape(shape)
    # an arm that is hardly seen is dressed like the other
    columns = np.arange(shape[1]) - half
    told = [counts[:, columns * side > 0].sum() for side in (-1, 1)]
    if min(told) < _HARDLY * max(told):
        hidden = columns < 0 if told[0] < told[1] else columns > 0
        sums, counts = (np.where(hidden, cells[:, ::-1], cells) for cells in (sums, counts))
    sums, counts = (ndimage.gaussian_filter(cells, 1.5) for cells in (sums, counts))
    unknown = counts < 0.3
    nearest = ndimage.distance_transform_edt(
        unknown, sampling=(1.0, _SIDEWAYS), return_distances=False, return_indices=True
    )
    clothed = (sums > 0.5 * counts)[tuple(nearest)]
    for value in (True, False):
        piece, _ = ndimage.label(clothed == value)
        clothed ^= (np.bincount(piece.ravel()) < _PATCH)[piece] & (piece > 0)
    smooth = ndimage.gaussian_filter(clothed.astype(np.float64), 2.0, mode="nearest")
    return ndimage.map_coordinates(smooth, at, order=1, mode="nearest"), on_arm


def _without_islands(share: Float[ndarray, "b"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "b"]:
    """The share of cloth without patches of a few vertices of skin in cloth, or of cloth in skin."""
    count, clothed = len(share), share > 0.5
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[clothed[edges[:, 0]] == clothed[edges[:, 1]]]
    _, piece = connected_components(sp.coo_matrix((np.ones(len(edges)), edges.T), (count, count)), directed=False)
    return np.where(np.bincount(piece)[piece] < _ISLAND, ~clothed, share)


def _carried(
    places: Float[ndarray, "b 3"], height: Float[ndarray, "b"], weight: Float[ndarray, "b"], cloth: Float[ndarray, "b"]
) -> tuple[Int[ndarray, "b"], Bool[ndarray, "b"]]:
    """For places around the neck that the photo does not show: the seen cloth of which they get the looks, and which
    have one. Collars and rings go round at one ``height`` along the tilted neck; ``places`` are relative to its middle.
    """
    farthest, unlike = _COLLAR
    outwards, turning = _TURNING
    x, _, z = places.T
    radius, turn = np.hypot(x, z), np.arctan2(x, z)
    alike = np.c_[height, outwards * radius, turning * np.abs(turn) * np.minimum(radius, farthest)]
    seen = np.flatnonzero((weight > 0.3) & (np.abs(turn) > _BESIDE[0]))
    nowhere = np.zeros(len(places), np.int64), np.zeros(len(places), bool)
    if not len(seen):
        return nowhere
    wanted = np.flatnonzero((weight < 0.1) & (radius < farthest) & (np.abs(turn) > _BESIDE[1]))
    found = seen[cKDTree(alike[seen]).query(alike[wanted], workers=-1)[1]]
    close = np.abs(alike[found, 0] - alike[wanted, 0]) < unlike
    close &= cloth[found] > _SURELY_CLOTH
    source, which = nowhere
    source[wanted[close]], which[wanted[close]] = found[close], True
    return source, which
