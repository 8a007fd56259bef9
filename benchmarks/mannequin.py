"""How far the mannequin is from ICT-FaceKit and from a head scan (mm, for a head 25 cm high), and what crosses.

    python benchmarks/mannequin.py DATA_FOLDER [--table table.npz]

The folder holds ``ict_facekit`` and ``head_scan/mesh.npz``. Distances go from the vertices of the reference to the
closest point of the mannequin, both ways where that is said. The part of the reference's face around the nostrils is
left out: the mannequin's are shallow on purpose.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from instax3d_plugins.mannequin.crossings import crossing_pairs
from instax3d_plugins.mannequin.design.build import EYE_DISTANCE
from instax3d_plugins.mannequin.design.half import without_linings
from instax3d_plugins.mannequin.design.joints import eyeball
from instax3d_plugins.mannequin.design.reference import FACE, Reference
from instax3d_plugins.mannequin.design.surface import ClosestPointMesh, vertex_normals
from instax3d_plugins.mannequin.model import MannequinModel, mannequin_from
from instax3d_plugins.mannequin.table import Array, Index
from scipy.sparse.csgraph import connected_components

from instax3d.plugin import PluginConfig

HEAD = 0.25
IDENTITIES, COMPONENTS, SEED = 20, 30, 7
PAIRS = (("eyeBlinkLeft", "eyeSquintLeft"), ("eyeBlinkLeft", "eyeLookDownLeft"), ("jawOpen", "mouthClose"))
PAIRS += (("jawOpen", "mouthFunnel"), ("mouthPucker", "jawOpen"), ("mouthSmileLeft", "mouthSmileRight"))
SCAN_EXPRESSIONS = ("eyeBlinkLeft", "eyeBlinkRight")
"""Fitted with the shape: the scanned person's eyes are closed."""
RIDGE = 1e-3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    begin = time.process_time()
    model = MannequinModel(PluginConfig()) if options.table is None else mannequin_from(options.table)
    print(f"made in {time.process_time() - begin:.2f} s of processor time; {model.skin_count} vertices of skin")
    print_crossings(model)
    print_eyeballs(model)
    print_reference(model, Reference.load(options.data / "ict_facekit"))
    print_scan(model, options.data / "head_scan" / "mesh.npz")


def posed(model: MannequinModel, shape: Array | None = None, **expression: float) -> Array:
    """[n, 3] vertices for some shape weights and named expressions."""
    rest = model.neutral()
    weights, moved = rest.shape.clone(), rest.expression.clone()
    if shape is not None:
        weights[: len(shape)] = torch.tensor(shape, dtype=torch.float32)
    for name, weight in expression.items():
        moved[model.expression_names.index(name)] = weight
    return np.asarray(model(replace(rest, shape=weights, expression=moved)).double().numpy())


def random_shapes(model: MannequinModel) -> Array:
    """[IDENTITIES, components]."""
    return np.random.default_rng(SEED).normal(size=(IDENTITIES, model.shape_components))


def lined_faces(model: MannequinModel) -> Index:
    """Triangles of skin, lid rims and mouth bag: all but eyeballs, teeth and the bust's end."""
    kept = torch.ones(len(model.faces), dtype=torch.bool)
    for name in ("eyeballs", "teeth", "bust"):
        kept &= ~model.regions[name][model.faces].any(1)
    return np.asarray(model.faces[kept].numpy())


def skin_faces(model: MannequinModel) -> Index:
    """Triangles of the skin."""
    return np.asarray(model.faces[(model.faces < model.skin_count).all(1)].numpy())


def print_crossings(model: MannequinModel) -> None:
    """Pairs of crossing skin triangles."""
    faces = skin_faces(model)

    def count(vertices: Array) -> int:
        return len(crossing_pairs(vertices, faces))

    print("crossing pairs: neutral", count(posed(model)))
    found = {name: count(posed(model, **{name: 1.0})) for name in model.expression_names}
    print("  expressions alone at 1:", sum(found.values()), {name: n for name, n in found.items() if n})
    shapes = random_shapes(model)
    print(f"  {IDENTITIES} random identities:", [count(posed(model, shape)) for shape in shapes])
    print(
        "  pairs of expressions:", {"+".join(pair): count(posed(model, **dict.fromkeys(pair, 1.0))) for pair in PAIRS}
    )
    for name in ("eyeBlinkLeft", "mouthPucker"):
        print(f"  random identities with {name}:", [count(posed(model, shape, **{name: 1.0})) for shape in shapes])


def print_eyeballs(model: MannequinModel) -> None:
    """How deep the skin goes into the eyeballs."""
    balls = [model.regions["eyeballs"].numpy() & (side * model(model.neutral()).numpy()[:, 0] > 0) for side in (1, -1)]

    def depth(vertices: Array) -> float:
        deepest = 0.0
        for ball in balls:
            center = vertices[ball].mean(0)
            points = vertices[ball]
            center = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0][:3]
            radius = np.linalg.norm(points - center, axis=1).mean()
            deepest = max(deepest, float(radius - np.linalg.norm(vertices[: model.skin_count] - center, axis=1).min()))
        return 1000 * deepest

    found = {name: depth(posed(model, **{name: 1.0})) for name in model.expression_names}
    worst = max(found, key=lambda name: found[name])
    print(
        f"skin inside eyeballs, mm: neutral {depth(posed(model)):.2f}, worst expression {worst} {found[worst]:.2f}",
        end="",
    )
    print(f", worst of {IDENTITIES} identities {max(depth(posed(model, s)) for s in random_shapes(model)):.2f}")


def print_reference(model: MannequinModel, reference: Reference) -> None:
    """Distances to the neutral and to random identities of the model that the table was measured on."""
    faces, neutral = skin_faces(model), posed(model)
    meters = EYE_DISTANCE / 100 / (2 * eyeball(reference).center[0])
    target = reference.skin * meters
    millimeters = 1000 * HEAD / (target[:, 1].max() - target[CHIN, 1])
    x, y, z = reference.skin.T
    face = (np.arange(len(target)) < FACE) & ~((np.abs(x) < 1.7) & (np.abs(y + 0.3) < 0.9) & (z > 9.5))
    inner = lining(reference)
    distance = ClosestPointMesh(neutral[: model.skin_count], faces).closest(target)[1] * millimeters
    back = ClosestPointMesh(target, reference.faces).closest(neutral[: model.skin_count])[1] * millimeters
    print(
        f"to the neutral: all {line(distance)}; face {line(distance[face])}; without linings {line(distance[~inner])}"
    )
    print(f"  from the mannequin: {line(back)}")
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(IDENTITIES):
        weights = rng.normal(size=len(reference.identities))
        target = (reference.skin + np.tensordot(weights, reference.identities[:, : len(x)], 1)) * meters
        shape = fitted(model, target, reference.faces, COMPONENTS)[0]
        found.append(ClosestPointMesh(posed(model, shape)[: model.skin_count], faces).closest(target)[1] * millimeters)
    distances = np.stack(found)
    print(
        f"to {IDENTITIES} identities, {COMPONENTS} components fitted: face {line(distances[:, face].ravel())}", end=""
    )
    print(
        f"; face without linings {line(distances[:, face & ~inner].ravel())}; rest {line(distances[:, ~face].ravel())}"
    )


def print_scan(model: MannequinModel, path: Path) -> None:
    """Distances to a scan of which the table knows nothing."""
    with np.load(path) as mesh:
        vertices, faces = mesh["vertices"].astype(float), mesh["faces"].astype(np.int64)
    beside = sp.coo_matrix((np.ones(faces.size), (faces.ravel(), np.roll(faces, 1, 1).ravel())), (len(vertices),) * 2)
    part = connected_components(beside, directed=False)[1]
    skin = part == np.bincount(part).argmax()
    faces, vertices = (np.cumsum(skin) - 1)[faces[skin[faces].all(1)]], vertices[skin]
    middle = vertices[(np.abs(vertices[:, 0]) < 0.1) & (vertices[:, 1] > 0.3)]
    scale, shift = 0.186, np.zeros(3)
    shift[1] = posed(model)[:, 1].max() - scale * vertices[:, 1].max()
    shift[2] = posed(model)[: model.skin_count, 2].max() - scale * middle[:, 2].max()
    start = scale * vertices + shift
    _, start = fitted(model, start, faces, 1, move=True, rounds=15)
    for components in (COMPONENTS, model.shape_components):
        shape, placed = fitted(model, start, faces, components, move=True, rounds=25, expressions=SCAN_EXPRESSIONS)
        blink = dict(zip(SCAN_EXPRESSIONS, shape[components:], strict=True))
        fit = posed(model, shape[:components], **blink)
        chin = model.landmarks(torch.tensor(posed(model, shape[:components]), dtype=torch.float32))[8, 1]
        millimeters = 1000 * HEAD / (placed[:, 1].max() - float(chin))
        above = placed[:, 1] > MID_NECK
        skin_surface = ClosestPointMesh(fit[: model.skin_count], skin_faces(model))
        distance, carrier = (found[above] for found in skin_surface.closest(placed)[1:])
        distance *= millimeters
        whole = ClosestPointMesh(fit, lined_faces(model)).closest(placed[above])[1] * millimeters
        own = (fit[:, 1] > MID_NECK)[: model.skin_count] & ~model.regions["nostrils"].numpy()[: model.skin_count]
        back = ClosestPointMesh(placed, faces).closest(fit[: model.skin_count][own])[1] * millimeters
        print(f"to the scan above mid-neck, {components} components and closed eyes fitted: {line(distance)}")
        print(f"  to skin, lid rims and mouth bag: {line(whole)}; from the mannequin: {line(back)}")
        weights = shape[:components]
        print(f"  weights' rms {np.sqrt((weights**2).mean()):.2f}, largest {np.abs(weights).max():.2f}", end="")
        for name, region in model.regions.items():
            here = region.numpy()[skin_faces(model)[carrier]].any(1)
            if here.any():
                print(f"; {name} {distance[here].mean():.2f}", end="")
        mirrored = ClosestPointMesh(placed, faces).closest(placed[above] * MIRRORED)[1] * millimeters
        print(f"\n  the scan to its own mirror image: {line(mirrored)}")


CHIN = 966
"""Vertex of the reference's chin: the ninth landmark."""
MID_NECK = -0.093
"""Meters."""
MIRRORED = np.array([-1.0, 1.0, 1.0])


def lining(reference: Reference) -> Array:
    """Which vertices of the reference belong to the margins of the lids and the inner side of the lips."""
    inner = np.ones(len(reference.skin), bool)
    inner[without_linings(reference.skin, reference.faces)] = False
    return inner


def fitted(
    model: MannequinModel,
    target: Array,
    faces: Index,
    components: int,
    *,
    move: bool = False,
    rounds: int = 8,
    expressions: Sequence[str] = (),
) -> tuple[Array, Array]:
    """Weights of the first components (and expressions) by closest points, and the target.

    With ``move`` the target is moved by a similarity and points are matched both ways, but for the farthest.
    """
    kept = np.flatnonzero(~model.regions["nostrils"].numpy()[: model.skin_count])
    whole_neutral = posed(model)[: model.skin_count]
    if move:
        kept = kept[whole_neutral[kept, 1] > MID_NECK]
    states = [posed(model, one) for one in np.eye(components)] + [posed(model, **{name: 1.0}) for name in expressions]
    whole_basis = np.stack(states)[:, : model.skin_count] - whole_neutral
    neutral, basis, weights = whole_neutral[kept], whole_basis[:, kept], np.zeros(len(states))
    all_faces = skin_faces(model)
    for _ in range(rounds):
        surface = ClosestPointMesh(target, faces)
        named = dict(zip(expressions, weights[components:], strict=True))
        whole = posed(model, weights[:components], **named)[: model.skin_count]
        current = whole[kept]
        closest, distance, _ = surface.closest(current)
        normals = surface.normals(current)
        facing = (normals * vertex_normals(whole, all_faces)[kept]).sum(1) > 0.4
        near = facing & (distance < max(0.006, np.percentile(distance, 80))) if move else facing
        moves, start, closest, current, normals = (
            basis[:, near],
            neutral[near],
            closest[near],
            current[near],
            normals[near],
        )
        if move:
            own = ClosestPointMesh(whole, all_faces)
            wanted = target[:, 1] > MID_NECK
            points, towards = target[wanted], vertex_normals(target, faces)[wanted]
            places, far, _ = own.closest(points)
            normal = np.nan_to_num(own.normals(points))
            matched = ((normal * towards).sum(1) > 0.4) & (far < max(0.008, np.percentile(far, 95)))
            corners, shares = own.barycentric(points[matched])
            moves = np.concatenate([moves, np.einsum("nvkc,vk->nvc", whole_basis[:, corners], shares)], 1)
            start = np.vstack([start, np.einsum("vkc,vk->vc", whole_neutral[corners], shares)])
            closest, current = np.vstack([closest, points[matched]]), np.vstack([current, places[matched]])
            # these normals are the mannequin's own, which the similarity does not turn
            own_normals = normal[matched]
            a, b = closest, current
            u, s, vt = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
            sign = np.diag([1, 1, np.linalg.det(u @ vt)])
            rotation = u @ sign @ vt
            scale = (s * np.diag(sign)).sum() / ((a - a.mean(0)) ** 2).sum()
            target = scale * (target - a.mean(0)) @ rotation.T + b.mean(0)
            closest = scale * (closest - a.mean(0)) @ rotation.T + b.mean(0)
            normals = np.vstack([normals @ rotation.T, own_normals])
        if components == 1:
            continue
        along = np.einsum("knc,nc->kn", moves, normals)
        rest = closest - start
        flat = moves.reshape(len(moves), -1)
        system = along @ along.T + 0.05 * flat @ flat.T
        right = along @ (rest * normals).sum(1) + 0.05 * flat @ rest.ravel()
        ridge = RIDGE * len(rest) * 1e-6 * np.eye(len(moves))
        weights = np.linalg.solve(system + ridge, right)
        weights[components:] = weights[components:].clip(0, 1)
    return weights, target


def line(distance: Array) -> str:
    """Mean, 95 % and largest."""
    return f"{distance.mean():.2f} (95 % {np.percentile(distance, 95):.2f}, max {distance.max():.1f})"


if __name__ == "__main__":
    main()
