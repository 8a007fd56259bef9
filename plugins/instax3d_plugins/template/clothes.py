"""Clothes on the bust: their colors and borders, also where the photo does not show them."""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from instax3d.geometry.smoothstep import smoothstep
from instax3d.matting.clusters import k_means

from .bust import COLLAR_SLOPE
from .interpolation import COLOR_SMOOTHNESS, LaplacianInterpolator
from .labels import unlike_skin
from .materials import border
from .observations import SEEN_WELL, UNSEEN, VertexObservations
from .scene import BUST, HeadScene

# Chosen by eye on the eight photos of docs/template_views.md, unless a line says otherwise. Weights are relative to a
# color that is seen well, which has 1.
_EDGE_SMOOTHNESS = 1.0
"""Of the share of cloth: edges are made straighter than colors are."""
_COLLAR = (0.17, 0.015)
"""Largest radius of collars around the neck's middle, and largest difference in height along the tilted neck over which
their colors are propagated around it, meters."""
_TURNING = (0.3, 0.1)
"""What a meter of radius, and a radian on a radius of a meter, count beside a meter of height in that propagation."""
_BESIDE = (0.6, 0.9)
"""Colors are propagated from, and to, places turned from the front by at least these, radians: necklines are lower in
front."""
_COLLAR_TOP = 0.02
"""Least drop below the chin of collars that are not seen, meters."""
_NECK_RADIUS = 0.08
"""Within this distance of the neck's middle unseen skin may be bare, meters."""
_SURELY_CLOTH = 0.8
"""Share of cloth from which on it is propagated."""
_PROPAGATED = 0.03
"""Weight of propagated colors."""
_GUESSED_EDGE, _SLEEVE_EDGE = 0.1, 10.0
"""Weights of edges that are propagated or guessed, and of the sleeves' edges, which are smooth as they are."""
_CLOSING = 20.0
"""How much surer it is that unseen places of the body are dressed than what colors they have."""
_RING = 0.004
"""Height of the rings around the neck in which seen colors are averaged, meters."""
_COLORS = 4
"""Clothes have at most this many colors..."""
_ALIKE, _RARE = 15.0, 0.08
"""...which differ by at least this, and make up at least this share of what is seen."""
_METRIC = np.array([0.5, 1.0, 1.0])
"""Weights of L*, a* and b* in differences of color: folds are darker."""
_MIN_VERTICES = 50
"""Fewer seen vertices give a single color, and nothing about sleeves."""
_CRISP = 6.0
"""Power to which the shares of the colors are raised where they meet."""
_ARM = (0.1, 0.12)
"""Distances from the body's middle between which arms begin, meters."""
_ISLAND = 40
"""Patches of fewer vertices are taken for mistakes."""
_PATCH = 80
"""So are those of fewer cells in the map of sleeves."""
_SIDEWAYS = 3.0
"""What a distance sideways counts beside one downwards where sleeves are continued unseen."""
_HARDLY = 0.3
"""Share of what is seen of one arm below which the other one is hardly seen."""
_LIKE_SKIN = (0.4, 0.8)
"""Something counts as skin if its distance to the skin's color is less than this share of that to the cloth's: on the
chest, and on arms."""
_SLEEVE_CELL = 0.006
"""Side of the cells of the map of sleeves, meters."""


@dataclass(frozen=True, eq=False)
class Clothes:
    """What the bust wears."""

    albedo: Float[ndarray, "b 3"]
    border: Float[ndarray, "b"]
    """Distance to the edge of the clothes in meters, positive on them."""


def dominant_cloth(scene: HeadScene, observations: VertexObservations) -> Float[ndarray, "3"]:
    """Albedo of the clothes where they are seen lowest."""
    bust = scene.part == BUST
    albedo, cloth, drop = observations.albedo[bust], observations.cloth[bust], scene.chin[1] - scene.vertices[bust, 1]
    seen = np.flatnonzero(observations.weight[bust] * cloth > _SURELY_CLOTH)
    if not len(seen):
        return np.asarray(np.median(albedo[cloth > 0.5], 0))
    albedo, drop = albedo[seen], drop[seen]
    cluster = _clusters(albedo)
    lowest = drop >= np.quantile(drop, 0.7)
    main = np.bincount(cluster[lowest]).argmax()
    return np.asarray(np.median(albedo[lowest & (cluster == main)], 0))


def without_arms(
    scene: HeadScene, observations: VertexObservations, complexion: Float[ndarray, "3"], dominant: Float[ndarray, "3"]
) -> Float[ndarray, "n"]:
    """The shares of cloth but for what has rather the skin's color: bare arms are easily taken for cloth."""
    to_skin, to_cloth = (np.abs(observations.albedo - color).sum(1) for color in (complexion, dominant))
    never = unlike_skin(_lab(observations.albedo)[None], _lab(complexion[None]))[0]
    sideways = np.abs((scene.vertices - scene.neck) @ scene.body[0])
    nearness = _LIKE_SKIN[0] + (_LIKE_SKIN[1] - _LIKE_SKIN[0]) * smoothstep(sideways, *_ARM) * ~never
    return np.where((scene.part == BUST) & (to_skin < nearness * to_cloth), 0.0, observations.cloth)


@dataclass(frozen=True, eq=False)
class _Guesses:
    """What is assumed about the bust's vertices that the photo does not show."""

    unseen: Bool[ndarray, "b"]
    neck: Bool[ndarray, "b"]
    """Bare neck."""
    source: Int[ndarray, "b"]
    """The seen vertex whose cloth is propagated around the neck..."""
    propagated: Bool[ndarray, "b"]
    """...to these."""
    dressed: Bool[ndarray, "b"]
    """Behind, below the height of a propagated collar."""
    covered: Bool[ndarray, "b"]
    """Under clothes, however they look."""
    prior: Float[ndarray, "b"]
    """Weight of the dominant color."""


def color_clothes(
    scene: HeadScene,
    observations: VertexObservations,
    complexion: Float[ndarray, "3"] | None,
    dominant: Float[ndarray, "3"],
) -> Clothes:
    """Colors and borders of the clothes on the bust's vertices.

    Args:
        scene: the shape.
        observations: what the photo shows of it.
        complexion: albedo of the face's skin, if known.
        dominant: albedo of the dominant cloth.
    """
    bust = np.flatnonzero(scene.part == BUST)
    faces = scene.faces[scene.part[scene.faces[:, 0]] == BUST] - bust[0]
    places, albedo, cloth, weight = (
        values[bust] for values in (scene.vertices, observations.albedo, observations.cloth, observations.weight)
    )
    from_neck = places - scene.neck
    height = places[:, 1] + COLLAR_SLOPE * from_neck[:, 2]
    guesses = _guess_unseen(from_neck, height, scene.chin[1] - places[:, 1], weight, cloth, observations.facing[bust])
    interpolator = LaplacianInterpolator(places, faces, np.zeros(len(bust), np.int64))

    palette, main = _palette(albedo[np.flatnonzero(weight * cloth > _SURELY_CLOTH)], dominant)
    known = weight * _certainty(cloth, albedo, palette, complexion)
    away = np.linalg.norm((_lab(albedo)[:, None] - _lab(palette)) * _METRIC, axis=2)
    own = away.argmin(1)
    shares = np.eye(len(palette))[own]
    if len(palette) > 1:
        shares = _spread_shares(from_neck, height, known, shares, main, guesses, interpolator)
    # the residuals of the seen colors are continued as well, but not where two colors mix
    residual, clean = albedo - palette[own], known * (away.min(1) < _ALIKE)
    residual = _spread_residual(residual, clean, guesses, interpolator)

    sleeves, on_arm = _sleeves(from_neck @ scene.body.T, weight, cloth)
    share = _spread_cloth_share(cloth, weight, sleeves, on_arm, guesses, faces, interpolator)
    return Clothes(shares @ palette + residual, border(places, faces, share))


def _guess_unseen(
    from_neck: Float[ndarray, "b 3"],
    height: Float[ndarray, "b"],
    drop: Float[ndarray, "b"],
    weight: Float[ndarray, "b"],
    cloth: Float[ndarray, "b"],
    facing: Float[ndarray, "b"],
) -> _Guesses:
    """Which unseen vertices are dressed: ``height`` is along the tilted neck, ``drop`` below the chin, meters."""
    around_neck = np.hypot(*from_neck[:, [0, 2]].T) < _NECK_RADIUS
    unseen = weight < UNSEEN
    neck = unseen & (drop < 0.035) & around_neck
    source, propagated = _propagate_around_neck(from_neck, height, weight, cloth)
    propagated &= drop > _COLLAR_TOP
    dressed = unseen & (drop > _COLLAR_TOP) & (height < height[propagated].max(initial=-np.inf))
    neck &= ~dressed
    covered = dressed & around_neck | unseen & ((drop > 0.06) | (drop > _COLLAR_TOP) & ~around_neck)
    # in front, below the photo, what it last showed continues
    prior = np.where(covered, np.where(facing > 0, 0.0005, 0.004), 0)
    return _Guesses(unseen, neck, source, propagated, dressed, covered, prior)


def _palette(seen: Float[ndarray, "m 3"], dominant: Float[ndarray, "3"]) -> tuple[Float[ndarray, "k 3"], int]:
    """The few colors of the seen cloth, and which of them is the ``dominant`` one."""
    cluster = _clusters(seen)
    palette = np.stack([np.median(seen[cluster == k], 0) for k in range(cluster.max(initial=0) + 1)])
    main = int(np.linalg.norm((_lab(palette) - _lab(dominant[None])) * _METRIC, axis=1).argmin())
    palette[main] = dominant
    return palette, main


def _certainty(
    cloth: Float[ndarray, "b"],
    albedo: Float[ndarray, "b 3"],
    palette: Float[ndarray, "k 3"],
    complexion: Float[ndarray, "3"] | None,
) -> Float[ndarray, "b"]:
    """Certainty that each vertex shows cloth, 0 to 1."""
    sure = smoothstep(cloth, 0.6, 0.95)
    if complexion is None:
        return sure
    to_skin, to_cloth = np.abs(albedo - complexion).sum(1), np.abs(albedo[:, None] - palette).sum(2).min(1)
    return np.where(to_skin < to_cloth, 0.0, sure)


def _spread_shares(
    from_neck: Float[ndarray, "b 3"],
    height: Float[ndarray, "b"],
    known: Float[ndarray, "b"],
    shares: Float[ndarray, "b k"],
    main: int,
    guesses: _Guesses,
    interpolator: LaplacianInterpolator,
) -> Float[ndarray, "b k"]:
    """Shares of the palette's colors everywhere, with crisp borders between them."""
    rings, in_ring = _rings(from_neck, height, known, shares)
    in_ring &= guesses.propagated | guesses.dressed
    values = np.where((guesses.covered & (known < UNSEEN))[:, None], np.eye(shares.shape[1])[main], shares)
    values = np.where(in_ring[:, None], rings, values)
    weights = np.where(in_ring, _PROPAGATED, known + guesses.prior)
    smooth = np.clip(interpolator.interpolate(values, weights, COLOR_SMOOTHNESS), 1e-6, 1) ** _CRISP
    return np.asarray(smooth / smooth.sum(1, keepdims=True))


def _spread_residual(
    residual: Float[ndarray, "b 3"],
    clean: Float[ndarray, "b"],
    guesses: _Guesses,
    interpolator: LaplacianInterpolator,
) -> Float[ndarray, "b 3"]:
    """The seen colors' differences from the palette everywhere; ``clean`` is their weight."""
    source, propagated = guesses.source, guesses.propagated
    values = np.where(guesses.covered[:, None], 0.0, residual)
    values = np.where(propagated[:, None], residual[source], values)
    weights = np.where(propagated, _PROPAGATED * clean[source], clean + guesses.prior)
    return interpolator.interpolate(values, weights, COLOR_SMOOTHNESS)


def _spread_cloth_share(
    cloth: Float[ndarray, "b"],
    weight: Float[ndarray, "b"],
    sleeves: Float[ndarray, "b"],
    on_arm: Float[ndarray, "b"],
    guesses: _Guesses,
    faces: Int[ndarray, "f 3"],
    interpolator: LaplacianInterpolator,
) -> Float[ndarray, "b"]:
    """Share of cloth everywhere, smooth, so that borders are straight."""
    unseen, neck, propagated = guesses.unseen, guesses.neck, guesses.propagated
    share = np.where(propagated, cloth[guesses.source], np.where(guesses.covered, 1.0, np.where(neck, 0.0, cloth)))
    share = np.where(unseen, on_arm * sleeves + (1 - on_arm) * share, share)
    share = _without_islands(share, faces)
    weights = np.where(propagated | neck, _GUESSED_EDGE, weight + _CLOSING * guesses.prior)
    weights = np.where(unseen & (on_arm > 0), _SLEEVE_EDGE, weights)
    return np.asarray(interpolator.interpolate(share[:, None], weights, _EDGE_SMOOTHNESS)[:, 0])


def _clusters(albedo: Float[ndarray, "m 3"]) -> Int[ndarray, "m"]:
    """Index of the color cluster of each albedo: clusters are merged where they are alike or rare, to a single one in
    plain clothes.
    """
    if len(albedo) < _MIN_VERTICES:
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
    """What the sides of the neck show at each height along it, propagated to its back: shares of the colors, and where
    any are known. ``places`` are relative to the neck's middle.
    """
    x, _, z = places.T
    near = (known > SEEN_WELL) & (np.abs(np.arctan2(x, z)) > _BESIDE[0]) & (np.hypot(x, z) < _COLLAR[0])
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
    """Share of cloth on the arms where the photo does not show them, from what it shows of them in front, at the same
    height or above; and how far each place belongs to an arm, 0 to 1. ``local`` are places in the body's axes.
    """
    x, y, _ = local.T
    on_arm = smoothstep(np.abs(x), *_ARM)
    seen = (weight > SEEN_WELL) & (np.abs(x) > _ARM[0])
    if seen.sum() < _MIN_VERTICES:
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
    left, right = (counts[:, columns * side > 0].sum() for side in (1, -1))
    if min(left, right) < _HARDLY * max(left, right):
        hidden = columns < 0 if right < left else columns > 0
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


def _propagate_around_neck(
    places: Float[ndarray, "b 3"], height: Float[ndarray, "b"], weight: Float[ndarray, "b"], cloth: Float[ndarray, "b"]
) -> tuple[Int[ndarray, "b"], Bool[ndarray, "b"]]:
    """For unseen places around the neck: the seen vertex whose cloth they copy, and which have one. Collars run around
    at one ``height`` along the tilted neck; ``places`` are relative to its middle.
    """
    farthest, max_offset = _COLLAR
    outwards, turning = _TURNING
    x, _, z = places.T
    radius, turn = np.hypot(x, z), np.arctan2(x, z)
    features = np.c_[height, outwards * radius, turning * np.abs(turn) * np.minimum(radius, farthest)]
    seen = np.flatnonzero((weight > SEEN_WELL) & (np.abs(turn) > _BESIDE[0]))
    source, propagated = np.zeros(len(places), np.int64), np.zeros(len(places), bool)
    if not len(seen):
        return source, propagated
    target = np.flatnonzero((weight < UNSEEN) & (radius < farthest) & (np.abs(turn) > _BESIDE[1]))
    nearest = seen[cKDTree(features[seen]).query(features[target], workers=-1)[1]]
    close = np.abs(features[nearest, 0] - features[target, 0]) < max_offset
    close &= cloth[nearest] > _SURELY_CLOTH
    source[target[close]], propagated[target[close]] = nearest[close], True
    return source, propagated
