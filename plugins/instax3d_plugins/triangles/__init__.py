"""Residual Gaussians on the triangles of the head mesh; see README.md."""
