"""Mesh helpers on an octahedron."""

import numpy as np

from instax3d.geometry.mesh import subdivide, unique_edges, vertex_normals

VERTICES = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
FACES = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])


def test_normals_point_outwards():
    assert np.allclose(vertex_normals(VERTICES, FACES), VERTICES)


def test_every_edge_is_listed_once():
    edges, of_face = unique_edges(FACES)
    assert len(edges) == 12
    assert len({tuple(edge) for edge in edges.tolist()}) == 12
    for corner in range(3):
        ends = np.sort(FACES[:, [corner, (corner + 1) % 3]], axis=1)
        assert (edges[of_face[:, corner]] == ends).all()


def test_subdivision_keeps_the_surface_and_its_winding():
    vertices, faces = subdivide(VERTICES, FACES)
    assert vertices.shape == (6 + 12, 3)
    assert (vertices[:6] == VERTICES).all()

    def vector_area(v, f):
        return np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]])

    # the four children of a face share its direction and make up its area
    children = vector_area(vertices, faces).reshape(4, 8, 3).sum(0)
    assert np.allclose(children, vector_area(VERTICES, FACES))
