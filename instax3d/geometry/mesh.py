"""Small helpers for triangle meshes held in numpy arrays."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def vertex_normals(vertices: Float[ndarray, "n 3"], faces: Int[ndarray, "f 3"]) -> Float[ndarray, "n 3"]:
    """Unit normals, area-weighted over the faces around each vertex; zero for a vertex without a face."""
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(face_normals[:, k], 3), len(vertices)) for k in range(3)], 1
    )
    unit: ndarray = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return unit


def unique_edges(faces: Int[ndarray, "f 3"]) -> tuple[Int[ndarray, "e 2"], Int[ndarray, "f 3"]]:
    """Every edge once (smaller index first), and for each face the indices of its edges 0-1, 1-2 and 2-0."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    # one number an edge: sorting numbers is much faster than sorting rows
    keys, inverse = np.unique(edges[:, 0].astype(np.int64) * (faces.max() + 1) + edges[:, 1], return_inverse=True)
    return np.stack(np.divmod(keys, faces.max() + 1), 1), inverse.reshape(-1, 3)


def subdivide(
    vertices: Float[ndarray, "n c"], faces: Int[ndarray, "f 3"]
) -> tuple[Float[ndarray, "m c"], Int[ndarray, "4*f 3"]]:
    """Split each triangle in four at the midpoints of its edges; ``vertices`` may have further columns.

    The first n rows of the result are the original vertices.
    """
    edges, of_face = unique_edges(faces)
    middle = of_face + len(vertices)
    a, b, c = faces.T
    ab, bc, ca = middle.T
    corners = [np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
    return np.concatenate([vertices, vertices[edges].mean(1)]), np.concatenate(corners)
