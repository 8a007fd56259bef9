"""Measures the mannequin's table on ICT-FaceKit (MIT license, USC Institute for Creative Technologies).

``python -m instax3d_plugins.mannequin.design ICT_FOLDER table.npz`` needs trimesh besides the project's own
dependencies and takes two to four minutes. In order:

- `reference` reads the neutral head, the identity and the expression components;
- `half` takes the left half, without the margins of the lids and the inner lips, and names its
  outlines; `chart` lays it flat; `nostril` closes the nostril;
- `rings` draws the curves around eye, lips and nostril that the cage's edges follow;
- `points` spreads the cage's points over the half, `triangles` joins them;
- `correspondence` says which point of the reference each vertex of the finished skin stands for;
- `fits` finds the control points by least squares, kept from crossing by `contacts`; `measure` and `shapes` do so for
  all that the table holds; `detail` brings the neutral's finished triangles closer than control points can.

`pictures` draws the README's pictures.

Lengths are the reference's centimeters until the table is written.
"""
