"""Plain 3D Gaussian Splatting; see README.md."""
