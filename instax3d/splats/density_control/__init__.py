"""Adaptive density control: what densifiers after 3D Gaussian Splatting share. `options` alone is free of torch."""
