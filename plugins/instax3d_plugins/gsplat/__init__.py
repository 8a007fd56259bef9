"""Gaussian splatting on NVIDIA GPUs by gsplat; see README.md."""
