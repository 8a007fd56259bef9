"""Differentiable 3D Gaussian splatting on the CPU; see README.md."""
