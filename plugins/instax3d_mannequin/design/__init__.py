"""Measures the mannequin's table of figures on ICT-FaceKit (MIT licence, USC Institute for Creative Technologies).

``python -m instax3d_mannequin.design ICT_FOLDER figures.npz`` needs trimesh besides the project's own dependencies and
takes about ten seconds. In order:

- `reference` reads the neutral head, the identity and the expression components;
- `half` takes the left half and names its outlines; `chart` lays it flat; `nostril` closes the nostril;
- `points` spreads the cage's points over the half, `triangles` joins them;
- `correspondence` says which point of the reference each vertex of the finished skin stands for;
- `fits` finds the control points by least squares, `measure` does so for all that the table holds.

Lengths are the reference's centimetres until the table is written.
"""
